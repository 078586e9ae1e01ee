"""A daemon in a process of its own, as the command starts it, and looks made by hand."""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from greenboost_py.actions import journal
from greenboost_py.actions.journal import Journal
from greenboost_py.base.errors import GreenboostError
from greenboost_py.broker.client import ask_status
from greenboost_py.daemon.view import View
from greenboost_py.pressure.levels import Assessment, Level, Reason, Sample
from greenboost_py.sensors.ram import RamReading
from greenboost_py.sensors.snapshot import Snapshot

GIB = 1 << 30

PATIENCE_S = 30.0
"""How long anything may take before a test gives up; nothing is measured by it."""

COMMAND = "from greenboost_py.cli.main import main; main()"

ON_A_TREE = """
import os, sys
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.broker.paths import server_place
from greenboost_py.daemon import loop
from greenboost_py.daemon.daemon import Setting
environment = dict(os.environ)
place = server_place(environment, os.geteuid())
loop.run(Setting(SysRoot(sys.argv[1]), place, "greenboost/config.toml", True, environment))
"""
"""The same daemon on another machine: a tree."""

QUIET = """
[ram]
notice = "1MiB"
warn = "1MiB"
critical = "1MiB"
[vram]
notice = 1
warn = 1
critical = 1
[gtt]
notice = 1
warn = 1
critical = 1
[forecast]
notice_s = 0
warn_s = 0
[lease]
reserve = "1MiB"
[poll]
fastest_s = 0.05
slowest_s = 0.1
nvml = false
psi = false
[notify]
desktop = false
wall = "off"
[metrics]
listen = ""
"""
"""Nothing is ever short, nobody is told, and every look is soon."""

ALWAYS_CRITICAL = """
[ram]
notice = "100%"
warn = "100%"
critical = "100%"
"""

CONFIGURED = "config.d/10-test.toml"

OF_THE_MACHINE = ("memory is not locked:",)
"""What a daemon may say because of who started it, and where."""


@dataclass
class DaemonProcess:
    """A running daemon and what it says.

    Attributes:
        folder: its socket, its configuration and its log; other users may look into it.
        configuration: the folder of its configuration.
        process: it.
        notify: where it tells the service manager; a test reads from it.
    """

    folder: Path
    configuration: Path
    process: "subprocess.Popen[bytes]"
    notify: socket.socket

    @property
    def socket(self) -> Path:
        return self.folder / "lease.sock"

    def lines(self) -> list[str]:
        """What it wrote so far, without what depends on who started it."""
        lines = (self.folder / "log").read_text().splitlines()
        texts = [line.removeprefix("greenboost: ") for line in lines]
        return [text for text in texts if not text.startswith(OF_THE_MACHINE)]

    def configure(self, text: str) -> None:
        """Sets keys, over those of QUIET; the daemon does not know yet."""
        (self.configuration / CONFIGURED).write_text(text)

    def put(self, path: str, text: str) -> None:
        """Writes a file of the tree that stands in for the machine, in one step: it is looked at all the time."""
        target = self.folder / "machine" / path
        target.with_name("new").write_text(text)
        target.with_name("new").replace(target)

    def reload(self) -> None:
        """Has it read its configuration, and waits until it has."""
        self.signal(signal.SIGHUP)
        self.hear("RELOADING=1")
        self.hear("READY=1")

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal; what is heard from then on is not lost, though the kernel keeps ten messages only."""
        self.unheard()
        self.process.send_signal(number)

    def hear(self, what: str) -> dict[str, str]:
        """Waits for a message to the service manager that says `what`."""
        while True:
            readable, _, _ = select.select([self.notify], [], [], PATIENCE_S)
            assert readable, f"nothing is heard: {self.lines()}"
            message = self.notify.recv(4096).decode().splitlines()
            if what in message:
                return dict(line.split("=", 1) for line in message)

    def unheard(self) -> list[str]:
        """The messages that are there and nobody has read yet, each by its first line."""
        first_lines = []
        with contextlib.suppress(BlockingIOError):
            while True:
                first_lines.append(self.notify.recv(4096).decode().splitlines()[0])
        return first_lines

    def status(self) -> dict[str, Any]:
        text = ask_status(self.socket, PATIENCE_S)
        assert text is not None, "nobody listens"
        answer: dict[str, Any] = json.loads(text)
        return answer

    def wait_for(self, predicate: Callable[[], object]) -> None:
        """Waits until something has come about."""
        end_s = time.monotonic() + PATIENCE_S
        while not predicate():
            assert self.process.poll() is None, f"the daemon has ended: {self.lines()}"
            assert time.monotonic() < end_s, f"what was waited for did not come about: {self.lines()}"
            time.sleep(0.01)

    def wait_for_line(self, part: str) -> str:
        """Waits until it has written a line with this in it."""
        self.wait_for(lambda: any(part in line for line in self.lines()))
        return next(line for line in self.lines() if part in line)

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def kill(self) -> None:
        """Ends it as the OOM killer would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ends it as the service manager does; nothing is left of it, and nothing went wrong unseen."""
        self.signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_S) == 0
        assert not self.socket.exists()
        assert "STOPPING=1" in self.unheard()
        self.assert_well()

    def assert_well(self) -> None:
        """No traceback, no warning of a library's: all that it writes are its own lines."""
        log = (self.folder / "log").read_text()
        assert [line for line in log.splitlines() if not line.startswith("greenboost: ")] == []


StartDaemon = Callable[..., DaemonProcess]


def _listen(path: Path) -> socket.socket:
    """Where the service manager listens."""
    path.unlink(missing_ok=True)
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    notify.bind(str(path))
    return notify


def _start(command: list[str], folder: Path, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", *command],
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": str(folder),
                "LC_ALL": "C.UTF-8",
                "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={folder}/no-bus",
                "NOTIFY_SOCKET": str(folder / "notify"),
                "GREENBOOST_SOCKET": str(folder / "lease.sock"),
                **environment,
            },
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _wait_until_ready(daemon: DaemonProcess) -> None:
    daemon.wait_for(lambda: "READY=1" in daemon.unheard())


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, with a path short enough for a socket: pytest's own is neither."""
    with tempfile.TemporaryDirectory(prefix="gb-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def start_daemon(open_folder: Path, repository: Path) -> Iterator[StartDaemon]:
    """A function that starts a daemon, by default on this machine with QUIET, and waits until it is ready.

    Its arguments: more of the configuration, a folder of tests/sysroots whose copy stands in for the machine, whether
    to wait, and more of its environment. Those that still run afterwards are ended, which has to go well.
    """
    if Path(journal.SOCKET).exists():
        pytest.skip("a journal runs here, and takes the lines that these tests read")
    started: list[DaemonProcess] = []

    def start(config: str = "", machine: str = "", wait: bool = True, **environment: str) -> DaemonProcess:
        root = open_folder / "machine" if machine else open_folder
        if machine and not root.exists():
            shutil.copytree(repository / "tests/sysroots" / machine, root, symlinks=True)
        configuration = root / "greenboost"
        (configuration / "config.d").mkdir(parents=True, exist_ok=True)
        (configuration / "config.toml").write_text(QUIET)
        notify = _listen(open_folder / "notify")
        if config:
            (configuration / CONFIGURED).write_text(config)
        options = ["--socket", str(open_folder / "lease.sock"), "--config", str(configuration / "config.toml")]
        command = [ON_A_TREE, str(root)] if machine else [COMMAND, "daemon", *options]
        daemon = DaemonProcess(open_folder, configuration, _start(command, open_folder, environment), notify)
        started.append(daemon)
        if wait:
            _wait_until_ready(daemon)
        return daemon

    try:
        yield start
        for daemon in started:
            if daemon.process.poll() is None:
                daemon.stop()
    finally:
        for daemon in started:
            daemon.notify.close()
            if daemon.process.poll() is None:
                daemon.kill()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that finds a port of TCP at which nothing listens."""

    def find() -> int:
        with socket.socket() as any_port:
            any_port.bind(("127.0.0.1", 0))
            return int(any_port.getsockname()[1])

    return find


class Recorder(Journal):
    """A journal that keeps its entries."""

    def __init__(self) -> None:
        super().__init__("/nowhere")
        self.entries: list[dict[str, str]] = []

    def send(self, fields: Mapping[str, str]) -> None:
        self.entries.append(dict(fields))

    def messages(self) -> list[str]:
        return [entry["MESSAGE"] for entry in self.entries]


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """Where everything is written down that goes to the journal."""
    journal_ = Recorder()
    yield journal_
    journal_.close()


MakeView = Callable[..., View]


@pytest.fixture
def make_view() -> MakeView:
    """A function that makes a look, from the levels of resources by their names; each has 32 GiB, 1 GiB of it left."""

    def make(
        levels: Mapping[str, Level], at_s: float = 0.0, errors: tuple[GreenboostError, ...] = (), **fields: Any
    ) -> View:
        ram = RamReading(32 * GIB, GIB, GIB, 0, None, None, 0, 2 * GIB, GIB) if "ram" in levels else None
        fields = {"psi": None, "swap": None, "cgroup": None, "ttm": (), "amdgpus": (), "nvidia_gpus": (), **fields}
        gpu_host_bytes = fields.pop("gpu_host_bytes", 0)
        assessments = [
            Assessment(
                Sample(resource, at_s, 32 * GIB, GIB), level, Reason.THRESHOLD if level else None, None, 0.0, at_s
            )
            for resource, level in levels.items()
        ]
        snapshot = Snapshot(at_s=at_s, ram=ram, errors=errors, **fields)
        return View(snapshot, tuple(assessments), gpu_host_bytes, looks=1, changes=0)

    return make
