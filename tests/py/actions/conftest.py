"""Alerts made by hand, a message bus of the tests' own, and a desktop's notification server on it."""

import asyncio
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from greenboost_py.actions.alert import Alert, compose
from greenboost_py.actions.bus import Bus
from greenboost_py.pressure.levels import Assessment, Level, Reason, Sample
from greenboost_py.sensors.holders import Holder

GIB = 1 << 30

MakeHolder = Callable[..., Holder]
MakeAlert = Callable[..., Alert]

PYTHON_WITH_DBUSMOCK = "/usr/bin/python3"
"""python-dbusmock needs dbus-python and GLib's bindings, which PyPI has as sources only: Debian's python3-dbusmock."""


@pytest.fixture
def make_holder() -> MakeHolder:
    """A function that makes a holder; keywords set its fields."""

    def make(pid: int = 4711, ram_bytes: int = 0, **fields: Any) -> Holder:
        defaults = {"uid": 1000, "name": "python", "start_ticks": pid, "vram_bytes": {}, "gtt_bytes": {}}
        return Holder(pid=pid, ram_bytes=ram_bytes, **{**defaults, **fields})

    return make


@pytest.fixture
def make_alert() -> MakeAlert:
    """A function that makes an alert by `compose`."""

    def make(
        level: Level = Level.CRITICAL,
        previous: Level = Level.OK,
        resource: str = "ram",
        available_bytes: int = GIB,
        total_bytes: int = 32 * GIB,
        reason: Reason | None = Reason.THRESHOLD,
        exhausted_in_s: float | None = 8.0,
        holders: tuple[Holder, ...] = (),
        **more: Any,
    ) -> Alert:
        sample = Sample(resource, 5.0, total_bytes, available_bytes)
        reason = None if level is Level.OK else reason
        return compose(Assessment(sample, level, reason, exhausted_in_s, 1e8, 4.0), previous, holders, **more)

    return make


@dataclass
class TestBus:
    """A dbus-daemon. It may be ended and started again at the same address.

    Attributes:
        address: where it listens.
    """

    __test__ = False

    address: str
    _config: Path
    _process: "subprocess.Popen[str] | None" = None

    def start(self) -> None:
        """Returns when it listens: then it prints its address."""
        command = ["dbus-daemon", f"--config-file={self._config}", "--print-address", "--nofork"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith("unix:path=")

    def end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()
            self._process = None


MakeBus = Callable[..., TestBus]

_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>{type}</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>{own}</policy>
  {include}
</busconfig>
"""


@pytest.fixture
def make_bus(tmp_path: Path) -> Iterator[MakeBus]:
    """A function that starts a bus of its own: by name, with `own="deny"` as the system's, and with a policy file."""
    if shutil.which("dbus-daemon") is None:
        pytest.skip("no dbus-daemon (Debian: dbus-daemon)")
    buses: list[TestBus] = []

    def make(name: str, own: str = "allow", policy: str = "") -> TestBus:
        policy_file, config = tmp_path / f"{name}.policy.conf", tmp_path / f"{name}.conf"
        include = ""
        if policy:
            policy_file.write_text(policy)
            include = f"<include>{policy_file}</include>"
        socket = tmp_path / name
        config.write_text(_CONFIG.format(type="session", socket=socket, own=f'<{own} own="*"/>', include=include))
        bus = TestBus(f"unix:path={socket}", config)
        bus.start()
        buses.append(bus)
        return bus

    try:
        yield make
    finally:
        for bus in buses:
            bus.end()


@dataclass
class DesktopServer:
    """A notification server on a bus, which writes down what it is asked.

    Attributes:
        log: its log.
    """

    log: Path

    def notifications(self) -> list[str]:
        """Every call of Notify so far, as the server wrote it down."""
        return [line for line in self.log.read_text().splitlines() if " Notify " in line]

    def wait_for(self, count: int) -> list[str]:
        """Waits until there are so many notifications; the test as a whole has the time limit."""
        while len(self.notifications()) < count:
            time.sleep(0.02)
        return self.notifications()


MakeDesktop = Callable[..., DesktopServer]


async def _is_there(address: str) -> bool:
    """Whether the notification server has come up."""
    bus = await Bus.connect(address)
    try:
        (is_owned,) = await bus.call_bus("NameHasOwner", "s", ("org.freedesktop.Notifications",))
    finally:
        bus.close()
    return bool(is_owned)


@pytest.fixture
def make_desktop(tmp_path: Path) -> Iterator[MakeDesktop]:
    """A function that starts python-dbusmock's notification server on a bus."""
    check = [PYTHON_WITH_DBUSMOCK, "-c", "import dbusmock"]
    try:
        subprocess.run(check, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no dbusmock for the system's Python (Debian: python3-dbusmock)")
    processes: list[subprocess.Popen[bytes]] = []

    def make(bus: TestBus, capabilities: str = "body") -> DesktopServer:
        log = tmp_path / f"desktop{len(processes)}.log"
        log.touch()
        parameters = json.dumps({"capabilities": capabilities})
        command = [PYTHON_WITH_DBUSMOCK, "-m", "dbusmock", "--logfile", str(log), "--session"]
        command += ["--template", "notification_daemon", "--parameters", parameters]
        environment = {"DBUS_SESSION_BUS_ADDRESS": bus.address, "PATH": "/usr/bin:/bin"}
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL))
        while not asyncio.run(_is_there(bus.address)):
            assert processes[-1].poll() is None
            time.sleep(0.02)
        return DesktopServer(log)

    try:
        yield make
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            process.wait()
