import pytest

from greenboost_py.base.errors import SensorError
from greenboost_py.sensors.kernel_text import NUMBER_MAX, parse_number, unescape_path


@pytest.mark.parametrize(
    ("data", "number"),
    [(b"0", 0), (b"007", 7), (b"9223372036854775807", NUMBER_MAX), (b"0" * 20, 0)],
)
def test_parse_number_of_digits_is_their_value(data: bytes, number: int) -> None:
    assert parse_number(data, "proc/x", "a number") == number


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b" ", b" 1", b"1 ", b"1\n", b"+1", b"-1", b"1.0", b"1e3", b"0x10", b"1_0", b"max"),
        *("٣".encode(), b"\xff", b"1\0", b"9223372036854775808", b"18446744073709551616", b"0" * 21, b"9" * 5000),
    ],
)
def test_parse_number_of_anything_else_is_an_error_that_names_the_file(data: bytes) -> None:
    with pytest.raises(SensorError, match=r"^/proc/x: the number is malformed: b") as caught:
        parse_number(data, "proc/x", "the number")
    assert len(str(caught.value)) < 200


def test_parse_number_above_the_most_that_makes_sense_is_an_error() -> None:
    assert parse_number(b"100", "proc/x", "a share", 100) == 100
    with pytest.raises(SensorError):
        parse_number(b"101", "proc/x", "a share", 100)


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (b"/plain", "/plain"),
        (b"/a\\040b\\011c\\012d\\134e", "/a b\tc\nd\\e"),
        (b"/\\303\\251", "/é"),
        (b"/\\377", "/\udcff"),
        (b"/\\134040", "/\\040"),  # a backslash of the name's own is escaped itself: not unescaped twice
        (b"/\\400 \\08 \\4 \\", "/\\400 \\08 \\4 \\"),
    ],
)
def test_unescape_path_takes_back_what_the_kernel_escaped(data: bytes, path: str) -> None:
    assert unescape_path(data) == path
