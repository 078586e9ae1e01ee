"""The programs under the shim as a table, with as many columns as fit. Pure."""

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from greenboost_py.base.units import format_size
from greenboost_py.screen.frame import ProgramUse
from greenboost_py.screen.lines import Glyphs, Line, Role, cut_text, plain

_NAME_MIN, _NAME_MAX = 8, 24
_PID_WIDTH = 7  # the kernel's largest pid is 4194304
_NUMBER_WIDTH = 8  # `1.50 GiB`


class Order(enum.Enum):
    """What programs are sorted by; the value is the heading of that column."""

    HELD = "HELD"
    HOST = "IN RAM"
    MOVED = "MOVED"
    PID = "PID"

    @property
    def following(self) -> "Order":
        """The next one, the first after the last."""
        orders = list(Order)
        return orders[(orders.index(self) + 1) % len(orders)]


_KEYS: dict[Order, Callable[[ProgramUse], int]] = {
    Order.HELD: lambda program: -program.held_bytes,
    Order.HOST: lambda program: -program.host_bytes,
    Order.MOVED: lambda program: -program.moved_bytes,
    Order.PID: lambda program: program.pid,
}


def ordered(programs: Iterable[ProgramUse], order: Order) -> list[ProgramUse]:
    """The programs, the largest first, equals by pid."""
    return sorted(programs, key=lambda program: (_KEYS[order](program), program.pid))


@dataclass(frozen=True, slots=True)
class _Column:
    heading: str
    text: Callable[[ProgramUse], str]
    width: int = _NUMBER_WIDTH


def _tier(name: str) -> Callable[[ProgramUse], str]:
    return lambda program: _size(program.tiers.get(name, 0))


def _size(size_bytes: int) -> str:
    return format_size(size_bytes) if size_bytes else "-"


def _split(program: ProgramUse) -> str:
    """How much of the split allocations is in VRAM, by their chunks."""
    chunks = program.vram_chunks + program.host_chunks
    return f"{100 * program.vram_chunks // chunks} %" if chunks else "-"


_HELD = _Column("HELD", lambda program: _size(program.held_bytes))

_FIRST = (
    _Column("VRAM", _tier("device")),
    _Column("SPLIT", _tier("split")),
    _Column("IN VRAM", _split, 7),
    _Column("MOVED", lambda program: _size(program.moved_bytes)),
)
"""Of every program; the most telling first, for those at the end are left out where there is no room."""

_SELDOM = (
    ("host_mapped", "MAPPED"),
    ("managed", "MANAGED"),
    ("pageable", "PAGEABLE"),
    ("unified", "UNIFIED"),
    ("leased", "LEASED"),
)
"""Tiers with a column only where a program has something in them."""


def table(programs: Sequence[ProgramUse], order: Order, width: int, glyphs: Glyphs) -> list[Line]:
    """A heading and a line for each program, at most `width` columns wide."""
    used = {tier for program in programs for tier, held_bytes in program.tiers.items() if held_bytes}
    seldom = [_Column(heading, _tier(tier)) for tier, heading in _SELDOM if tier in used]
    refused = [_Column("REFUSED", lambda program: str(program.refused) if program.refused else "-", 7)]
    wanted = [_HELD, *_FIRST[:2], *seldom, *_FIRST[2:], *(refused if any(each.refused for each in programs) else [])]
    has_pid = width >= _PID_WIDTH + 1 + _NAME_MIN + 2 + _HELD.width
    left = width - _NAME_MIN - (_PID_WIDTH + 1 if has_pid else 0)
    columns: list[_Column] = []
    for column in wanted:
        if left < column.width + 2:
            break
        columns.append(column)
        left -= column.width + 2
    name_width = min(_NAME_MAX, _NAME_MIN + left)
    heading = _text("PID", "PROGRAM", [column.heading for column in columns], columns, name_width, has_pid)
    lines: list[Line] = [((heading, Role.TITLE),)]
    for program in ordered(programs, order):
        name = f"{program.name} ({program.container})" if program.container else program.name
        name = cut_text(plain(name, glyphs), name_width, glyphs)
        pid = str(program.pid) if program.pid else "-"
        cells = [column.text(program) for column in columns]
        lines.append(((_text(pid, name, cells, columns, name_width, has_pid), Role.PLAIN),))
    return lines


def _text(pid: str, name: str, cells: Sequence[str], columns: Sequence[_Column], name_width: int, has_pid: bool) -> str:
    head = f"{pid:>{_PID_WIDTH}} {name:<{name_width}}" if has_pid else f"{name:<{name_width}}"
    return head + "".join(f"  {cell:>{column.width}}" for cell, column in zip(cells, columns, strict=True))
