"""When to look again: soon enough to see that memory goes before it is gone, and no sooner. Pure.

What may begin right after a look is what counts: the interval is the time in which the fastest plausible fill reaches
the threshold of WARN, so that every fill is seen while nearly all of what that threshold keeps is left. On 16 GiB with
12 GiB available that is 1.7 s. A fall that has begun is looked at more often, so that its forecast is there in time.
"""

from collections.abc import Iterable

from greenboost_py.base.config import PollConfig
from greenboost_py.pressure.levels import Assessment, Level
from greenboost_py.pressure.model import Limits

FASTEST_FILL_BYTES_PER_S = 6 << 30
"""As fast as programs fill RAM: page faults of several threads. earlyoom reckons with the same."""

GROUP_FILL_BYTES_PER_S = 2 << 30
"""A memory cgroup fills more slowly: every page is charged."""

LOOKS_WHILE_FALLING = 24
"""A forecast takes six looks, confirmed by a seventh; they are to be over in a quarter of the time that is left."""

SETTLED_S, SETTLED_LOOK_S = 60.0, 1.0
"""A model that fills its GTT, or a job its cgroup, may stay there for days."""


def next_look_s(judged: Iterable[tuple[Assessment, Limits]], poll: PollConfig, is_stalling: bool = False) -> float:
    """Seconds until the next look, within the configured bounds.

    RAM, GTT and cgroups count; a card whose VRAM is full may stay so for weeks. From WARN on, and while tasks stall for
    memory, it is the shortest; but GTT or a cgroup that is short, and stays so, is looked at once a second.

    Args:
        judged: what was thought of each resource, with its limits.
        poll: the bounds.
        is_stalling: the kernel has just said that tasks wait for memory.
    """
    shortest = poll.slowest_s
    for assessment, limits in judged:
        kind = assessment.sample.resource.partition(":")[0]
        if kind == "vram":
            continue
        if is_stalling or (assessment.level >= Level.WARN and not _is_settled(assessment, kind)):
            return poll.fastest_s
        if assessment.level >= Level.WARN:
            shortest = min(shortest, SETTLED_LOOK_S)
            continue
        plausible = GROUP_FILL_BYTES_PER_S if kind == "cgroup" else FASTEST_FILL_BYTES_PER_S
        falling = max(2 * assessment.fill_bytes_per_s, LOOKS_WHILE_FALLING * assessment.latest_fill_bytes_per_s)
        fill = max(plausible, falling)
        room_bytes = max(0, assessment.sample.available_bytes - limits.warn_bytes)
        shortest = min(shortest, room_bytes / fill)
    return max(poll.fastest_s, shortest)


def _is_settled(assessment: Assessment, kind: str) -> bool:
    """Whether it has been so short for a while, and goes nowhere. RAM is never settled."""
    lasted_s = assessment.sample.at_s - assessment.since_s
    return kind != "ram" and lasted_s > SETTLED_S and assessment.exhausted_in_s is None
