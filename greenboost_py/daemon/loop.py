"""The event loop of the daemon: when to look, and what signals and the service manager want.

look -> judge -> act -> feed the watchdog -> wait: for the time, a stall of the kernel's, or a signal
"""

import asyncio
import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from greenboost_py.actions.journal import Journal
from greenboost_py.base import config_file
from greenboost_py.base.config import Config
from greenboost_py.daemon.daemon import INFO_PRIORITY, WARNING_PRIORITY, Daemon, Setting
from greenboost_py.daemon.psi_trigger import PsiTrigger
from greenboost_py.daemon.sd_notify import Notifier
from greenboost_py.daemon.stay import lock_memory

STALL_LASTS_S = 2.0
"""After a stall the pace stays fastest for so long: the kernel calls at most once in that time."""


def run(setting: Setting) -> None:
    """Runs a daemon until SIGTERM or SIGINT. SIGHUP reads the configuration anew.

    Raises:
        GreenboostError: it cannot start.
    """
    config = config_file.load(setting.root, setting.config_path, setting.config_required)
    journal = Journal()
    try:
        if (problem := lock_memory()) is not None:
            journal.line(problem, INFO_PRIORITY)
        asyncio.run(_Loop(setting, config, journal).run())
    finally:
        journal.close()


class _Loop:
    def __init__(self, setting: Setting, config: Config, journal: Journal) -> None:
        self._setting, self._config, self._journal = setting, config, journal
        self._notifier = Notifier(setting.environment, os.getpid())
        self._wake = asyncio.Event()
        self._is_stopping = self._wants_reload = False
        self._stalled_at_s = float("-inf")

    async def run(self) -> None:
        daemon = Daemon(self._setting, self._config, self._journal)
        loop = asyncio.get_running_loop()
        for number, ask in ((signal.SIGTERM, self._stop), (signal.SIGINT, self._stop), (signal.SIGHUP, self._reload)):
            loop.add_signal_handler(number, ask)
        try:
            daemon.start()
            with self._psi_trigger():
                await self._watch(daemon)
        finally:
            self._notifier.stopping()
            await daemon.stop()

    async def _watch(self, daemon: Daemon) -> None:
        is_ready = False
        while not self._is_stopping:
            view = daemon.look()
            if not is_ready:
                self._notifier.ready(daemon.state_line())
                is_ready = True
            # Who cannot see the machine any more is of no use: the manager may start another.
            elif view.snapshot.ram is not None:
                self._notifier.alive(daemon.state_line())
            is_stalling = time.monotonic() - self._stalled_at_s < STALL_LASTS_S
            await self._pause(min(daemon.next_look_s(is_stalling), self._longest_pause_s()))
            if self._wants_reload:
                self._wants_reload = False
                self._notifier.reloading()
                await daemon.reload()
                self._notifier.ready(daemon.state_line())

    def _longest_pause_s(self) -> float:
        """Each look feeds the watchdog, which bites whoever looks less often than it asks for. Source: sd_notify(3)."""
        return math.inf if self._notifier.watchdog_s is None else self._notifier.watchdog_s / 2

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return
        self._wake.clear()

    def _stop(self) -> None:
        self._is_stopping = True
        self._wake.set()

    def _reload(self) -> None:
        self._wants_reload = True
        self._wake.set()

    @contextmanager
    def _psi_trigger(self) -> Iterator[None]:
        """Has the kernel wake us when tasks stall for memory, where it can; elsewhere looking has to do."""
        if not self._config.poll.psi:
            yield
            return
        try:
            trigger = PsiTrigger(self._setting.root)
        except OSError as error:
            self._journal.line(f"no calls from the kernel when tasks stall for memory: {error.strerror}", INFO_PRIORITY)
            yield
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(trigger.fileno(), self._on_stall, trigger)
        try:
            yield
        finally:
            loop.remove_reader(trigger.fileno())
            trigger.close()

    def _on_stall(self, trigger: PsiTrigger) -> None:
        try:
            has_fired = trigger.has_fired()
        except OSError as error:
            asyncio.get_running_loop().remove_reader(trigger.fileno())
            self._journal.line(str(error), WARNING_PRIORITY)
            return
        if has_fired:
            self._stalled_at_s = time.monotonic()
            self._wake.set()
