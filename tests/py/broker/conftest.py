"""A machine made by hand, and a real server on a loop of its own that serves it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from greenboost_py.base.config import LeaseConfig
from greenboost_py.base.errors import SensorError
from greenboost_py.broker.listener import open_socket
from greenboost_py.broker.paths import SocketPlace
from greenboost_py.broker.readings import Sources
from greenboost_py.broker.server import LeaseServer
from greenboost_py.pressure.levels import Level
from greenboost_py.sensors.cgroup import CgroupLevel
from greenboost_py.sensors.cgroup_place import CgroupPlace

T = TypeVar("T")

PATIENCE_S = 30.0
"""How long anything may take before a test gives up; nothing is measured by it."""


@dataclass(frozen=True)
class Room:
    total_bytes: int
    effective_available_bytes: int


@dataclass
class Machine:
    """What the sources say; a test changes it as it likes."""

    total_bytes: int = 64 << 30
    available_bytes: int | None = 32 << 30
    ram_level: Level = Level.OK
    is_broken: bool = False
    places: dict[int, CgroupPlace] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    usages: dict[str, int] = field(default_factory=dict)
    looks: int = 0

    def sources(self) -> Sources:
        return Sources(self._headroom, self._locate, self._levels, lambda: self.ram_level)

    def put_in_group(self, pid: int, *groups: str) -> None:
        self.places[pid] = CgroupPlace(groups[0], 2, groups)

    def _headroom(self) -> Room | None:
        self.looks += 1
        if self.is_broken:
            raise SensorError("/proc/meminfo", "broken")
        return None if self.available_bytes is None else Room(self.total_bytes, self.available_bytes)

    def _locate(self, pid: int) -> CgroupPlace | None:
        if self.is_broken:
            raise SensorError(f"/proc/{pid}/cgroup", "broken")
        return self.places.get(pid)

    def _levels(self, place: CgroupPlace) -> tuple[CgroupLevel, ...]:
        return tuple(
            CgroupLevel(group, self.limits[group], self.usages.get(group, 0), 0)
            for group in place.groups
            if group in self.limits
        )


class Daemon(AbstractContextManager["Daemon"]):
    """A lease server on a thread of its own, at a real socket."""

    def __init__(self, path: Path, machine: Machine, config: LeaseConfig, **options: Any) -> None:
        self.path, self.machine = path, machine
        listener = open_socket(SocketPlace(path, is_for_all=True))
        options.setdefault("status", lambda uid: f'{{"uid": {uid}}}'.encode())
        # What is to be silent is silent at once; what is not must not be ended by the clock.
        options.setdefault("hello_deadline_s", PATIENCE_S)
        options.setdefault("sources", machine.sources())
        self.server = LeaseServer(listener, config, **options)
        self.errors: list[dict[str, Any]] = []
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.call(self.server.start)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs a function on the server's loop, so between two messages."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function(*arguments))
            except Exception as error:  # noqa: BLE001 - handed to the test
                future.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return future.result(PATIENCE_S)

    def wait_for(self, predicate: Callable[[], bool]) -> None:
        """Lets the loop turn until something has come about."""

        async def turn() -> None:
            while not predicate():
                await asyncio.sleep(0.001)

        try:
            asyncio.run_coroutine_threadsafe(asyncio.wait_for(turn(), PATIENCE_S), self._loop).result()
        except TimeoutError:
            pytest.fail("what was waited for did not come about")

    def held_bytes(self) -> list[int]:
        return self.call(lambda: sorted(holding.held_bytes for _, holding in self.server.books.holdings()))

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self.call(self.server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def __exit__(self, *_: object) -> None:
        self.close()
        assert self.errors == []
        assert self.server.books.is_valid()


@pytest.fixture
def machine() -> Machine:
    """64 GiB of RAM, of which 32 can be had."""
    return Machine()


@pytest.fixture
def serve(tmp_path: Path, machine: Machine) -> Iterator[Callable[..., Daemon]]:
    """A function that starts a server for the machine; keywords are those of LeaseConfig and LeaseServer."""
    daemons: list[Daemon] = []

    def start(config: LeaseConfig | None = None, path: Path | None = None, **options: Any) -> Daemon:
        place = tmp_path / "lease.sock" if path is None else path
        daemons.append(Daemon(place, machine, LeaseConfig() if config is None else config, **options))
        return daemons[-1]

    yield start
    for daemon in daemons:
        with daemon:
            pass
