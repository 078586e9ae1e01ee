"""How often people are told: at once when it gets worse, seldom while it lasts, once when it is over. Pure."""

import enum
from collections import deque
from dataclasses import dataclass

from greenboost_py.pressure.levels import Level

SETTLE_S = 10.0
"""A level that falls is told when it has stayed down for so long: nobody hears of a recovery that does not last."""

WINDOW_S = 60.0
PER_WINDOW_MAX = 10
"""No more than so many messages in any window, whatever the resources do."""

CRITICAL_RESERVE = 3
"""Of those, so many are kept for what has become CRITICAL, so that a flapping card cannot use up the voice for RAM."""

RESOURCES_MAX = 64
"""Told resources that are remembered: RAM, and VRAM and GTT of more GPUs than a machine has."""


class Kind(enum.Enum):
    """Why something is told."""

    RISE = "rise"
    REPEAT = "repeat"
    FALL = "fall"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Something is to be told now.

    Attributes:
        kind: why.
        previous: the level that was told before; OK where nothing was.
    """

    kind: Kind
    previous: Level


@dataclass(slots=True)
class _Told:
    level: Level
    at_s: float
    lower_since_s: float | None = None


class Limiter:
    """Decides for one channel, from the levels that it is shown.

    What the cap holds back is not lost: it is told at a later look, if it still holds.

    Args:
        lowest: levels below it count as OK: this channel does not speak of them.
        repeat_s: a level that lasts is told again after so many seconds; 0 or less: never.
    """

    def __init__(self, lowest: Level, repeat_s: float) -> None:
        self._lowest = lowest
        self._repeat_s = repeat_s
        self._told: dict[str, _Told] = {}
        self._recent_s: deque[float] = deque(maxlen=PER_WINDOW_MAX)

    def decide(self, resource: str, level: Level, at_s: float) -> Verdict | None:
        """What to tell of a resource, which is remembered as told.

        Args:
            resource: its name.
            level: what it is now; show every look, not only changes.
            at_s: now, in seconds of a clock that never goes back.
        """
        level = level if level >= self._lowest else Level.OK
        told = self._told.get(resource, _Told(Level.OK, at_s))
        kind = self._kind(told, level, at_s)
        if kind is None or not self._has_room(kind, level, at_s):
            return None
        self._recent_s.append(at_s)
        self._remember(resource, level, at_s)
        return Verdict(kind, told.level)

    def _kind(self, told: _Told, level: Level, at_s: float) -> Kind | None:
        if level >= told.level:
            told.lower_since_s = None
            if level > told.level:
                return Kind.RISE
            lasts = level > Level.OK and 0 < self._repeat_s <= at_s - told.at_s
            return Kind.REPEAT if lasts else None
        if told.lower_since_s is None:
            told.lower_since_s = at_s
        return Kind.FALL if at_s - told.lower_since_s >= SETTLE_S else None

    def _has_room(self, kind: Kind, level: Level, at_s: float) -> bool:
        while self._recent_s and at_s - self._recent_s[0] >= WINDOW_S:
            self._recent_s.popleft()
        is_urgent = kind is Kind.RISE and level is Level.CRITICAL
        return len(self._recent_s) < PER_WINDOW_MAX - (0 if is_urgent else CRITICAL_RESERVE)

    def _remember(self, resource: str, level: Level, at_s: float) -> None:
        self._told.pop(resource, None)
        if level > Level.OK:
            if len(self._told) >= RESOURCES_MAX:
                del self._told[next(iter(self._told))]  # the one that was told longest ago
            self._told[resource] = _Told(level, at_s)
