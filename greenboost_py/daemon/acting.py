"""What is done about a look: people are told, and what is configured is done. The broker refuses by itself."""

from collections.abc import Mapping, Sequence

from greenboost_py.actions.journal import Journal
from greenboost_py.actions.terminate import Terminator
from greenboost_py.actions.ttm_limit import TtmLimit
from greenboost_py.base.config import Config
from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.daemon.delivery import Delivery
from greenboost_py.daemon.view import View
from greenboost_py.daemon.watch import Watch
from greenboost_py.pressure.levels import Assessment, Level
from greenboost_py.pressure.model import limits_of, threshold_level
from greenboost_py.sensors.holders import Holder
from greenboost_py.sensors.ram import read_ram

NOTICE_PRIORITY, WARNING_PRIORITY = 5, 4
"""Source: syslog(3)."""

FORGET_ERROR_S = 60.0
"""What could not be read is news again when it has been well for so long."""


class Acting:
    """Acts on looks, as one configuration says; another configuration is another one of these.

    Args:
        root: the machine.
        config: what to do.
        watch: where holders are found.
        journal: where everything that is done is written.
        environment: the daemon's own.
        pid: the daemon's.
    """

    def __init__(
        self,
        root: SysRoot,
        config: Config,
        watch: Watch,
        journal: Journal,
        environment: Mapping[str, str],
        pid: int,
    ) -> None:
        self._root, self._config, self._watch, self._journal = root, config, watch, journal
        self._pid = pid
        self._delivery = Delivery(root, config, journal, environment)
        self._ttm: TtmLimit | None = None
        self._terminator: Terminator | None = None
        self._errors_at_s: dict[str, float] = {}

    def act(self, view: View) -> None:
        """Does what a look asks for. Nothing here waits."""
        self._say_errors(view)
        self._delivery.show(view, self._watch.who_holds)
        ram = next((each for each in view.assessments if each.sample.resource == "ram"), None)
        if ram is not None:
            self._limit_drivers(ram, view.gpu_host_bytes)
            self._terminate(ram)

    async def stop(self) -> None:
        """Puts back what was changed, and ends what is under way."""
        if self._ttm is not None:
            self._say(self._ttm.stop())
        await self._delivery.close()

    def _limit_drivers(self, ram: Assessment, gpu_host_bytes: int) -> None:
        """Sets the configured limit at the first look that knows RAM, for it may be a share of that."""
        if self._ttm is None:
            self._ttm = TtmLimit(self._root, self._config.ttm, ram.sample.total_bytes)
            self._say(self._ttm.start())
        self._say(self._ttm.look(ram.level, gpu_host_bytes, ram.sample.at_s))

    def _terminate(self, ram: Assessment) -> None:
        if self._terminator is None:
            self._terminator = Terminator(self._root, self._config.terminate, ram.sample.total_bytes, self._pid)
        if not self._terminator.is_due(ram.level, ram.since_s, ram.sample.at_s):
            return
        said = self._terminator.act(ram.since_s, ram.sample.at_s, self._find_holders, self._ram_level_now)
        self._say([] if said is None else [said], WARNING_PRIORITY)

    def _find_holders(self) -> Sequence[Holder]:
        return self._watch.find_holders()

    def _ram_level_now(self) -> Level:
        """The level by what is left at this moment; nothing is done on a level that is not known."""
        try:
            ram = read_ram(self._root)
        except SensorError:
            return Level.OK
        if ram is None:
            return Level.OK
        limits = limits_of(self._config.ram, self._config.forecast, ram.total_bytes)
        return threshold_level(ram.effective_available_bytes, limits)

    def _say(self, lines: Sequence[str], priority: int = NOTICE_PRIORITY) -> None:
        for line in lines:
            self._journal.line(line, priority)

    def _say_errors(self, view: View) -> None:
        """What cannot be read is said when it comes, not at every look, whatever is read there instead each time."""
        now_s = view.snapshot.at_s
        recent = {what: at_s for what, at_s in self._errors_at_s.items() if now_s - at_s < FORGET_ERROR_S}
        for error in view.snapshot.errors:
            what = error.path if isinstance(error, SensorError) else str(error)
            self._say([] if what in recent else [str(error)], WARNING_PRIORITY)
            recent[what] = now_s
        self._errors_at_s = recent
