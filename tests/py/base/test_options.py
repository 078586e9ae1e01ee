import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.base.errors import InstallError
from greenboost_py.base.options import Option, OptionKind, load_options, parse_options


def test_load_options_reads_every_row_of_the_list(repository: Path) -> None:
    rows = [line for line in (repository / "shim/options.def").read_text().splitlines() if line.startswith("GB_OPTION")]
    assert len(load_options()) == len(rows) > 0


@pytest.mark.parametrize("option", load_options(), ids=lambda option: option.id)
def test_load_options_of_each_row_is_well_formed(option: Option) -> None:
    assert option.env_name == f"GREENBOOST_{option.id.upper()}"
    assert option.flag_name == f"--{option.id.replace('_', '-')}"
    assert option.help
    assert bool(option.choices) == (option.kind in (OptionKind.CHOICE, OptionKind.CHOICE_OR_SIZE))
    if option.default:
        assert option.check(option.default) == option.default


def test_parse_options_of_a_row_gives_its_fields() -> None:
    text = ' *   GB_OPTION(id, kind, choices, default, help)\nGB_OPTION(a_b, CHOICE, "x|y", "x", "one, (two)")\n'
    assert parse_options(text, "list") == (Option("a_b", OptionKind.CHOICE, ("x", "y"), "x", "one, (two)"),)


@pytest.mark.parametrize(
    "row",
    [
        "GB_OPTION()",
        'GB_OPTION(a, WORD, "", "", "help")',
        'GB_OPTION(a, SIZE, "", "", "help"',
        'GB_OPTION(a, SIZE, "", "")',
        'GB_OPTION(a, SIZE, "", "", "he"lp")',
    ],
)
def test_parse_options_of_a_malformed_row_names_its_line(row: str) -> None:
    with pytest.raises(InstallError, match=r"list:2: "):
        parse_options(f"/* a list */\n{row}\n", "list")


SIZE = Option("limit", OptionKind.SIZE, (), "", "help")
CHOICE = Option("fallback", OptionKind.CHOICE, ("auto", "off"), "auto", "help")
MIXED = Option("advertise", OptionKind.CHOICE_OR_SIZE, ("off", "on"), "off", "help")
SWITCH = Option("disable", OptionKind.SWITCH, (), "0", "help")


@pytest.mark.parametrize(
    ("option", "text"),
    [(SIZE, "8GiB"), (SIZE, "75%"), (CHOICE, "auto"), (CHOICE, "OFF"), (MIXED, "on"), (MIXED, "3GiB"), (SWITCH, "Yes")],
)
def test_option_check_of_an_accepted_value_keeps_its_text(option: Option, text: str) -> None:
    assert option.check(text) == text


@pytest.mark.parametrize(
    ("option", "text", "lesson"),
    [
        (SIZE, "auto", "8GiB"),
        (SIZE, "", "empty"),
        (CHOICE, "8GiB", "one of auto, off"),
        (CHOICE, "", "one of auto, off"),
        (CHOICE, " auto", "one of auto, off"),
        (MIXED, "maybe", "one of off, on, or a size"),
        (SWITCH, "2", "one of 1, on, true, yes, 0, off, false, no"),
        (CHOICE, "o\ufb00", "one of auto, off"),
    ],
)
def test_option_check_of_another_value_says_what_is_accepted(option: Option, text: str, lesson: str) -> None:
    with pytest.raises(ValueError) as error:
        option.check(text)
    assert lesson in str(error.value)


LOOKUP = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)
COMPLAIN = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p)


@pytest.fixture(scope="module")
def shim_accepts(
    repository: Path, compile_c: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Option, str], bool]:
    """Whether the shim's own parser takes a value for an option without complaint."""
    shim = repository / "shim"
    sources = "".join(f'#include "{shim}/base/{name}.c"\n' for name in ("once", "size", "log", "ceilings", "options"))
    built = compile_c(
        tmp_path_factory.mktemp("options") / "options.so", sources, "-shared", "-fPIC", "-D_GNU_SOURCE", f"-I{shim}"
    )
    read = ctypes.CDLL(str(built)).gb_options_read

    def accepts(option: Option, text: str) -> bool:
        value = ctypes.create_string_buffer(text.encode())
        complaints: list[bytes] = []
        lookup = LOOKUP(lambda name: ctypes.addressof(value) if name == option.env_name.encode() else None)
        read(ctypes.create_string_buffer(4096), lookup, COMPLAIN(lambda name, *_: complaints.append(name)))
        return not complaints

    return accepts


WORDS = st.sampled_from(
    ["auto", "host", "off", "on", "ON", "1", "0", "true", "warn", "8GiB", "75%", "0%", "1.5 g", "8Gi", "-1"]
)
TEXTS = WORDS | st.text(st.characters(exclude_characters="\x00", codec="utf-8"), min_size=1, max_size=8)


@given(option=st.sampled_from(load_options()), text=TEXTS)
def test_option_check_agrees_with_the_shim(
    shim_accepts: Callable[[Option, str], bool], option: Option, text: str
) -> None:
    try:
        option.check(text)
    except ValueError:
        assert not shim_accepts(option, text)
    else:
        assert shim_accepts(option, text)
