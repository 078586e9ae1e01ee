"""What each key of the configuration accepts, and how values that were set one by one fit together."""

import difflib
import functools
import ipaddress
import re
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import date, datetime, time
from typing import Any

from greenboost_py.base.config import Config
from greenboost_py.base.units import BYTES_MAX, SHARE_WHOLE, Size, parse_size

SECONDS_MAX = 1_000_000
"""Beyond eleven days nothing is meant; epoll's own limit is 24 (milliseconds in an int)."""

COUNT_MAX = 1_000_000

_SHOWN_MAX = 60
"""Characters of a value or a key that an error repeats."""

Read = Callable[[object], Any]


@dataclass(frozen=True, slots=True)
class Key:
    """One key of one section.

    Attributes:
        section: its section's name.
        name: its own.
        help: one line on what it means.
        default: the value where no file sets it.
        accepted: what may be written, as the end of a sentence.
        read: turns a value of TOML into the field's; raises ValueError, without a reason where there is no more to say.
    """

    section: str
    name: str
    help: str
    default: Any
    accepted: str
    read: Read

    def parse(self, value: object) -> Any:
        """The field's value for one of TOML.

        Raises:
            ValueError: it is not accepted; the message says why and what is.
        """
        try:
            return self.read(value)
        except ValueError as error:
            if str(error).startswith(shown(value)):
                raise  # a whole sentence, by who knows more about it
            reason = f": {error}" if str(error) else ""
            raise ValueError(f"{shown(value)} is not accepted{reason}; write {self.accepted}") from error


def _size(value: object) -> Size:
    if isinstance(value, str) and len(value) <= _SHOWN_MAX:
        return parse_size(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= BYTES_MAX:
        return Size(value)
    raise ValueError


def _number(least: float) -> Read:
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= SECONDS_MAX:
            raise ValueError
        return float(value)

    return read


def _count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= COUNT_MAX:
        return value
    raise ValueError


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    if "\0" in value:
        raise ValueError("it has a NUL in it")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError
    return tuple(_text(item) for item in value)


def _command(value: object) -> tuple[str, ...]:
    command = _texts(value)
    if command and not command[0]:
        raise ValueError("the command's name is empty")
    return command


def _word(*words: str) -> Read:
    def read(value: object) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    return read


def parse_listen(text: str) -> tuple[str, int] | None:
    """Where figures are served.

    Args:
        text: an address of this machine (0.0.0.0 and [::] are all; one of IPv6 is in brackets) or localhost, a colon
            and a port.

    Returns:
        The address without brackets, and the port, 1 to 65535; None for an empty text.

    Raises:
        ValueError: it is no such thing; the message says why.
    """
    if not text:
        return None
    match = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^:\[\]]*)):([0-9]{1,5})", text)
    if match is None:
        raise ValueError("it is not an address, a colon and a port")
    host, port = match[1] if match[1] is not None else match[2], int(match[3])
    if not 1 <= port <= 65535:
        raise ValueError("a port is 1 to 65535")
    if host != "localhost" or match[1] is not None:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f"{host!r} is neither an address nor localhost") from None
        if (match[1] is not None) != (address.version == 6):
            raise ValueError("an address of IPv6, and no other, is in brackets")
        if address.is_multicast or "%" in host:
            raise ValueError(f"{host} is no address to listen at")
    return host, port


def _listen(value: object) -> str:
    text = _text(value)
    parse_listen(text)
    return text


_SECONDS = f"a number of seconds from {{}} to {SECONDS_MAX}"
_COMMAND = 'the command and its arguments as an array of texts, such as ["/usr/bin/logger", "memory is short"]'

_TYPES: dict[Any, tuple[str, Read]] = {
    Size: ('a size such as "8GiB", a share such as "20%", or a number of bytes', _size),
    Size | None: ('a size such as "8GiB", a share such as "20%", or a number of bytes', _size),
    float: (_SECONDS.format(0), _number(0)),
    int: (f"a whole number from 1 to {COUNT_MAX}", _count),
    bool: ("true or false", _switch),
    str: ("a text in quotation marks", _text),
    tuple[str, ...]: ('an array of texts, such as ["sshd", "Xorg"]', _texts),
}
"""By a field's annotation: what is accepted, and its reader."""

_KEYS: dict[tuple[str, str], tuple[str, Read]] = {
    ("poll", "fastest_s"): (_SECONDS.format(0.01), _number(0.01)),  # 0 would be a loop without a pause
    ("poll", "slowest_s"): (_SECONDS.format(0.01), _number(0.01)),
    ("poll", "nvml_deadline_s"): (_SECONDS.format(0.01), _number(0.01)),
    ("hooks", "timeout_s"): (_SECONDS.format(0.01), _number(0.01)),
    ("hooks", "on_ok"): (_COMMAND, _command),
    ("hooks", "on_notice"): (_COMMAND, _command),
    ("hooks", "on_warn"): (_COMMAND, _command),
    ("hooks", "on_critical"): (_COMMAND, _command),
    ("notify", "wall"): ('"warn", "critical" or "off"', _word("warn", "critical", "off")),
    ("metrics", "listen"): (
        'an address of this machine and a port, such as "127.0.0.1:9477" or "[::]:9477", or "" for none',
        _listen,
    ),
}
"""Keys that accept less than their type."""


@functools.cache
def sections() -> dict[str, type]:
    """The sections' classes, by name, in the list's order."""
    return {field.name: typing.get_type_hints(Config)[field.name] for field in fields(Config)}


@functools.cache
def keys(section: str) -> dict[str, Key]:
    """The keys of a section, by name, in the list's order."""
    hints = typing.get_type_hints(sections()[section])
    found = {}
    for field in fields(sections()[section]):
        accepted, read = _KEYS.get((section, field.name)) or _TYPES[hints[field.name]]
        found[field.name] = Key(section, field.name, field.metadata["help"], field.default, accepted, read)
    return found


def shown(value: object) -> str:
    """A value as an error repeats it: on one line, cut to fit, nothing that moves a terminal."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return repr(value if len(value) <= _SHOWN_MAX else value[: _SHOWN_MAX - 1] + "…")
        case int():
            return str(value) if abs(value) < 10**30 else "a number that long"
        case float():
            return str(value)
        case dict():
            return "a table"  # neither this nor an array is written out: they may be nested ever so deep
        case list():
            return "an array"
        case datetime() | date() | time():
            return "a date or time"
    raise TypeError(type(value))


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is not known: what may have been meant, and all there are."""
    known = list(known)
    close = difflib.get_close_matches(name[:_SHOWN_MAX], known, n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + f"There are {', '.join(known)}"


def size_text(size: Size) -> str:
    """A size as it is written in a file, exactly: 0.5%, 4GiB or 1000."""
    if size.is_share:
        whole, rest = divmod(size.value * 100, SHARE_WHOLE)
        decimals = f"{rest:011d}".rstrip("0")
        return f"{whole}.{decimals}%" if decimals else f"{whole}%"
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size.value and size.value % factor == 0:
            return f"{size.value // factor}{unit}"
    return str(size.value)
