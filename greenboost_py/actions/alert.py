"""What people, programs and the journal are told about a resource: one frozen record that every channel starts from."""

from collections.abc import Sequence
from dataclasses import dataclass

from greenboost_py.pressure.levels import Assessment, Level, Reason
from greenboost_py.sensors.holders import Holder, held_bytes, largest_of

HOLDERS_MAX = 3
"""So many are named: more do not help to decide whom to close."""


@dataclass(frozen=True, slots=True)
class Alert:
    """A change of level, or its repetition, with the figures of that moment.

    Attributes:
        resource: `ram`, `vram:<PCI address>` or `gtt:<PCI address>`.
        level: as it is now.
        previous: what was told before.
        reason: what the level is due to; None at OK.
        available_bytes: what can still be had; 0 to total_bytes.
        total_bytes: all there is of it.
        exhausted_in_s: seconds until nothing is left, at the present rate; None: no trend.
        fill_bytes_per_s: that rate; negative while memory is being given back.
        holders: who holds most of it, the largest first.
        gpu_host_bytes: RAM that GPU drivers hold and no process list shows; None: not known.
        swap_free_bytes: None: there is no swap, or it is not known.
        at_s: when, in seconds of the monotonic clock.
    """

    resource: str
    level: Level
    previous: Level
    reason: Reason | None
    available_bytes: int
    total_bytes: int
    exhausted_in_s: float | None
    fill_bytes_per_s: float
    holders: tuple[Holder, ...]
    gpu_host_bytes: int | None
    swap_free_bytes: int | None
    at_s: float

    @property
    def is_recovery(self) -> bool:
        """Whether it is less short than what was told before."""
        return self.level < self.previous


def compose(
    assessment: Assessment,
    previous: Level,
    holders: Sequence[Holder],
    *,
    gpu_host_bytes: int | None = None,
    swap_free_bytes: int | None = None,
) -> Alert:
    """Puts the record together.

    Args:
        assessment: of the resource, now.
        previous: the level that was told before.
        holders: every process that is known to hold memory, in any order.
        gpu_host_bytes: as in `Alert`.
        swap_free_bytes: as in `Alert`.
    """
    sample = assessment.sample
    return Alert(
        resource=sample.resource,
        level=assessment.level,
        previous=previous,
        reason=assessment.reason,
        available_bytes=sample.available_bytes,
        total_bytes=sample.total_bytes,
        exhausted_in_s=assessment.exhausted_in_s,
        fill_bytes_per_s=assessment.fill_bytes_per_s,
        holders=largest_of(holders, sample.resource, HOLDERS_MAX),
        gpu_host_bytes=gpu_host_bytes,
        swap_free_bytes=swap_free_bytes,
        at_s=sample.at_s,
    )


def variables(alert: Alert) -> dict[str, str]:
    """The alert as names and plain values: the environment of a hook, and the fields of a journal entry.

    Sizes are bytes in decimal, times are seconds. What is not known is left out. The names of processes are in none of
    them: they are in the journal's text only.
    """
    values: dict[str, object] = {
        "GREENBOOST_RESOURCE": alert.resource,
        "GREENBOOST_LEVEL": alert.level.name.lower(),
        "GREENBOOST_PREVIOUS_LEVEL": alert.previous.name.lower(),
        "GREENBOOST_REASON": None if alert.reason is None else alert.reason.value,
        "GREENBOOST_AVAILABLE_BYTES": alert.available_bytes,
        "GREENBOOST_TOTAL_BYTES": alert.total_bytes,
        "GREENBOOST_EXHAUSTED_IN_S": None if alert.exhausted_in_s is None else f"{alert.exhausted_in_s:.1f}",
        "GREENBOOST_FILL_BYTES_PER_S": f"{alert.fill_bytes_per_s:.0f}",
        "GREENBOOST_GPU_HOST_BYTES": alert.gpu_host_bytes,
        "GREENBOOST_SWAP_FREE_BYTES": alert.swap_free_bytes,
    }
    if alert.holders:
        values["GREENBOOST_HOLDER_PID"] = alert.holders[0].pid
        values["GREENBOOST_HOLDER_BYTES"] = held_bytes(alert.holders[0], alert.resource)
    return {name: str(value) for name, value in values.items() if value is not None}
