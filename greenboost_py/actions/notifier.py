"""Shows alerts on a user's desktop: hears the signal on the system's bus, and notifies on the session's.

Two tasks with one thing between them: the newest alert of each resource that is still to be shown. So a desktop that is
away for a while sees the present, not the past.
"""

import asyncio
import signal
from collections.abc import Mapping

from greenboost_py.actions import dbus_signal
from greenboost_py.actions.alert_text import printable
from greenboost_py.actions.bus import Bus, BusError, system_address
from greenboost_py.actions.dbus_signal import Changed
from greenboost_py.actions.desktop import CRITICAL, LOW, NORMAL, SERVERS_CHOICE_MS, UNTIL_CLOSED_MS, Bubble, Desktop
from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.base.units import format_size
from greenboost_py.pressure.levels import Level

RETRY_S = 5.0
"""Between two attempts to reach a bus that is not there."""

RESOURCES_MAX = 64
"""Alerts that wait to be shown; as in actions/limiter.py."""

RECOVERED_MS = 5000
"""Good news goes away by itself."""

_LOOKS = {
    Level.OK: (LOW, RECOVERED_MS, "dialog-information"),
    Level.NOTICE: (LOW, SERVERS_CHOICE_MS, "dialog-information"),
    Level.WARN: (NORMAL, SERVERS_CHOICE_MS, "dialog-warning"),
    Level.CRITICAL: (CRITICAL, UNTIL_CLOSED_MS, "dialog-error"),
}

TEST = Bubble(
    "GreenBoost can reach this desktop",
    "Warnings of short memory will be shown like this.",
    NORMAL,
    SERVERS_CHOICE_MS,
    "dialog-information",
)


def plan(changed: Changed, own_programs: Mapping[int, str]) -> Bubble:
    """The notification of a change.

    Args:
        changed: what was heard.
        own_programs: names, by pid, of those holders that are this user's own.
    """
    lines = [_line(line) for line in changed.body.splitlines()]
    own = [
        f"{format_size(held)} by {printable(own_programs[pid])} (pid {pid})"
        for pid, _, held in changed.holders
        if pid in own_programs
    ]
    if own:
        lines.append(f"Yours: {'; '.join(own)}.")
    return Bubble(_line(changed.headline), "\n".join(lines), *_LOOKS[changed.level])


def own_programs(root: SysRoot, changed: Changed, uid: int) -> dict[int, str]:
    """The names of those holders that are this user's programs, by pid; one that has ended is left out."""
    names = {}
    for pid, owner, _ in changed.holders:
        try:
            name = root.read_text(f"proc/{pid}/comm") if owner == uid == root.owner(f"proc/{pid}") else None
        except SensorError:
            continue  # its amount is in the text all the same
        if name is not None:
            names[pid] = name.rstrip("\n")
    return names


class Notifier:
    """From the one bus to the other, until it is cancelled.

    Args:
        root: where the names of this user's programs are.
        uid: this user.
        environment: where the buses are.
        retry_s: seconds between two attempts to reach a bus.
    """

    def __init__(self, root: SysRoot, uid: int, environment: Mapping[str, str], retry_s: float = RETRY_S) -> None:
        self._root = root
        self._uid = uid
        self._environment = environment
        self._retry_s = retry_s
        self._waiting: dict[str, Changed] = {}
        self._is_something_waiting = asyncio.Event()

    async def run(self) -> None:
        """Listens and shows, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._show())

    @property
    def waiting(self) -> tuple[Changed, ...]:
        """What is still to be shown, the longest waiting first."""
        return tuple(self._waiting.values())

    def hear(self, changed: Changed | None) -> None:
        """Takes what was heard, to be shown; a newer alert takes an older one's place, and None is nothing."""
        if changed is not None and (changed.resource in self._waiting or len(self._waiting) < RESOURCES_MAX):
            self._waiting[changed.resource] = changed
            self._is_something_waiting.set()

    async def _listen(self) -> None:
        while True:
            try:
                bus = await Bus.connect(system_address(self._environment))
                try:
                    await bus.call_bus("AddMatch", "s", (dbus_signal.MATCH,))
                    while True:
                        self.hear(dbus_signal.parse(await bus.receive()))
                finally:
                    bus.close()
            except BusError:
                await asyncio.sleep(self._retry_s)

    async def _show(self) -> None:
        desktop = Desktop(self._environment)
        try:
            while True:
                await self._is_something_waiting.wait()
                try:
                    await self._show_waiting(desktop)
                except BusError:
                    await asyncio.sleep(self._retry_s)
        finally:
            desktop.close()

    async def _show_waiting(self, desktop: Desktop) -> None:
        while self._waiting:
            resource, changed = next(iter(self._waiting.items()))
            await desktop.show(resource, plan(changed, own_programs(self._root, changed, self._uid)))
            if self._waiting.get(resource) is changed:  # a newer one may have come meanwhile
                del self._waiting[resource]
        self._is_something_waiting.clear()


def _line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


async def serve(notifier: Notifier) -> None:
    """Runs a notifier until SIGTERM or SIGINT."""
    task = asyncio.ensure_future(notifier.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return


async def show_test(environment: Mapping[str, str]) -> None:
    """Shows one notification, to see whether they arrive.

    Raises:
        BusError: it cannot be shown, and why.
    """
    desktop = Desktop(environment)
    try:
        await desktop.show("test", TEST)
    finally:
        desktop.close()
