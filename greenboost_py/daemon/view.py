"""What the daemon knows at one moment: made by the loop, read by whoever shows it."""

from dataclasses import dataclass

from greenboost_py.pressure.levels import Assessment, Level
from greenboost_py.sensors.holders import Holder
from greenboost_py.sensors.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class View:
    """One look at the machine and what to think of it.

    Attributes:
        snapshot: the readings.
        assessments: by resource, in the order: RAM, GTT, VRAM, memory cgroups.
        gpu_host_bytes: RAM that GPU drivers hold.
        looks: how many looks there were.
        changes: how often a level has changed.
    """

    snapshot: Snapshot
    assessments: tuple[Assessment, ...]
    gpu_host_bytes: int
    looks: int
    changes: int

    @property
    def ram_level(self) -> Level:
        """The level of RAM; OK while it is unknown."""
        return next((each.level for each in self.assessments if each.sample.resource == "ram"), Level.OK)


@dataclass(frozen=True, slots=True)
class Held:
    """Who holds a resource, and what drivers hold of RAM once that is found.

    To look at every process takes seconds on a machine that is short of RAM, in which a driver takes on.

    Attributes:
        holders: who may hold it, in no order.
        gpu_host_bytes: RAM that GPU drivers hold.
    """

    holders: tuple[Holder, ...]
    gpu_host_bytes: int
