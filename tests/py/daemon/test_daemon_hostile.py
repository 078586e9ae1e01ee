"""Surroundings that wish a daemon ill: it keeps its descriptors, its memory and its manners."""

import contextlib
import itertools
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from greenboost_py.broker.client import LeaseClient, ask_status
from greenboost_py.broker.protocol import Kind, Request, Verdict, request_bytes
from greenboost_py.daemon import metrics_http
from greenboost_py.daemon.report import PROGRAMS_MAX

if TYPE_CHECKING:
    from tests.py.daemon.conftest import DaemonProcess

StartDaemon = Callable[..., "DaemonProcess"]
Port = Callable[[], int]
MIB = 1 << 20

CLIENTS = """
import os, sys
from pathlib import Path
from greenboost_py.base import abi
from greenboost_py.broker.client import LeaseClient
path, count = Path(sys.argv[1]), int(sys.argv[2])
page = abi.abi().new("struct gb_page *")
page.magic, page.version = abi.constant("GB_ABI_MAGIC"), abi.constant("GB_ABI_VERSION")
page.bytes, page.pid, page.program = abi.page_bytes(), os.getpid(), b"many"
clients = [LeaseClient(path) for _ in range(count)]
for client in clients:
    fd = os.memfd_create("greenboost")
    os.write(fd, bytes(abi.abi().buffer(page)))
    client.hello(page_fd=fd)
    os.close(fd)
    client.acquire(4096)
print("leased", flush=True)
sys.stdin.read()
"""
"""Many clients in one process; each shows a page and leases a little."""


@contextlib.contextmanager
def clients(daemon: "DaemonProcess", count: int) -> "Iterator[subprocess.Popen[str]]":
    """A process with so many clients, all of which have what they asked for."""
    command = [sys.executable, "-c", CLIENTS, str(daemon.socket), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None and child.stdout.readline() == "leased\n"
            yield child
        finally:
            child.kill()


def visitors_of(daemon: "DaemonProcess", port: int) -> int:
    """Connections to the port that the daemon has a descriptor of; other descriptors come and go all the time."""
    held = set()
    for descriptor in Path(f"/proc/{daemon.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            held.add(descriptor.readlink().name)
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    is_listening = "0A"
    return sum(
        row[1].endswith(f":{port:04X}") and row[3] != is_listening and f"socket:[{row[9]}]" in held for row in rows
    )


def resident_bytes(daemon: "DaemonProcess") -> int:
    """RssAnon: what is its own."""
    for line in Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no RssAnon")


def test_a_thousand_clients_that_die_leave_nothing_behind(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    before, rounds = daemon.descriptors(), 5
    resident: list[int] = []
    for number in range(1, rounds + 1):
        with clients(daemon, 200) as child:
            leases = daemon.status()["leases"]
            assert (leases["clients"], leases["held_bytes"]) == (200, 200 * 4096)
            # Each takes time to read, and this is one user among others.
            assert [program["program"] for program in leases["programs"]] == ["many"] * PROGRAMS_MAX
            assert daemon.descriptors() >= before + 200
            child.kill()
        daemon.wait_for(lambda: daemon.status()["leases"]["clients"] == 0)
        leases = daemon.status()["leases"]
        assert (leases["held_bytes"], leases["pending_bytes"], leases["granted"]) == (0, 0, 200 * number)
        daemon.wait_for(lambda: daemon.descriptors() == before)
        resident.append(resident_bytes(daemon))
    # What the first two hundred needed is enough for the others.
    assert resident[-1] - resident[0] < 2 * MIB
    daemon.stop()
    assert daemon.lines() == []


def test_a_client_that_is_stopped_stops_nobody_else(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    with clients(daemon, 3) as child, LeaseClient(daemon.socket) as other:
        child.send_signal(signal.SIGSTOP)
        other.hello()
        for _ in range(100):
            assert other.acquire(1).verdict is Verdict.GRANTED
        # It lives, so what it was granted is its own.
        assert daemon.status()["leases"]["held_bytes"] == 3 * 4096 + 1
        daemon.hear("WATCHDOG=1")
        child.kill()
        daemon.wait_for(lambda: daemon.status()["leases"]["clients"] == 1)


def test_a_client_that_asks_and_never_reads_is_given_up(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    with LeaseClient(daemon.socket) as deaf, LeaseClient(daemon.socket) as other:
        deaf.hello(held_bytes=MIB)
        other.hello()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for sequence in itertools.count(2):
                deaf.socket.send(request_bytes(Request(Kind.ACQUIRE, sequence)), socket.MSG_NOSIGNAL)
        assert other.acquire(1).verdict is Verdict.GRANTED
        assert daemon.status()["leases"]["clients"] == 1


def test_status_in_a_loop_keeps_nobody_from_leasing(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    before = daemon.descriptors()
    is_over = threading.Event()
    answers = [0, 0]

    def ask(number: int) -> None:
        while not is_over.is_set():
            assert ask_status(daemon.socket, 30) is not None
            answers[number] += 1

    with clients(daemon, 100), LeaseClient(daemon.socket) as client:
        client.hello()
        askers = [threading.Thread(target=ask, args=(number,)) for number in range(len(answers))]
        for asker in askers:
            asker.start()
        try:
            while min(answers) < 50:
                assert client.acquire(1).verdict is Verdict.GRANTED
            daemon.hear("WATCHDOG=1")
        finally:
            is_over.set()
            for asker in askers:
                asker.join()
    daemon.wait_for(lambda: daemon.descriptors() == before)


def test_visitors_of_metrics_who_say_nothing_take_no_descriptors(start_daemon: StartDaemon, free_port: Port) -> None:
    port = free_port()
    daemon = start_daemon(f'[metrics]\nlisten = "127.0.0.1:{port}"\n')
    before = daemon.descriptors()
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        seen = []
        for _ in range(6):
            seen.append(visitors_of(daemon, port))
            daemon.hear("WATCHDOG=1")
        # And the one that is being turned away.
        assert 0 < max(seen) <= metrics_http.VISITOR_CONNECTIONS_MAX + 1
        with LeaseClient(daemon.socket) as client:
            assert client.hello().verdict is Verdict.GRANTED
        # They are not waited for without end: then there is a place again.
        daemon.wait_for(lambda: _scrape(port))
    daemon.wait_for(lambda: daemon.descriptors() == before)
    daemon.stop()
    assert daemon.lines() == []


def _scrape(port: int) -> bytes:
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            text: bytes = answer.read()
            return text
    except OSError:
        return b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can limit another process' descriptors below what it has")
def test_without_descriptors_it_goes_on_and_recovers(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    pid = daemon.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with LeaseClient(daemon.socket) as client:
        client.hello()
        daemon.hear("WATCHDOG=1")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        daemon.wait_for_line("Too many open files")
        assert client.acquire(1).verdict is Verdict.MACHINE
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        daemon.unheard()
        daemon.hear("WATCHDOG=1")
        daemon.wait_for(lambda: client.acquire(1).verdict is Verdict.GRANTED)
        with LeaseClient(daemon.socket) as another:
            assert another.hello().verdict is Verdict.GRANTED
    assert [line for line in daemon.lines() if "Too many open files" not in line] == []
