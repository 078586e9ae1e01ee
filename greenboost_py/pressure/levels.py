"""The words of pressure: a resource, its level, and why."""

import enum
from dataclasses import dataclass


class Level(enum.IntEnum):
    """How short something is; the values are those of enum gb_level (shim/abi/greenboost_abi.h)."""

    OK = 0
    NOTICE = 1
    WARN = 2
    CRITICAL = 3


class Reason(enum.Enum):
    """What a level is due to."""

    THRESHOLD = "threshold"
    FORECAST = "forecast"


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at one resource.

    Attributes:
        resource: `ram`, `vram:<PCI address>` or `gtt:<PCI address>`, for example `gtt:0000:c4:00.0`; or
            `cgroup:<path>`, a memory cgroup with a limit.
        at_s: when, in seconds of the monotonic clock.
        total_bytes: all there is of it; above 0.
        available_bytes: what can still be had; 0 to total_bytes.
    """

    resource: str
    at_s: float
    total_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True)
class Assessment:
    """What to think of a resource.

    Attributes:
        sample: the look it is of.
        level: after hysteresis.
        reason: what the level is due to; None at OK.
        exhausted_in_s: seconds until nothing is left, at the present rate; None where no trend beats the noise.
        fill_bytes_per_s: that rate; 0 where there is none, negative while memory is being given back.
        since_s: when the level was reached, in seconds of the monotonic clock.
        latest_fill_bytes_per_s: the change between this look and the one before, be it a trend or not: a reason to look
            again soon, and to nothing else. 0 where there is none to compare with.
    """

    sample: Sample
    level: Level
    reason: Reason | None
    exhausted_in_s: float | None
    fill_bytes_per_s: float
    since_s: float
    latest_fill_bytes_per_s: float = 0.0
