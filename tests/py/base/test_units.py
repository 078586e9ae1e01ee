import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.base.units import BYTES_MAX, SHARE_WHOLE, Size, format_size, parse_size

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("4096", 4096),
        ("007", 7),
        ("8GiB", 8 * GIB),
        ("8g", 8 * GIB),
        ("8GB", 8 * 10**9),
        ("1500M", 1500 * MIB),
        ("1.5GiB", 3 * GIB // 2),
        (" \t2 k\t", 2 * KIB),
        ("3tb", 3 * 10**12),
        ("0.5T", TIB // 2),
        ("17B", 17),
        ("0.999999999b", 0),
        ("18446744073709551615", BYTES_MAX),
        ("16777215.999999999TiB", 16777215 * TIB + 999999999 * TIB // 10**9),
        ("0" * 5000 + "1", 1),
    ],
)
def test_parse_size_of_a_size_gives_its_bytes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == Size(size_bytes)


@pytest.mark.parametrize(
    ("text", "share"),
    [("75%", 75 * SHARE_WHOLE // 100), ("100 %", SHARE_WHOLE), ("0.5%", SHARE_WHOLE // 200), ("0.000000001%", 1)],
)
def test_parse_size_of_a_percentage_gives_a_share(text: str, share: int) -> None:
    assert parse_size(text) == Size(share, is_share=True)


@pytest.mark.parametrize(
    ("text", "lesson"),
    [
        ("", "it is empty"),
        (" \t", "it is empty"),
        ("-1", "it is negative"),
        ("-0.5GiB", "it is negative"),
        ("lots", "8GiB"),
        ("GiB", "8GiB"),
        ("+1", "8GiB"),
        ("1.", "8GiB"),
        (".5", "8GiB"),
        ("1,5G", "8GiB"),
        ("1e9", "8GiB"),
        ("0x10", "8GiB"),
        ("1 G B", "8GiB"),
        ("1\n", "8GiB"),
        ("1\x00", "8GiB"),
        ("٣", "8GiB"),
        ("1\u212a", "8GiB"),  # the sign for kelvin is a "k" when lowered
        ("1PiB", "no unit 'PiB'"),
        ("8Gi", "no unit 'Gi'"),
        ("1%%", "no unit '%%'"),
        ("1.0000000001G", "at most 9 decimals"),
        ("0%", "above 0%"),
        ("0.0%", "above 0%"),
        ("100.000000001%", "at most 100%"),
        ("9" * 5000 + "%", "at most 100%"),
        ("18446744073709551616", "too large"),
        ("16777216TiB", "too large"),
        ("9" * 5000, "too large"),
        ("9" * 5000 + "x", "no unit 'x'"),
    ],
)
def test_parse_size_of_something_else_teaches_what_to_write(text: str, lesson: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_size(text)
    assert lesson in str(error.value)


@pytest.mark.parametrize(
    ("size", "whole_bytes", "expected"),
    [
        (parse_size("75%"), 16 * GIB, 12 * GIB),
        (parse_size("33.3%"), 1000, 333),
        (parse_size("100%"), BYTES_MAX, BYTES_MAX),
        (parse_size("8GiB"), 4, 8 * GIB),
    ],
)
def test_size_resolve_rounds_down_to_whole_bytes(size: Size, whole_bytes: int, expected: int) -> None:
    assert size.resolve(whole_bytes) == expected


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (3 * GIB // 2, "1.50 GiB"),
        (312 * MIB, "312 MiB"),
        (1000 * MIB, "0.98 GiB"),
        (10239 * KIB, "10.0 MiB"),
        (24 * TIB, "24.0 TiB"),
        (5000 * TIB, "5000 TiB"),
    ],
)
def test_format_size_keeps_three_digits(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


@given(st.integers(0, 2**63))
def test_format_size_is_read_back_to_the_same_text(size_bytes: int) -> None:
    text = format_size(size_bytes)
    again = parse_size(text).resolve(0)
    assert abs(again - size_bytes) <= max(size_bytes, again) * 0.005 + 1
    assert parse_size(format_size(again)).resolve(0) == again


@given(st.integers(0, BYTES_MAX))
def test_parse_size_of_bare_bytes_is_exact(size_bytes: int) -> None:
    assert parse_size(str(size_bytes)) == Size(size_bytes)


@given(st.text(max_size=30))
def test_parse_size_of_anything_is_a_size_or_a_value_error(text: str) -> None:
    try:
        size = parse_size(text)
    except ValueError:
        return
    assert 0 <= size.value <= BYTES_MAX
    assert not size.is_share or 0 < size.value <= SHARE_WHOLE
