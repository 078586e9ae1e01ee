"""The shim's options, read from the same rows as the C compiler reads (shim/options.def)."""

import enum
import functools
import re
from dataclasses import dataclass

from greenboost_py.base import shim_files, units
from greenboost_py.base.errors import InstallError

_STRING = r'"((?:[^"\\]|\\.)*)"'
_ROW = re.compile(rf"GB_OPTION\((\w+), (\w+), {_STRING}, {_STRING}, {_STRING}\)")

_SWITCH_ON = ("1", "on", "true", "yes")
_SWITCH_OFF = ("0", "off", "false", "no")


class OptionKind(enum.Enum):
    """What an option's value looks like; options.def describes each."""

    SIZE = "SIZE"
    CHOICE = "CHOICE"
    CHOICE_OR_SIZE = "CHOICE_OR_SIZE"
    SWITCH = "SWITCH"
    PATH = "PATH"


@dataclass(frozen=True, slots=True)
class Option:
    """One row of options.def.

    Attributes:
        id: lower case, with underscores.
        kind: what its values look like.
        choices: the words it accepts; empty for a kind without.
        default: what the variable would hold; empty means unset.
        help: one line.
    """

    id: str
    kind: OptionKind
    choices: tuple[str, ...]
    default: str
    help: str

    @property
    def env_name(self) -> str:
        """The environment variable, for example GREENBOOST_VRAM_LIMIT."""
        return f"GREENBOOST_{self.id.upper()}"

    @property
    def flag_name(self) -> str:
        """The command-line option, for example --vram-limit."""
        return "--" + self.id.replace("_", "-")

    @property
    def accepted(self) -> str:
        """What it accepts, as the end of a sentence."""
        words = ", ".join(self.choices)
        match self.kind:
            case OptionKind.SIZE:
                return "bytes, or a size such as 8GiB, 1500M or 75%"
            case OptionKind.CHOICE:
                return f"one of {words}"
            case OptionKind.CHOICE_OR_SIZE:
                return f"one of {words}, or a size such as 8GiB"
            case OptionKind.SWITCH:
                return "one of " + ", ".join(_SWITCH_ON + _SWITCH_OFF)
            case OptionKind.PATH:
                return "an absolute path"

    def check(self, text: str) -> str:
        """The text that goes into the environment for a value that a person gave.

        Raises:
            ValueError: the shim would not accept it; the message says why and what it accepts.
        """
        if text.isascii() and text.lower() in self._words():
            return text
        if self.kind in (OptionKind.SIZE, OptionKind.CHOICE_OR_SIZE):
            try:
                units.parse_size(text)
            except ValueError as error:
                if self.kind is OptionKind.SIZE:
                    raise
                raise ValueError(f"{text!r} is not accepted; write {self.accepted}") from error
            return text
        if self.kind is OptionKind.PATH and text.startswith("/"):
            return text
        raise ValueError(f"{text!r} is not accepted; write {self.accepted}")

    def _words(self) -> tuple[str, ...]:
        return _SWITCH_ON + _SWITCH_OFF if self.kind is OptionKind.SWITCH else self.choices


def parse_options(text: str, source: str) -> tuple[Option, ...]:
    """Reads the rows of options.def.

    Args:
        text: the file's text; what is not a row is a comment.
        source: the file's name, for errors.

    Raises:
        InstallError: a row that this version cannot read.
    """
    options = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith("GB_OPTION("):
            continue
        match = _ROW.fullmatch(line.rstrip())
        if match is None or match[2] not in OptionKind.__members__:
            raise InstallError(f"{source}:{number}: not a row of options: {line.strip()}")
        choices = tuple(match[3].split("|")) if match[3] else ()
        options.append(Option(match[1], OptionKind[match[2]], choices, match[4], match[5]))
    return tuple(options)


@functools.cache
def load_options() -> tuple[Option, ...]:
    """Every option of the shim that came with this package, in the file's order.

    Raises:
        InstallError: the list is missing or malformed.
    """
    path = shim_files.shim_file("options.def")
    return parse_options(path.read_text(encoding="utf-8"), str(path))
