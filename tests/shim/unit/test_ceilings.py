"""The administrator's ceilings: each line's grammar, and that a program's own figures only get stricter by them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shim_under_test import load

from greenboost_py.base.ceilings import parse_ceilings

MIB, GIB = 1 << 20, 1 << 30
UNSET = 2**64 - 1

ffi, lib = load()


def bounded(ceilings, **own):
    """Options with these own figures, within a text of ceilings; and what was complained of."""
    complaints = []
    options = ffi.new("struct gb_options *")
    for name, value in own.items():
        assert lib.gb_size_parse(value.encode(), ffi.addressof(options[0], name)) == 0

    @ffi.callback("void(const char *, const char *)")
    def complain(line, wanted):
        complaints.append((ffi.string(line).decode(errors="replace"), ffi.string(wanted).decode()))

    text = ffi.new("char[]", ceilings if isinstance(ceilings, bytes) else ceilings.encode())
    lib.gb_ceilings_apply(options, text, complain)
    return options, complaints, text


def limit(ceilings, name, whole=16 * GIB, unset=UNSET, **own):
    options, complaints, _ = bounded(ceilings, **own)
    assert complaints == []
    return lib.gb_size_resolve(ffi.addressof(options[0], name), whole, unset)


@pytest.mark.parametrize(
    ("ceilings", "own", "bytes_"),
    [
        ("HOST_LIMIT=4GiB", None, 4 * GIB),
        ("HOST_LIMIT=4GiB", "2GiB", 2 * GIB),
        ("HOST_LIMIT=4GiB", "1T", 4 * GIB),
        ("HOST_LIMIT=25%", "1T", 4 * GIB),
        ("HOST_LIMIT=25%", "3GiB", 3 * GIB),
        ("HOST_LIMIT=4GiB", "100%", 4 * GIB),
        ("HOST_LIMIT=4GiB", "10%", 16 * GIB // 10),
        ("HOST_LIMIT=0", "100%", 0),
        ("HOST_LIMIT=4GiB\nHOST_LIMIT=3GiB", "1T", 3 * GIB),
        ("HOST_LIMIT=4GiB\nHOST_LIMIT=12.5%", "1T", 2 * GIB),
        ("HOST_LIMIT=12.5%\nHOST_LIMIT=50%", None, 2 * GIB),
        ("VRAM_LIMIT=1GiB", "5GiB", 5 * GIB),
        ("", "5GiB", 5 * GIB),
    ],
)
def test_limit_is_the_smaller_of_the_programs_and_the_ceiling(ceilings, own, bytes_):
    assert limit(ceilings, "host_limit", **({} if own is None else {"host_limit": own})) == bytes_


@pytest.mark.parametrize(
    ("ceilings", "own", "bytes_"),
    [
        ("VRAM_RESERVE=512MiB", None, 512 * MIB),
        ("VRAM_RESERVE=512MiB", "0", 512 * MIB),
        ("VRAM_RESERVE=512MiB", "1GiB", GIB),
        ("VRAM_RESERVE=50%", "1GiB", 8 * GIB),
        ("VRAM_RESERVE=1GiB\nVRAM_RESERVE=2GiB", "0", 2 * GIB),
    ],
)
def test_reserve_is_the_larger_of_the_programs_and_the_bound(ceilings, own, bytes_):
    assert limit(ceilings, "vram_reserve", unset=0, **({} if own is None else {"vram_reserve": own})) == bytes_


SIZES = st.one_of(st.integers(0, 2**64 - 1).map(str), st.integers(1, 100).map(lambda share: f"{share}%"))


@given(
    st.lists(SIZES, max_size=4),
    st.none() | SIZES,
    st.sampled_from([0, 1, 12345, 16 * GIB, 2**64 - 1]),
    st.sampled_from(["vram_limit", "host_limit", "vram_reserve", "host_reserve"]),
)
def test_bound_is_the_strictest_of_all_that_were_said(ceilings, own, whole, name):
    is_limit = name.endswith("limit")
    text = "\n".join(f"{name.upper()}={ceiling}" for ceiling in ceilings)
    said = [*ceilings, *([] if own is None else [own])]
    figures = [whole * int(one[:-1]) // 100 if one.endswith("%") else int(one) for one in said]
    expected = min([UNSET, *figures]) if is_limit else max([0, *figures])
    unset = UNSET if is_limit else 0
    assert limit(text, name, whole, unset, **({} if own is None else {name: own})) == expected


@pytest.mark.parametrize(
    "text",
    [
        "host_limit=1GiB",
        "  HOST_LIMIT = 1 GiB \r",
        "\tHost_Limit\t=\t1073741824",
        "# HOST_LIMIT=2\n\n  # more\nHOST_LIMIT=1GiB\n",
        "HOST_LIMIT=1GiB\n" * 50,
    ],
)
def test_lines_may_have_blanks_comments_and_either_case(text):
    assert limit(text, "host_limit") == GIB


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("HOST_LIMIT", "NAME=VALUE"),
        ("HOST_LIMIT=", "a size such as 8GiB, 1500M or 75%"),
        ("HOST_LIMIT=lots", "a size such as 8GiB, 1500M or 75%"),
        ("HOST_LIMIT=-1", "a size such as 8GiB, 1500M or 75%"),
        ("HOST_LIMIT=101%", "a size such as 8GiB, 1500M or 75%"),
        ("HOST_LIMIT=1GiB # mine", "a size such as 8GiB, 1500M or 75%"),
        ("SOCKET=run/lease.sock", "an absolute path"),
        ("HOST_LIMITS=1GiB", "VRAM_LIMIT, HOST_LIMIT, VRAM_RESERVE, HOST_RESERVE or SOCKET"),
        ("=1GiB", "VRAM_LIMIT, HOST_LIMIT, VRAM_RESERVE, HOST_RESERVE or SOCKET"),
        ("LOG=off", "VRAM_LIMIT, HOST_LIMIT, VRAM_RESERVE, HOST_RESERVE or SOCKET"),
    ],
)
def test_line_that_cannot_be_used_is_complained_of_and_the_others_count(line, wanted):
    options, complaints, _ = bounded(f"VRAM_LIMIT=1GiB\n{line}\nHOST_LIMIT=2GiB")
    assert complaints == [(line, wanted)]
    assert lib.gb_size_resolve(ffi.addressof(options[0], "vram_limit"), 0, UNSET) == GIB
    assert lib.gb_size_resolve(ffi.addressof(options[0], "host_limit"), 0, UNSET) == 2 * GIB
    assert options.socket == ffi.NULL


def test_socket_is_the_administrators():
    options, complaints, text = bounded("SOCKET = /run/greenboost/lease.sock \n")
    assert complaints == []
    assert ffi.string(options.socket) == b"/run/greenboost/lease.sock"
    assert text is not None


NAMES = st.sampled_from(["HOST_LIMIT", "host_limit", "VRAM_LIMIT", "Vram_Reserve", "HOST_RESERVE", "SOCKET", "LOG", ""])
BLANKS = st.text(" \t\r", max_size=2)
VALUES = st.sampled_from(["8GiB", "75%", "0", "101%", "lots", "", "/run/x", "run/x", "1 GiB", "1GiB # mine", "1=2"])
STRAYS = st.sampled_from(["", "", "", "x", "#", "\N{LATIN SMALL LETTER DOTLESS I}", "="])
LINES = st.tuples(BLANKS, STRAYS, NAMES, BLANKS, STRAYS, st.sampled_from(["=", "=", "=", ""]), BLANKS, VALUES, BLANKS)


@given(st.lists(LINES.map("".join), max_size=5).map("\n".join))
def test_library_and_doctor_agree_on_which_lines_count(text):
    found = parse_ceilings(text.encode())
    options, complaints, _ = bounded(text)
    assert len(complaints) == len(found.mistakes)
    for name in ("vram_limit", "host_limit", "vram_reserve", "host_reserve"):
        assert (getattr(options, name).bound != lib.GB_BOUND_NONE) == (name.upper() in dict(found.values))
    sockets = [value for name, value in found.values if name == "SOCKET"]
    assert (ffi.string(options.socket).decode() if options.socket else None) == (sockets[-1] if sockets else None)


@given(st.binary(max_size=200).map(lambda text: text.replace(b"\0", b"x")))
def test_any_text_is_read_to_its_end(text):
    _, complaints, _ = bounded(text)
    lines = [line.strip(b" \t\r") for line in text.split(b"\n")]
    assert len(complaints) <= sum(1 for line in lines if line and not line.startswith(b"#"))
