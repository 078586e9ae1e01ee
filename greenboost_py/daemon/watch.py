"""Sensing and judging: one look at the machine after the other. No waiting, no acting."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from greenboost_py.base.config import Config
from greenboost_py.base.errors import GreenboostError, SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.daemon.view import Held, View
from greenboost_py.pressure.levels import Assessment, Sample
from greenboost_py.pressure.model import Limits, State, limits_of, section_of, step
from greenboost_py.pressure.pace import next_look_s
from greenboost_py.pressure.resources import group_samples, samples_of
from greenboost_py.sensors.cgroup import CgroupLevel, read_group, read_members
from greenboost_py.sensors.hidden import HiddenRam
from greenboost_py.sensors.holders import Holder, read_holders
from greenboost_py.sensors.snapshot import NvmlReader, Snapshot, take_snapshot

GROUPS_MAX = 256
"""So many memory cgroups are watched: of a machine with more, those of the oldest clients."""


class Watch:
    """Looks at the machine, and remembers what it must to judge what it sees.

    Args:
        root: the machine, or a tree that stands in for it.
        config: the thresholds.
        nvml: who is asked about NVIDIA's GPUs; it must not wait.
        client_groups: the memory cgroups of the programs that lease, by their folders.
    """

    def __init__(
        self,
        root: SysRoot,
        config: Config,
        nvml: NvmlReader | None,
        client_groups: Callable[[], Iterable[str]],
    ) -> None:
        self._root, self._config, self._nvml, self._client_groups = root, config, nvml, client_groups
        self._states: dict[str, State] = {}
        self._judged: list[tuple[Assessment, Limits]] = []
        self._hidden = HiddenRam()
        self._looks = self._changes = 0
        self.view: View | None = None
        """The newest look."""
        self.holders: tuple[Holder, ...] = ()
        """Who held memory when that was asked last."""

    def configure(self, config: Config) -> None:
        """Takes other thresholds, from the next look on."""
        self._config = config

    def look(self, at_s: float) -> View:
        """Reads and judges everything once.

        Args:
            at_s: now, in seconds of the monotonic clock.
        """
        snapshot = take_snapshot(self._root, self._nvml, at_s)
        groups, errors = self._read_groups(snapshot)
        snapshot = replace(snapshot, errors=(*snapshot.errors, *errors))
        samples = (*samples_of(snapshot), *group_samples(groups, at_s))
        before, self._states = self._states, {}
        self._judged = [self._judge(sample, before.get(sample.resource, State())) for sample in samples]
        self._looks += 1
        self.view = View(
            snapshot=snapshot,
            assessments=tuple(assessment for assessment, _ in self._judged),
            gpu_host_bytes=self._hidden.look(snapshot),
            looks=self._looks,
            changes=self._changes,
        )
        return self.view

    def next_look_s(self, is_stalling: bool) -> float:
        """In how many seconds to look again.

        Args:
            is_stalling: the kernel has just said that tasks wait for memory.
        """
        return next_look_s(self._judged, self._config.poll, is_stalling)

    def find_holders(self) -> tuple[Holder, ...]:
        """Looks at every process."""
        processes = () if self.view is None else self.view.snapshot.nvidia_processes
        self.holders = read_holders(self._root, processes).holders
        return self.holders

    def who_holds(self, resource: str) -> Held:
        """Who holds a resource: everybody, or of a memory cgroup its members; and what drivers hold by then."""
        holders = self.find_holders()
        kind, _, path = resource.partition(":")
        if kind == "cgroup":
            try:
                members = read_members(self._root, path)
            except SensorError:
                members = frozenset()
            holders = tuple(holder for holder in holders if holder.pid in members)
        at_s = 0.0 if self.view is None else self.view.snapshot.at_s
        return Held(holders, self._hidden.look(take_snapshot(self._root, self._nvml, at_s)))

    def _judge(self, sample: Sample, state: State) -> tuple[Assessment, Limits]:
        """What to think of a sample; the state for the next one is kept. What has no sample any more is forgotten."""
        section = section_of(self._config, sample.resource)
        limits = limits_of(section, self._config.forecast, sample.total_bytes)
        after, assessment = step(state, sample, limits)
        self._states[sample.resource] = after
        self._changes += after.level is not state.level
        return assessment, limits

    def _read_groups(self, snapshot: Snapshot) -> tuple[list[CgroupLevel], tuple[GreenboostError, ...]]:
        """The cgroups that we share with others, and those that programs lease in; what cannot be read is an error."""
        own = () if snapshot.cgroup is None else snapshot.cgroup.levels
        paths = [*dict.fromkeys((*(level.path for level in own), *self._client_groups()))][:GROUPS_MAX]
        levels: list[CgroupLevel] = []
        errors: list[GreenboostError] = []
        for path in paths:
            try:
                # A group that is ours alone has a limit for us, and says nothing about the machine.
                is_shared = path not in {level.path for level in own} or len(read_members(self._root, path)) != 1
                level = read_group(self._root, path) if is_shared else None
            except SensorError as error:
                errors.append(error)
            else:
                levels += [] if level is None else [level]
        return levels, tuple(errors)
