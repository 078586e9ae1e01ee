from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.base import abi
from greenboost_py.base.abi import PageError, declarations, parse_page
from greenboost_py.base.errors import InstallError

MakePage = Callable[..., bytes]


def test_parse_page_of_a_page_gives_every_counter(make_page: MakePage) -> None:
    page = parse_page(
        make_page({(0, 0): 10, (31, 5): 2**64 - 1}, limits={0: 1 << 30}, pid=7, host_bytes=3, host_limit_bytes=4),
        "test",
    )
    assert (page.version, page.is_newer, page.pid, page.program) == (1, False, 7, "trainer")
    assert (page.host_bytes, page.host_limit_bytes) == (3, 4)
    assert [device.ordinal for device in page.devices if device.is_used] == [0, 31]
    assert page.devices[0].limit_bytes == 1 << 30
    assert page.devices[31].limit_bytes is None
    assert [tier.name for tier in page.devices[0].tiers] == [
        "device",
        "split",
        "host_mapped",
        "managed",
        "pageable",
        "unified",
    ]
    assert page.devices[0].tiers[0].bytes == 10
    assert (page.devices[31].tiers[5].peak_bytes, page.devices[31].tiers[5].blocks) == (2**64 - 1, 1)


def test_parse_page_without_a_limit_says_none(make_page: MakePage) -> None:
    assert parse_page(make_page(), "test").host_limit_bytes is None


def test_parse_page_of_a_newer_and_larger_writer_is_read_as_far_as_known(make_page: MakePage) -> None:
    data = make_page({(1, 2): 5}, version=9, bytes=abi.page_bytes() + 64) + b"\xff" * 64
    page = parse_page(data, "test")
    assert (page.version, page.is_newer) == (9, True)
    assert page.devices[1].tiers[2].bytes == 5


@pytest.mark.parametrize("name", [b"", b"x" * 63, b"x" * 64, b"\xff\xfe", b"a\x1b[2J"])
def test_parse_page_of_any_program_name_is_text(make_page: MakePage, name: bytes) -> None:
    assert parse_page(make_page(program=name), "test").program == name.decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"magic": 0}, "starts with 0x00000000"),
        ({"magic": 0x47627374}, "starts with 0x47627374"),  # as another byte order would have it
        ({"version": 0}, "version 0"),
        ({"bytes": 0}, " 0 bytes"),
        ({"bytes": 64}, " 64 bytes"),
        ({"pid": 0}, "pid 0"),
        ({"pid": -1}, "pid -1"),
    ],
)
def test_parse_page_of_a_malformed_page_names_source_and_fault(
    make_page: MakePage, fields: dict[str, int], complaint: str
) -> None:
    with pytest.raises(PageError, match=f"here: .*{complaint}"):
        parse_page(make_page(**fields), "here")


@given(length=st.integers(0, 10_000))
def test_parse_page_cut_short_is_an_error(length: int) -> None:
    known = abi.page_bytes()
    with pytest.raises(PageError, match="not a page"):
        parse_page(b"\0" * min(length, known - 1), "here")


@given(st.binary(min_size=64, max_size=64))
def test_parse_page_of_hostile_bytes_is_read_or_refused(noise: bytes) -> None:
    magic = abi.constant("GB_ABI_MAGIC").to_bytes(4, "little")
    data = (magic + noise * (abi.page_bytes() // 64 + 1))[: abi.page_bytes()]
    try:
        page = parse_page(data, "here")
    except PageError:
        return
    assert page.pid > 0
    assert len(page.devices) == 32


@pytest.mark.parametrize(
    "text", ["", "/* cffi: begin */", "int a;\n/* cffi: end */", "/* cffi: end */ /* cffi: begin */"]
)
def test_declarations_without_both_marks_is_an_error(text: str) -> None:
    with pytest.raises(InstallError, match=r"header\.h: the marks"):
        declarations(text, "header.h")
