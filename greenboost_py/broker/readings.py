"""What the machine and the cgroups can spare, read when it is asked for."""

from collections.abc import Callable
from dataclasses import dataclass

from greenboost_py.base.errors import SensorError
from greenboost_py.broker.grants import Headroom
from greenboost_py.pressure.levels import Level
from greenboost_py.sensors.cgroup import CgroupLevel
from greenboost_py.sensors.cgroup_place import CgroupPlace


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the broker's knowledge of the machine comes from.

    Attributes:
        headroom: what the machine can spare; None: unknown.
        locate: the place of a process' memory cgroup; None: it has none that can be seen.
        read_levels: the groups of a place that have a limit.
        ram_level: how short of RAM the machine is.

    The first three may raise SensorError.
    """

    headroom: Callable[[], Headroom | None]
    locate: Callable[[int], CgroupPlace | None]
    read_levels: Callable[[CgroupPlace], tuple[CgroupLevel, ...]]
    ram_level: Callable[[], Level]


class Readings:
    """One look at the machine. What is asked for is read once, and kept as long as the look itself.

    What cannot be read is unknown: of the machine that grants nothing, of a cgroup it limits nothing.

    Args:
        sources: where to read.
        at_s: when the look began, in seconds of the monotonic clock.
    """

    def __init__(self, sources: Sources, at_s: float) -> None:
        self._sources = sources
        self._machine: Headroom | None = None
        self._has_machine = False
        self._places: dict[int, CgroupPlace | None] = {}
        self._levels: dict[CgroupPlace, tuple[CgroupLevel, ...]] = {}
        self.at_s = at_s
        self.errors = 0
        """How many readings failed."""

    def machine(self) -> Headroom | None:
        """What the machine can spare."""
        if not self._has_machine:
            self._has_machine = True
            try:
                self._machine = self._sources.headroom()
            except SensorError:
                self.errors += 1
        return self._machine

    def place(self, pid: int) -> CgroupPlace | None:
        """Where a process' memory is counted; None as well for pid 0, a process that cannot be seen from here."""
        if pid > 0 and pid not in self._places:
            self._places[pid] = None
            try:
                self._places[pid] = self._sources.locate(pid)
            except SensorError:
                self.errors += 1
        return self._places.get(pid)

    def levels(self, place: CgroupPlace | None) -> tuple[CgroupLevel, ...]:
        """The groups of a place that have a limit."""
        if place is None:
            return ()
        if place not in self._levels:
            self._levels[place] = ()
            try:
                self._levels[place] = self._sources.read_levels(place)
            except SensorError:
                self.errors += 1
        return self._levels[place]
