"""What the kernel's text files have in common: numbers, and paths with some characters escaped."""

import os
import re

from greenboost_py.base.errors import SensorError

NUMBER_MAX = 2**63 - 1
"""No count of bytes or microseconds of the kernel's is larger; one that says so is broken."""

_DIGITS = re.compile(rb"[0-9]{1,20}")

_ESCAPE = re.compile(rb"\\([0-3][0-7]{2})")

_SHOWN_BYTES = 40
"""So much of what is malformed is shown in an error."""


def parse_number(data: bytes, path: str, what: str, most: int = NUMBER_MAX) -> int:
    """Reads decimal digits and nothing else.

    Args:
        data: the digits.
        path: the file they are from, without a leading slash.
        what: what they stand for, for the error.
        most: the largest number that makes sense.

    Raises:
        SensorError: no digits, something beside them, or above `most`.
    """
    if _DIGITS.fullmatch(data) is None or (number := int(data)) > most:
        raise malformed(path, what, data)
    return number


def malformed(path: str, what: str, data: bytes) -> SensorError:
    """The error for a file, without a leading slash, that says `data` where there should be `what`."""
    return SensorError(f"/{path}", f"{what} is malformed: {data[:_SHOWN_BYTES]!r}")


def unescape_path(data: bytes) -> str:
    """A path from /proc/swaps or mountinfo, where blank, tab, newline and backslash are written as octal numbers.

    Returns:
        The path as the functions of `os` take it.
    """
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), data))
