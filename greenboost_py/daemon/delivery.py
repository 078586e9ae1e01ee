"""Who is told of what, and by which way. Each way keeps its own count of what was told; none can hold up another."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping

from greenboost_py.actions import dbus_signal, wall
from greenboost_py.actions.alert import Alert, compose
from greenboost_py.actions.dbus_signal import Signaller
from greenboost_py.actions.hooks import Hooks
from greenboost_py.actions.journal import Journal
from greenboost_py.actions.limiter import Limiter
from greenboost_py.actions.users import read_users
from greenboost_py.base.config import Config
from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.daemon.view import Held, View
from greenboost_py.pressure.levels import Assessment, Level


class _Way:
    """One way to tell an alert.

    Args:
        lowest: the lowest level that it speaks of; None: it is off.
        repeat_s: after how many seconds a level that lasts is told again; 0: never.
        tell: tells it; what it returns is waited for on the side, and a line from there goes to the journal.
        speaks_of: the resources it is for.
    """

    def __init__(
        self,
        lowest: Level | None,
        repeat_s: float,
        tell: Callable[[Alert], Coroutine[None, None, str | None] | None],
        speaks_of: Callable[[str], bool] = lambda resource: True,
    ) -> None:
        self._limiter = None if lowest is None else Limiter(lowest, repeat_s)
        self._speaks_of = speaks_of
        self.tell = tell

    def decide(self, assessment: Assessment) -> Level | None:
        """The level that was told before, if it is time to tell this one; else None."""
        sample = assessment.sample
        if self._limiter is None or not self._speaks_of(sample.resource):
            return None
        verdict = self._limiter.decide(sample.resource, assessment.level, sample.at_s)
        return None if verdict is None else verdict.previous


class Delivery:
    """Tells the journal, desktops, terminals and hooks.

    Args:
        root: where the names of users are.
        config: whom to tell of what.
        journal: where it is written, and problems of the other ways too.
        environment: the daemon's own.
    """

    def __init__(self, root: SysRoot, config: Config, journal: Journal, environment: Mapping[str, str]) -> None:
        self._root, self._journal, self._environment = root, journal, environment
        self._signaller = Signaller()
        self._hooks = Hooks(config.hooks)
        self._tasks: set[asyncio.Task[str | None]] = set()
        notify = config.notify

        def is_for_people(resource: str) -> bool:
            return notify.vram or not resource.startswith("vram:")

        def is_for_everybody(resource: str) -> bool:
            # A job at the limit of its own group is no business of those on other terminals.
            return is_for_people(resource) and not resource.startswith("cgroup:")

        self._ways = (
            _Way(Level.NOTICE, notify.repeat_s, self._write),
            _Way(Level.WARN if notify.desktop else None, notify.repeat_s, self._signal, is_for_people),
            _Way(wall.lowest_level(notify.wall), notify.repeat_s, self._wall, is_for_everybody),
            _Way(Level.NOTICE, 0.0, self._run_hook),
        )

    def show(self, view: View, who_holds: Callable[[str], Held]) -> None:
        """Tells what is due. Call it at every look, from the event loop.

        Args:
            view: the look.
            who_holds: finds who holds a resource; called only when something is told.
        """
        ram = view.snapshot.ram
        for assessment in view.assessments:
            resource = assessment.sample.resource
            due = [(way, told) for way in self._ways if (told := way.decide(assessment)) is not None]
            if not due:
                continue
            held = who_holds(resource)
            for way, told in due:
                alert = compose(
                    assessment,
                    told,
                    held.holders,
                    gpu_host_bytes=held.gpu_host_bytes,
                    swap_free_bytes=ram.swap_free_bytes if ram is not None and ram.swap_total_bytes else None,
                )
                self._follow(way.tell(alert))

    async def close(self) -> None:
        """Ends what is still being told."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _follow(self, telling: Coroutine[None, None, str | None] | None) -> None:
        if telling is None:
            return
        task = asyncio.get_running_loop().create_task(telling)
        self._tasks.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[str | None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        problem = task.result() if error is None else f"an alert was not told: {error!r}"
        if problem is not None:
            self._journal.line(problem, priority=5)

    def _write(self, alert: Alert) -> None:
        self._journal.alert(alert)

    def _signal(self, alert: Alert) -> Coroutine[None, None, str | None]:
        return self._signaller.send(dbus_signal.plan(alert, self._users()), self._environment)

    def _wall(self, alert: Alert) -> Coroutine[None, None, str | None]:
        return wall.write(wall.text(alert, self._users()), self._environment)

    def _run_hook(self, alert: Alert) -> Coroutine[None, None, str | None]:
        return self._hooks.run(alert, self._environment)

    def _users(self) -> dict[int, str]:
        """Names for the text; without them it has numbers, which is no reason to tell nobody."""
        try:
            return read_users(self._root)
        except SensorError:
            return {}
