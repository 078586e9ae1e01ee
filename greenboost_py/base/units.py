"""Sizes as people write them, 8GiB or 1500M or 75%: the language that the shim's parser reads (shim/base/size.c).

Grammar: blanks, digits, optionally `.` and one to nine digits, blanks, a unit, blanks. A blank is a space or a tab.
Units, in any case: none and B are bytes; K M G T and KiB MiB GiB TiB are powers of 1024; KB MB GB TB are powers of
1000; % is a share of a whole that is known only later. Fractions of a byte are dropped.
"""

import re
from dataclasses import dataclass

_NUMBER_AND_UNIT = re.compile(r"[ \t]*([0-9]+)(?:\.([0-9]{1,9}))?[ \t]*([A-Za-z%]*)[ \t]*")

_DECIMALS_MAX = 9

_UNITS = {
    "": 1,
    "b": 1,
    "k": 1 << 10,
    "kib": 1 << 10,
    "kb": 10**3,
    "m": 1 << 20,
    "mib": 1 << 20,
    "mb": 10**6,
    "g": 1 << 30,
    "gib": 1 << 30,
    "gb": 10**9,
    "t": 1 << 40,
    "tib": 1 << 40,
    "tb": 10**12,
}

BYTES_MAX = 2**64 - 1
"""The largest size, in bytes: what the shim counts in."""

SHARE_WHOLE = 10**11
"""A share is counted in units of 1e-11 of the whole, so that a percentage with nine decimals is exact."""

_EXAMPLES = "write bytes, or a size such as 8GiB, 1500M or 75%"


@dataclass(frozen=True, slots=True)
class Size:
    """A number of bytes, or a share of something.

    Attributes:
        value: bytes, 0 to 2^64-1; or the share in units of 1e-11, 1 to 1e11.
        is_share: which of the two.
    """

    value: int
    is_share: bool = False

    def resolve(self, whole_bytes: int) -> int:
        """The size in bytes, where a share is one of `whole_bytes`; rounded down."""
        return whole_bytes * self.value // SHARE_WHOLE if self.is_share else self.value


def parse_size(text: str) -> Size:
    """Reads a size or a share.

    Args:
        text: for example `8GiB`, `1.5 g`, `4096` or `75%`.

    Returns:
        Bytes from 0 to 2^64-1, or a share above 0 % and up to 100 %.

    Raises:
        ValueError: it is neither; the message says why and what to write.
    """
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size{_reason(text)}; {_EXAMPLES}")
    whole, decimals, unit = match[1].lstrip("0"), (match[2] or "").ljust(_DECIMALS_MAX, "0"), match[3].lower()
    if unit != "%" and unit not in _UNITS:
        raise ValueError(f"{text!r} is not a size: there is no unit {match[3]!r}; {_EXAMPLES}")
    # Twenty digits hold 2^64-1, and keep int() away from its own limit on the length of a text.
    billionths = None if len(whole) > 20 else int(whole + decimals)
    if unit == "%":
        if billionths is None or not 0 < billionths <= SHARE_WHOLE:
            raise ValueError(f"{text!r} is not a share: above 0% and at most 100%")
        return Size(billionths, is_share=True)
    size_bytes = None if billionths is None else billionths * _UNITS[unit] // 10**_DECIMALS_MAX
    if size_bytes is None or size_bytes > BYTES_MAX:
        raise ValueError(f"{text!r} is too large: a size is below 16777216TiB (2^64 bytes)")
    return Size(size_bytes)


def _reason(text: str) -> str:
    """Why `text`, which does not follow the grammar, does not."""
    bare = text.strip(" \t")
    if not bare:
        return ": it is empty"
    if re.match(r"-[0-9.]", bare):
        return ": it is negative"
    if re.match(rf"[0-9]+\.[0-9]{{{_DECIMALS_MAX + 1},}}", bare):
        return f": at most {_DECIMALS_MAX} decimals"
    return ""


def format_size(size_bytes: int) -> str:
    """Writes a size for people: three significant digits or whole units, for example `1.50 GiB`, `312 MiB` or `17 B`.

    Args:
        size_bytes: 0 or more.

    Returns:
        Text that `parse_size` reads back, to within half of the last digit shown.
    """
    if size_bytes < 1024:
        return f"{size_bytes} B"
    units = ["KiB", "MiB", "GiB", "TiB"]
    value = size_bytes / 1024
    while value >= 999.5 and len(units) > 1:
        units.pop(0)
        value /= 1024
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {units[0]}"
