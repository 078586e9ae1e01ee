"""The administrator's ceilings, as the shim reads them (shim/base/ceilings.h): at most so much, or at least so much."""

from dataclasses import dataclass

from greenboost_py.base import units
from greenboost_py.base.sysroot import SysRoot

CEILINGS_PATH = "etc/greenboost/ceilings"

NAMES = ("VRAM_LIMIT", "HOST_LIMIT", "VRAM_RESERVE", "HOST_RESERVE", "SOCKET")

_FILE_BYTES_MAX = 4095

_BLANKS = " \t\r"


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What the file says.

    Attributes:
        values: name and value of each line that counts, in the file's order.
        mistakes: what is wrong with the others, a line each.
    """

    values: tuple[tuple[str, str], ...]
    mistakes: tuple[str, ...]


def read_ceilings(root: SysRoot) -> Ceilings | None:
    """Reads the file; None: there is none.

    Raises:
        SensorError: it cannot be read.
    """
    data = root.read_bytes(CEILINGS_PATH)
    return None if data is None else parse_ceilings(data)


def parse_ceilings(data: bytes) -> Ceilings:
    """Reads its text as the shim does: lines NAME=VALUE, empty ones, and comments."""
    if len(data) > _FILE_BYTES_MAX:
        return Ceilings((), (f"it has {len(data)} bytes: of more than {_FILE_BYTES_MAX} nothing counts",))
    values, mistakes = [], []
    for number, line in enumerate(data.split(b"\0")[0].decode("utf-8", "replace").split("\n"), start=1):
        text = line.strip(_BLANKS)
        if text and not text.startswith("#"):
            name, _, value = (part.strip(_BLANKS) for part in text.partition("="))
            name = name.upper() if name.isascii() else name
            problem = _problem(name, value, "=" in text)
            if problem is None:
                values.append((name, value))
            else:
                mistakes.append(f"line {number}: {problem}")
    return Ceilings(tuple(values), tuple(mistakes))


def _problem(name: str, value: str, has_value: bool) -> str | None:
    """Why a line counts for nothing; None: it counts."""
    if not has_value:
        return "write NAME=VALUE"
    if name not in NAMES:
        return f"{name!r} is none of {', '.join(NAMES)}"
    if name == "SOCKET":
        return None if value.startswith("/") else f"{value!r} is not an absolute path"
    try:
        units.parse_size(value)
    except ValueError as error:
        return str(error)
    return None
