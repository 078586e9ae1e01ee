"""The daemon's parts, put together: it looks, judges, acts, leases and shows, as its event loop tells it to."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from greenboost_py.actions.journal import Journal
from greenboost_py.base import config_file
from greenboost_py.base.config import Config, PollConfig
from greenboost_py.base.errors import GreenboostError, SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.base.units import format_size
from greenboost_py.broker.listener import open_socket
from greenboost_py.broker.paths import SocketPlace
from greenboost_py.broker.readings import Sources
from greenboost_py.broker.server import LeaseServer
from greenboost_py.daemon.acting import Acting
from greenboost_py.daemon.metrics import Figures, MetricsServer
from greenboost_py.daemon.report import PROGRAMS_MAX, ROOT, report
from greenboost_py.daemon.view import View
from greenboost_py.daemon.watch import Watch
from greenboost_py.pressure.levels import Level
from greenboost_py.sensors.cgroup import read_levels
from greenboost_py.sensors.cgroup_place import locate_cgroup
from greenboost_py.sensors.nvml import NvmlReading, NvmlSource
from greenboost_py.sensors.oom_kills import read_oom_kills
from greenboost_py.sensors.ram import read_ram

ERROR_PRIORITY, WARNING_PRIORITY, INFO_PRIORITY = 3, 4, 6
"""Source: syslog(3)."""

_HOLDERS_GOOD_S = 1.0
"""Who asks for the status more often sees the same holders: a look at every process takes 15 ms, or..."""

_HOLDERS_DUTY = 20.0
"""... if it takes longer, for so many times as long: nobody makes the daemon look at nothing else."""

_AT_START = ("psi", "nvml", "nvml_deadline_s")
"""Keys of [poll] that another configuration does not change while the daemon runs."""

_DUTY = 4.0
"""A user's answer is good for so many times as long as it took to make."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a daemon is started with.

    Attributes:
        root: the machine.
        place: where it listens.
        config_path: its configuration, as base.config_file.load takes it.
        config_required: whether that file must be there.
        environment: its own.
    """

    root: SysRoot
    place: SocketPlace
    config_path: str
    config_required: bool
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Answer:
    """A user's status.

    Attributes:
        text: JSON.
        good_until_s: in seconds of the monotonic clock.
    """

    text: bytes
    good_until_s: float


class _Polled:
    """An NvmlSource that is never waited for."""

    def __init__(self, source: NvmlSource) -> None:
        self._source = source

    def read(self) -> NvmlReading:
        """The newest figures that there are."""
        return self._source.poll()


class Daemon:
    """A running daemon, between `start` and `stop`.

    Args:
        setting: what it is started with.
        config: what it is configured with.
        journal: where it writes.
    """

    def __init__(self, setting: Setting, config: Config, journal: Journal) -> None:
        self._setting, self._config, self._journal = setting, config, journal
        self._poll_at_start = config.poll
        self._nvml = NvmlSource(config.poll.nvml_deadline_s) if config.poll.nvml else None
        self._watch = Watch(
            setting.root, config, None if self._nvml is None else _Polled(self._nvml), self._client_groups
        )
        self._server: LeaseServer | None = None
        self._metrics: MetricsServer | None = None
        self._acting: Acting | None = None
        self._holders_good_until_s = float("-inf")
        self._answers: dict[int, _Answer] = {}

    def start(self) -> None:
        """Begins to listen; needs a running event loop.

        Raises:
            GreenboostError: another daemon listens there, or a socket cannot be made; nothing is left behind.
        """
        root = self._setting.root
        sources = Sources(
            headroom=lambda: read_ram(root),
            locate=lambda pid: locate_cgroup(root, pid),
            read_levels=lambda place: read_levels(root, place),
            ram_level=self._ram_level,
        )
        listener = open_socket(self._setting.place)
        self._server = LeaseServer(listener, self._config.lease, sources, self._status)
        self._server.start()
        try:
            self._metrics = self._open_metrics(self._config)
        except GreenboostError:
            self._server.close()
            self._server = None
            raise
        self._acting = self._new_acting(self._config)

    def look(self) -> View:
        """Looks once, and acts on it."""
        view = self._watch.look(time.monotonic())
        assert self._acting is not None  # between start and stop
        self._acting.act(view)
        return view

    def next_look_s(self, is_stalling: bool) -> float:
        """In how many seconds to look again."""
        return self._watch.next_look_s(is_stalling)

    async def reload(self) -> None:
        """Reads the configuration anew. One with a mistake is said, and changes nothing; leases stay as they are."""
        assert self._server is not None and self._acting is not None  # between start and stop
        try:
            config = config_file.load(self._setting.root, self._setting.config_path, self._setting.config_required)
            if config.metrics != self._config.metrics:
                metrics = self._open_metrics(config)
                if self._metrics is not None:
                    self._metrics.close()
                self._metrics = metrics
        except GreenboostError as error:
            self._journal.line(f"the configuration stays as it was: {error}", ERROR_PRIORITY)
            return
        await self._acting.stop()
        self._config = config
        self._watch.configure(config)
        self._server.configure(config.lease)
        self._acting = self._new_acting(config)
        self._journal.line("the configuration was read anew", INFO_PRIORITY)
        self._say_what_waits(config.poll)

    async def stop(self) -> None:
        """Ends everything; the leases of programs that run are theirs to tell the next daemon."""
        if self._metrics is not None:
            self._metrics.close()
        if self._acting is not None:
            await self._acting.stop()
        if self._server is not None:
            self._server.close()
        if self._nvml is not None:
            self._nvml.close()

    def state_line(self) -> str:
        """How things are, in a line."""
        view = self._watch.view
        if view is None or view.snapshot.ram is None:
            return "RAM cannot be read"
        worst = max(view.assessments, key=lambda each: each.level)
        text = f"RAM {view.ram_level.name}, {format_size(view.snapshot.ram.effective_available_bytes)} available"
        if worst.level > view.ram_level:
            text += f"; {worst.sample.resource} {worst.level.name}"
        if self._server is not None and len(self._server.books):
            held_bytes, _ = self._server.books.totals()
            count = len(self._server.books)
            text += f"; {'1 program leases' if count == 1 else f'{count} programs lease'} {format_size(held_bytes)}"
        return text

    def _ram_level(self) -> Level:
        view = self._watch.view
        return Level.OK if view is None else view.ram_level

    def _client_groups(self) -> list[str]:
        if self._server is None:
            return []
        return [path for _, holding in self._server.books.holdings() for path in holding.groups]

    def _status(self, uid: int) -> bytes:
        """What a user is answered. Whoever asks in a loop takes a fifth of the daemon's time at most."""
        now_s = time.monotonic()
        answers = {asker: answer for asker, answer in self._answers.items() if now_s < answer.good_until_s}
        if uid not in answers:
            text = self._report(uid, now_s)
            end_s = time.monotonic()
            answers[uid] = _Answer(text, end_s + _DUTY * (end_s - now_s))
        self._answers = answers
        return answers[uid].text

    def _report(self, uid: int, now_s: float) -> bytes:
        assert self._server is not None  # it is who asks
        if now_s >= self._holders_good_until_s:
            self._watch.find_holders()
            took_s = time.monotonic() - now_s
            self._holders_good_until_s = now_s + max(_HOLDERS_GOOD_S, _HOLDERS_DUTY * took_s)
        leases = self._server.leases(None if uid == ROOT else uid, PROGRAMS_MAX)
        books, counters = self._server.books, self._server.counters
        view, recent = self._watch.view, self._journal.recent
        answer = report(view, self._watch.holders, leases, books, counters, uid, os.getpid(), recent)
        return json.dumps(answer).encode()

    def _say_what_waits(self, poll: PollConfig) -> None:
        """What is made at the start is not made anew."""
        names = [name for name in _AT_START if getattr(poll, name) != getattr(self._poll_at_start, name)]
        if names:
            self._journal.line(f"[poll] {', '.join(names)}: counts from the daemon's next start", WARNING_PRIORITY)

    def _new_acting(self, config: Config) -> Acting:
        setting = self._setting
        return Acting(setting.root, config, self._watch, self._journal, setting.environment, os.getpid())

    def _open_metrics(self, config: Config) -> MetricsServer | None:
        server = self._server
        if not config.metrics.listen or server is None:
            return None
        figures = Figures(lambda: self._watch.view, server.counters, lambda: server.books, self._oom_kills)
        return MetricsServer(config.metrics.listen, figures)

    def _oom_kills(self) -> int | None:
        try:
            return read_oom_kills(self._setting.root)
        except SensorError:
            return None
