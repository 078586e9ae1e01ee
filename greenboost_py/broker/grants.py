"""The rule by which host memory is granted: a pure function of readings, of what is leased, and of limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from greenboost_py.base.config import LeaseConfig
from greenboost_py.broker.protocol import BYTES_MAX, Verdict
from greenboost_py.pressure.levels import Level
from greenboost_py.sensors.cgroup import CgroupLevel

_RESERVE_LEAST_BYTES, _RESERVE_MOST_BYTES = 256 << 20, 4 << 30

GROUP_RESERVE_DIVISOR = 16
"""Of a memory cgroup's limit, 1/16 stays for what its programs take without asking, or the reserve if that is less."""


class Headroom(Protocol):
    """What the machine can spare; a RamReading is one."""

    @property
    def total_bytes(self) -> int:
        """MemTotal."""

    @property
    def effective_available_bytes(self) -> int:
        """What can really be had."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the configuration says, in bytes.

    Attributes:
        reserve_bytes: RAM that stays available after a grant.
        per_process_bytes: the most one process may hold; None: no cap.
        per_user_bytes: the most the processes of one user may hold together; None: no cap.
    """

    reserve_bytes: int
    per_process_bytes: int | None = None
    per_user_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Sums:
    """What is leased already, as far as it matters to one client; itself included.

    Attributes:
        user_held_bytes: what the client's user holds.
        pending_bytes: what all clients were granted and have not taken.
        level_bytes: for each level of the client's cgroup that has a limit, what the clients in it were granted and the
            kernel has not charged it for: pending and uncharged.
    """

    user_held_bytes: int
    pending_bytes: int
    level_bytes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer.

    Attributes:
        verdict: GRANTED, or the first reason why not.
        budget_bytes: the most that would be granted now; 0 or more.
    """

    verdict: Verdict
    budget_bytes: int


def default_reserve_bytes(total_bytes: int) -> int:
    """The reserve where nobody sets one: 1/16 of RAM, within 256 MiB and 4 GiB. The shim's rule is the same."""
    return min(max(total_bytes // 16, _RESERVE_LEAST_BYTES), _RESERVE_MOST_BYTES)


def limits_of(config: LeaseConfig, total_bytes: int) -> Limits:
    """The configuration's limits on a machine with so much RAM."""
    reserve, process, user = (
        None if size is None else size.resolve(total_bytes)
        for size in (config.reserve, config.per_process, config.per_user)
    )
    return Limits(default_reserve_bytes(total_bytes) if reserve is None else reserve, process, user)


def decide(
    wanted_bytes: int,
    held_bytes: int,
    sums: Sums,
    limits: Limits,
    machine: Headroom | None,
    levels: Sequence[CgroupLevel],
    ram_level: Level,
    asked_reserve_bytes: int = 0,
) -> Decision:
    """Whether a client may have more.

    Args:
        wanted_bytes: 0 only asks; that is granted wherever memory is not critical.
        held_bytes: what the client holds.
        sums: what is leased already.
        limits: of the configuration.
        machine: unknown (None) grants nothing.
        levels: the client's cgroup and those above it, where they have a limit, in the order of `sums.level_bytes`.
        ram_level: how short of RAM the machine is.
        asked_reserve_bytes: what the client wants to stay available; it counts where it is more than the limits say.
    """
    if ram_level is Level.CRITICAL:
        return Decision(Verdict.PRESSURE, 0)
    reserve_bytes = max(limits.reserve_bytes, asked_reserve_bytes)
    rooms = (
        (Verdict.PROCESS_CAP, _room(limits.per_process_bytes, held_bytes)),
        (Verdict.USER_CAP, _room(limits.per_user_bytes, sums.user_held_bytes)),
        (Verdict.CGROUP, _level_room(levels, sums.level_bytes, limits.reserve_bytes, asked_reserve_bytes)),
        (
            Verdict.MACHINE,
            _room(machine.effective_available_bytes if machine else 0, reserve_bytes + sums.pending_bytes),
        ),
    )
    verdict = next((reason for reason, room_bytes in rooms if wanted_bytes > room_bytes), Verdict.GRANTED)
    return Decision(verdict, min(BYTES_MAX - held_bytes, *(room_bytes for _, room_bytes in rooms)))


def _room(limit_bytes: int | None, used_bytes: int) -> int:
    """What is left below a limit; none is the most that a message can say."""
    return BYTES_MAX if limit_bytes is None else max(0, limit_bytes - used_bytes)


def _level_room(
    levels: Sequence[CgroupLevel], level_bytes: tuple[int, ...], reserve_bytes: int, asked_reserve_bytes: int
) -> int:
    """The least room of any level. The reserve, made for all of RAM, may be more than a group has: it keeps a share."""
    rooms = []
    for level, used_bytes in zip(levels, level_bytes, strict=True):
        kept_bytes = max(min(reserve_bytes, level.limit_bytes // GROUP_RESERVE_DIVISOR), asked_reserve_bytes)
        rooms.append(_room(level.headroom_bytes, kept_bytes + used_bytes))
    return min(rooms, default=BYTES_MAX)
