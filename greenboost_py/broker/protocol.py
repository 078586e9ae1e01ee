"""The messages between a program's shim and the daemon, as bytes and as values. Pure.

The layout is that of shim/abi/greenboost_abi.h: the formats are made from cffi's view of it at first use. Read with
`struct` a message takes 1.4 µs, by cffi's own access 2.4 µs.
"""

import enum
import functools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from greenboost_py.base import abi
from greenboost_py.base.errors import GreenboostError, InstallError
from greenboost_py.pressure.levels import Level

BYTES_MAX = 2**63 - 1
"""What a program holds and wants is together at most this."""


class Kind(enum.IntEnum):
    """What is asked; the values are those of enum gb_request_kind."""

    HELLO = 1
    ACQUIRE = 2
    UPDATE = 3
    STATUS = 4


_KINDS = frozenset(Kind)


class Verdict(enum.IntEnum):
    """Why, in the order in which the daemon looks; the values are those of enum gb_verdict."""

    GRANTED = 0
    MALFORMED = 1
    VERSION = 2
    CLIENTS = 3
    PRESSURE = 4
    PROCESS_CAP = 5
    USER_CAP = 6
    CGROUP = 7
    MACHINE = 8


class ProtocolError(GreenboostError):
    """Bytes that are no message of this version.

    Args:
        reason: VERSION: a message of another version; MALFORMED: none at all.
        text: what is wrong with it.
    """

    def __init__(self, reason: Verdict, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Request:
    """What a program asks or reports; all sizes in bytes.

    Attributes:
        kind: what is asked.
        sequence: 1, 2, 3 … on a connection.
        wanted_bytes: ACQUIRE: wanted beyond what is held; 0 only asks.
        held_bytes: host memory granted, by whomever, and not given back; with wanted_bytes at most 2^63-1.
        pending_bytes: of those, not taken yet; at most held_bytes.
        uncharged_bytes: of those, pages that no memory cgroup is charged for; at most held_bytes.
        reserve_bytes: ACQUIRE: what must stay available; 0: the daemon's rule.
    """

    kind: Kind
    sequence: int
    wanted_bytes: int = 0
    held_bytes: int = 0
    pending_bytes: int = 0
    uncharged_bytes: int = 0
    reserve_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the daemon answers; all sizes in bytes.

    Attributes:
        verdict: granted, or why not.
        sequence: the request's.
        granted_bytes: all that was wanted, or 0.
        budget_bytes: the most that could have been granted.
        leased_bytes: what the daemon's books say the program holds now.
        level: how short of RAM the machine is.
    """

    verdict: Verdict
    sequence: int
    granted_bytes: int = 0
    budget_bytes: int = 0
    leased_bytes: int = 0
    level: Level = Level.OK


@dataclass(frozen=True, slots=True)
class _Layout:
    """A structure of the header.

    Attributes:
        packed: the whole of it.
        head: magic and version, which come first in every version.
        names: its fields, in order.
        pick: from the unpacked fields, those that `_layout` was asked for, in that order.
    """

    packed: struct.Struct
    head: struct.Struct
    names: tuple[str, ...]
    pick: Callable[[tuple[int, ...]], Any]

    def pack(self, **values: int) -> bytes:
        """The bytes of it; fields that are not named are 0."""
        return self.packed.pack(*(values.get(name, 0) for name in self.names))


_CODES = {"uint16_t": "H", "uint32_t": "I", "uint64_t": "Q"}


def _layout(name: str, picked: tuple[str, ...]) -> _Layout:
    """Reads a structure's layout from the header.

    Raises:
        InstallError: the header is missing or malformed, or the structure has padding or types that no message has.
    """
    ffi = abi.abi()
    fields = ffi.typeof(f"struct {name}").fields or ()
    # "=": this machine's byte order, and no padding but what the fields say.
    codes = "=" + "".join(_CODES.get(field.type.cname, "?") for _, field in fields)
    packed = struct.Struct(codes)
    names = tuple(field_name for field_name, _ in fields)
    if "?" in codes or packed.size != ffi.sizeof(f"struct {name}") or names[:2] != ("magic", "version"):
        raise InstallError(f"greenboost_abi.h: struct {name} is not the plain structure that a message is")
    positions = [names.index(field_name) for field_name in picked]
    return _Layout(packed, struct.Struct(codes[:3]), names, itemgetter(*positions))


@functools.cache
def _request_layout() -> _Layout:
    fields = ("kind", "sequence", "bytes", "held_bytes", "pending_bytes", "uncharged_bytes", "reserve_bytes", "unused")
    return _layout("gb_request", fields)


@functools.cache
def _reply_layout() -> _Layout:
    fields = ("verdict", "sequence", "granted_bytes", "budget_bytes", "leased_bytes", "level", "unused")
    return _layout("gb_reply", fields)


@functools.cache
def _magic_and_version() -> tuple[int, int]:
    return abi.constant("GB_WIRE_MAGIC"), abi.constant("GB_WIRE_VERSION")


def request_size() -> int:
    """The size in bytes of every request."""
    return _request_layout().packed.size


def reply_size() -> int:
    """The size in bytes of every reply."""
    return _reply_layout().packed.size


def request_bytes(request: Request) -> bytes:
    """Writes a request; its figures are 0 to 2^64-1."""
    magic, version = _magic_and_version()
    return _request_layout().pack(
        magic=magic,
        version=version,
        kind=request.kind,
        sequence=request.sequence,
        bytes=request.wanted_bytes,
        held_bytes=request.held_bytes,
        pending_bytes=request.pending_bytes,
        uncharged_bytes=request.uncharged_bytes,
        reserve_bytes=request.reserve_bytes,
    )


def reply_bytes(reply: Reply) -> bytes:
    """Writes a reply; its figures are 0 to 2^64-1."""
    magic, version = _magic_and_version()
    return _reply_layout().pack(
        magic=magic,
        version=version,
        verdict=reply.verdict,
        sequence=reply.sequence,
        granted_bytes=reply.granted_bytes,
        budget_bytes=reply.budget_bytes,
        leased_bytes=reply.leased_bytes,
        level=reply.level,
    )


def parse_request(data: bytes) -> Request:
    """Reads a request. Whether its sequence and its kind are in order is the connection's matter.

    Raises:
        ProtocolError: it is none, or of another version.
    """
    layout = _request_layout()
    kind, sequence, wanted, held, pending, uncharged, reserve, unused = layout.pick(_fields(layout, data))
    if kind not in _KINDS:
        raise ProtocolError(Verdict.MALFORMED, f"there is no request {kind}")
    if unused:
        raise ProtocolError(Verdict.MALFORMED, "an unused field is not 0")
    if held + wanted > BYTES_MAX or pending > held or uncharged > held:
        raise ProtocolError(
            Verdict.MALFORMED,
            f"figures that contradict themselves: {held} bytes held, {pending} of them pending,"
            f" {uncharged} of them uncharged, {wanted} more wanted",
        )
    return Request(Kind(kind), sequence, wanted, held, pending, uncharged, reserve)


def parse_reply(data: bytes) -> Reply:
    """Reads a reply.

    Raises:
        ProtocolError: it is none, or of another version.
    """
    layout = _reply_layout()
    verdict, sequence, granted, budget, leased, level, unused = layout.pick(_fields(layout, data))
    try:
        reply = Reply(Verdict(verdict), sequence, granted, budget, leased, Level(level))
    except ValueError as error:
        raise ProtocolError(Verdict.MALFORMED, str(error)) from error
    if unused:
        raise ProtocolError(Verdict.MALFORMED, "an unused field is not 0")
    return reply


def _fields(layout: _Layout, data: bytes) -> tuple[int, ...]:
    """All fields. Another version's message may have another size, so its head is looked at first."""
    expected = _magic_and_version()
    if len(data) < layout.head.size:
        raise ProtocolError(Verdict.MALFORMED, f"{len(data)} bytes are no message")
    magic, version = layout.head.unpack_from(data)
    if magic != expected[0]:
        raise ProtocolError(Verdict.MALFORMED, f"not a message: it starts with 0x{magic:08x}")
    if version != expected[1]:
        raise ProtocolError(Verdict.VERSION, f"a message of version {version}, where {expected[1]} is spoken")
    if len(data) != layout.packed.size:
        raise ProtocolError(Verdict.MALFORMED, f"a message of {len(data)} bytes, where {layout.packed.size} are due")
    return layout.packed.unpack(data)
