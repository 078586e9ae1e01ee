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


class Acting:
    """Acts on looks, as one configuration says; another configuration is another one of these.

    Args:
        root: the machine.
        config: what to do.
        watch: where holders are found.
        journal: where everything that is done is written.
        environment: the daemon's own.
        ram_total_bytes: all the RAM there is.
        pid: the daemon's.
    """

    def __init__(
        self,
        root: SysRoot,
        config: Config,
        watch: Watch,
        journal: Journal,
        environment: Mapping[str, str],
        ram_total_bytes: int,
        pid: int,
    ) -> None:
        self._root, self._config, self._watch, self._journal = root, config, watch, journal
        self._delivery = Delivery(root, config, journal, environment)
        self._ttm = TtmLimit(root, config.ttm, ram_total_bytes)
        self._terminator = Terminator(root, config.terminate, ram_total_bytes, pid)
        self._said_errors: frozenset[str] = frozenset()

    def start(self) -> None:
        """Does what is to be done once."""
        self._say(self._ttm.start())

    def act(self, view: View) -> None:
        """Does what a look asks for. Nothing here waits."""
        self._delivery.show(view, self._watch.holders_of)
        ram = next((each for each in view.assessments if each.sample.resource == "ram"), None)
        if ram is not None:
            self._say(self._ttm.look(ram.level, view.gpu_host_bytes, ram.sample.at_s))
            self._terminate(ram)
        self._say_errors(view)

    async def stop(self) -> None:
        """Puts back what was changed, and ends what is under way."""
        self._say(self._ttm.stop())
        await self._delivery.close()

    def _terminate(self, ram: Assessment) -> None:
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
        """A sensor's error is said when it comes, not at every look."""
        errors = frozenset(str(error) for error in view.snapshot.errors)
        self._say(sorted(errors - self._said_errors), WARNING_PRIORITY)
        self._said_errors = errors
