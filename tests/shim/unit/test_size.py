"""Sizes: the grammar of base/size.h, by table, and the same language as the command line speaks, by property."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shim_under_test import load

from greenboost_py.base import units

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
SHARE = 10**11


def parse(text):
    ffi, lib = load()
    size = ffi.new("struct gb_size *")
    result = lib.gb_size_parse(text.encode(), size)
    if result:
        assert not size.is_set
        return result
    return ("share" if size.is_share else "bytes", size.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("8GiB", 8 * GIB),
        ("1500M", 1500 * MIB),
        ("1.5GiB", 3 * GIB // 2),
        ("0.5T", TIB // 2),
        ("2KB", 2000),
        ("3 mb ", 3_000_000),
        (" 4\tgib", 4 * GIB),
        ("1TB", 10**12),
        ("0.000000001B", 0),
        ("18446744073709551615", 2**64 - 1),
        ("16777215.999999999TiB", 16777215 * TIB + 999999999 * TIB // 10**9),
        ("5b", 5),
    ],
)
def test_size_parse_of_a_size_gives_its_bytes(text, value):
    assert parse(text) == ("bytes", value)


@pytest.mark.parametrize(
    ("text", "value"), [("75%", 75 * SHARE // 100), ("100 %", SHARE), ("0.5%", SHARE // 200), ("0.000000001%", 1)]
)
def test_size_parse_of_a_share_gives_its_part(text, value):
    assert parse(text) == ("share", value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "GiB",
        "-1",
        "+1",
        "1.",
        ".5",
        "1e9",
        "0x10",
        "1GiBB",
        "1 G B",
        "1,5G",
        "nan",
        "inf",
        "8Gi",
        "1%%",
        "1\n2",
        "٣",
    ]
    + ["1.0000000001G", "G8", "8 GiB extra", "1PiB", "1..5", "\x00"],
)
def test_size_parse_of_something_else_is_refused(text):
    ffi, lib = load()
    size = ffi.new("struct gb_size *")
    assert lib.gb_size_parse(text.encode(), size) == -errno.EINVAL
    assert not size.is_set


@pytest.mark.parametrize(
    "text", ["18446744073709551616", "16777216TiB", "99999999999999999999999999", "0%", "0.0%", "100.1%"]
)
def test_size_parse_out_of_range_is_refused(text):
    assert parse(text) == -errno.ERANGE


@pytest.mark.parametrize(
    ("text", "whole", "expected"),
    [("75%", 16 * GIB, 12 * GIB), ("33.3%", 1000, 333), ("100%", 2**64 - 1, 2**64 - 1), ("8GiB", 4, 8 * GIB)],
)
def test_size_resolve_rounds_down_to_whole_bytes(text, whole, expected):
    ffi, lib = load()
    size = ffi.new("struct gb_size *")
    assert lib.gb_size_parse(text.encode(), size) == 0
    assert lib.gb_size_resolve(size, whole, 7) == expected


def test_size_resolve_of_an_unset_size_is_the_default():
    ffi, lib = load()
    assert lib.gb_size_resolve(ffi.new("struct gb_size *"), 100, 7) == 7


NUMBERS = st.from_regex(r"\A[0-9]{1,21}(\.[0-9]{1,10})?\Z")
UNITS = st.sampled_from(
    ["", "B", "K", "kib", "KB", "M", "MiB", "mb", "G", "GiB", "GB", "T", "TiB", "TB", "%", "P", "Gi"]
)
BLANKS = st.text(" \t", max_size=2)
LIKELY = st.builds(lambda a, number, b, unit, c: a + number + b + unit + c, BLANKS, NUMBERS, BLANKS, UNITS, BLANKS)


@given(st.one_of(LIKELY, st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=12)))
def test_size_parse_and_the_command_line_agree(text):
    try:
        size = units.parse_size(text)
    except ValueError:
        assert parse(text) in (-errno.EINVAL, -errno.ERANGE)
    else:
        kind, value = parse(text)
        assert kind == ("share" if size.is_share else "bytes")
        ffi, lib = load()
        c_size = ffi.new("struct gb_size *")
        lib.gb_size_parse(text.encode(), c_size)
        for whole in (0, 1, 1000, 16 * GIB, 2**64 - 1):
            assert lib.gb_size_resolve(c_size, whole, 0) == size.resolve(whole)
