"""The real things that the proofs stand on: a memory cgroup of the kernel's, a daemon, and a program that fills memory."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenboost_py.broker.client import ask_status

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
GREENBOOST = Path(sys.executable).parent / "greenboost"


class NoGroupError(Exception):
    """This machine lets us make no memory cgroup."""


@dataclass(frozen=True)
class Group:
    """A memory cgroup of our own."""

    folder: Path

    @property
    def _limit_file(self) -> Path:
        v1 = self.folder / "memory.limit_in_bytes"
        return v1 if v1.exists() else self.folder / "memory.max"

    def limit(self, limit_bytes: int) -> None:
        """Sets its limit; the kernel refuses (OSError) what is less than it cannot do without."""
        self._limit_file.write_text(str(limit_bytes))

    def left_bytes(self) -> int:
        """What is left below its limit; the kernel may reclaim more."""
        v1 = self.folder / "memory.usage_in_bytes"
        used = v1 if v1.exists() else self.folder / "memory.current"
        return int(self._limit_file.read_text()) - int(used.read_text())

    def enter(self) -> None:
        """Puts the calling process into it; for a child before it starts."""
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def kills(self) -> int:
        """How many processes the kernel has killed for want of memory in it."""
        for name in ("memory.oom_control", "memory.events"):
            if (self.folder / name).exists():
                fields = dict(line.split() for line in (self.folder / name).read_text().splitlines())
                return int(fields["oom_kill"])
        raise FileNotFoundError(f"{self.folder} does not count kills")


@contextmanager
def memory_group(limit_bytes: int, name: str) -> Iterator[Group]:
    """A memory cgroup with a limit and no swap; it is gone afterwards, and with it whoever is still inside.

    Raises:
        NoGroupError: nothing was made.
    """
    is_v1 = (V1 / "memory.limit_in_bytes").exists()
    folder = (V1 if is_v1 else V2) / f"greenboost-{name}-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        raise NoGroupError(f"no memory cgroup can be made here: {error}") from error
    try:
        Group(folder).limit(limit_bytes)
        no_swap = folder / ("memory.swappiness" if is_v1 else "memory.swap.max")
        if no_swap.exists():
            no_swap.write_text("0")
    except OSError as error:
        folder.rmdir()
        raise NoGroupError(f"no memory cgroup can be limited here: {error}") from error
    try:
        yield Group(folder)
    finally:
        for pid in (folder / "cgroup.procs").read_text().split():
            os.kill(int(pid), 9)
        for _ in range(500):
            try:
                folder.rmdir()
                break
            except OSError:
                time.sleep(0.01)


@dataclass
class Daemon:
    """A daemon of our own: its socket, and what it says."""

    folder: Path
    process: subprocess.Popen[bytes]
    notified: socket.socket  # where it tells its service manager how it is

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / "lease.sock"

    def said(self) -> list[str]:
        """Its lines so far."""
        return (self.folder / "daemon.log").read_text().splitlines()

    def status(self) -> dict[str, Any]:
        """What it answers to `greenboost status`."""
        text = ask_status(self.socket)
        assert text is not None, "nobody listens"
        answer: dict[str, Any] = json.loads(text)
        return answer

    def wait_until_ready(self) -> None:
        """Waits until it has started.

        Raises:
            RuntimeError: it does not; it is ended.
        """
        self._wait_for(b"READY=1")

    def reload(self) -> None:
        """Has it read its configuration anew, and waits until it has."""
        self.notified.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self.notified.recv(4096)
        self.process.send_signal(signal.SIGHUP)
        self._wait_for(b"RELOADING=1")
        self._wait_for(b"READY=1")

    def _wait_for(self, word: bytes) -> None:
        self.notified.settimeout(0.2)
        for _ in range(300):
            try:
                if self.notified.recv(4096).startswith(word):
                    return
            except TimeoutError:
                if self.process.poll() is not None:
                    break
        self.kill()
        raise RuntimeError(f"the daemon does not say {word.decode()}: {self.said()}")

    def wait_until_watching(self, group: Group) -> None:
        """Waits until it has seen that somebody else is in its group."""
        for _ in range(400):
            if any(each["resource"] == f"cgroup:{group.folder}" for each in self.status()["resources"]):
                return
            time.sleep(0.02)
        raise RuntimeError(f"the daemon does not watch {group.folder}: {self.status()}")

    def kill(self) -> None:
        """Ends it as the OOM killer would."""
        self.process.kill()
        self.process.wait()
        self.notified.close()

    def end(self) -> None:
        """Ends it as its service manager would, if it has not ended yet."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.notified.close()


def configure(folder: Path, configuration: str = "", metrics: str = "") -> Path:
    """Writes a daemon's configuration: nobody is told but its log.

    Args:
        folder: the daemon's.
        configuration: TOML of other sections.
        metrics: where it listens for scrapes; "": nowhere.
    """
    path = folder / "config.toml"
    path.write_text(f'{configuration}\n[metrics]\nlisten = "{metrics}"\n[notify]\ndesktop = false\nwall = "off"\n')
    return path


def start_daemon(
    folder: Path,
    group: Group | None = None,
    command: Sequence[str | Path] = (GREENBOOST,),
    environment: Mapping[str, str] | None = None,
) -> Daemon:
    """Starts a daemon in a folder that has its configuration; it is not ready yet.

    Args:
        folder: its own; may be that of one that was killed.
        group: where it runs.
        command: what runs greenboost.
        environment: beside our own.
    """
    address = folder / "notify"
    address.unlink(missing_ok=True)
    notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notified.bind(str(address))
    with (folder / "daemon.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "daemon", "--socket", folder / "lease.sock", "--config", folder / "config.toml"],
            env={**os.environ, "NOTIFY_SOCKET": str(address), **(environment or {})},
            preexec_fn=None if group is None else group.enter,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    return Daemon(folder, process, notified)


@contextmanager
def daemon(folder: Path, configuration: str = "", group: Group | None = None) -> Iterator[Daemon]:
    """A running daemon that is ready; ended afterwards, if it has not been.

    Args:
        folder: its own; may be that of one that was killed.
        configuration: TOML, beside no metrics and nobody told but its log.
        group: where it runs.
    """
    folder.mkdir(exist_ok=True)
    configure(folder, configuration)
    running = start_daemon(folder, group)
    running.wait_until_ready()
    try:
        yield running
    finally:
        running.end()


HOG = """
import mmap, sys, time
rate, step = float(sys.argv[1]), 1 << 20
sys.stdin.readline()
begin, taken = time.monotonic(), []
while True:
    block = mmap.mmap(-1, step, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    block.write(bytes(step))
    taken.append(block)
    ahead = len(taken) * step / rate - (time.monotonic() - begin)
    if ahead > 0:
        time.sleep(ahead)
"""
"""Once told to, takes memory at a rate in bytes per second, for ever."""


def hog(bytes_per_s: float, group: Group) -> subprocess.Popen[bytes]:
    """Starts a program that fills a group until the kernel kills it, from when a line comes on its stdin."""
    return subprocess.Popen(
        [sys.executable, "-S", "-c", HOG, str(bytes_per_s)], preexec_fn=group.enter, stdin=subprocess.PIPE
    )


def until_equal(expected: Any, read: Callable[[], Any], looks: int = 600) -> None:
    """Waits for what must come about: a daemon's answer may be some ms old, and who lost it looks once a second."""
    for _ in range(looks):
        if (got := read()) == expected:
            return
        time.sleep(0.02)
    raise AssertionError(f"{got} is not {expected}")
