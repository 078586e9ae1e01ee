"""When the loop looks again; the daemon itself is stood in for."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from greenboost_py.base.config import Config, PollConfig
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.broker.paths import SocketPlace
from greenboost_py.daemon import loop
from greenboost_py.daemon.daemon import Setting
from greenboost_py.daemon.view import View
from greenboost_py.pressure.levels import Level

if TYPE_CHECKING:
    from pathlib import Path

    from tests.py.daemon.conftest import Recorder

MakeView = Callable[..., View]
LOOKS = 4
NEVER_S = 1e6


class StandIn:
    """A daemon that sees nothing to hurry for, and ends the loop after some looks."""

    def __init__(self, view: View, end: Callable[[], None]) -> None:
        self._view, self._end = view, end
        self.looks = 0
        self.is_stopped = False

    def start(self) -> None:
        pass

    def look(self) -> View:
        self.looks += 1
        if self.looks == LOOKS:
            self._end()
        return self._view

    def next_look_s(self, is_stalling: bool) -> float:
        return NEVER_S

    def state_line(self) -> str:
        return "fine"

    async def stop(self) -> None:
        self.is_stopped = True


def test_loop_looks_often_enough_for_the_watchdog(
    monkeypatch: pytest.MonkeyPatch, recorder: "Recorder", make_view: MakeView, tmp_path: "Path"
) -> None:
    setting = Setting(SysRoot(tmp_path), SocketPlace(tmp_path / "s", False), "none", False, {"WATCHDOG_USEC": "2000"})
    running = loop._Loop(setting, Config(poll=PollConfig(psi=False)), recorder)
    stand_in = StandIn(make_view({"ram": Level.OK}), running._stop)

    def make(*_: Any) -> StandIn:
        return stand_in

    monkeypatch.setattr(loop, "Daemon", make)
    asyncio.run(asyncio.wait_for(running.run(), 30))
    assert (stand_in.looks, stand_in.is_stopped) == (LOOKS, True)
