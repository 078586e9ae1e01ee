"""What the daemon does when memory is short: thresholds that any machine is below make any machine short of it."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from greenboost_py.actions import wall
from greenboost_py.broker.client import LeaseClient
from greenboost_py.broker.protocol import Verdict
from greenboost_py.pressure.levels import Level

if TYPE_CHECKING:
    from tests.py.daemon.conftest import DaemonProcess

StartDaemon = Callable[..., "DaemonProcess"]
GIB = 1 << 30

ALWAYS_CRITICAL = '[ram]\nnotice = "100%"\nwarn = "100%"\ncritical = "100%"\n'


def hook(folder: Path, name: str = "hook") -> Path:
    """A command that writes down its environment, a file for each run."""
    path = folder / name
    path.write_text(f'#!/bin/sh\nenv | grep -a ^GREENBOOST_ > "$(mktemp {folder}/{name}.XXXXXX)"\n')
    path.chmod(stat.S_IRWXU)
    return path


def runs(folder: Path, name: str = "hook") -> list[dict[str, str]]:
    """The environments that were written down, those that are whole."""
    texts = [path.read_text() for path in folder.glob(f"{name}.*")]
    return [dict(line.split("=", 1) for line in text.splitlines()) for text in texts if "GREENBOOST_TOTAL" in text]


def test_critical_ram_refuses_leases_runs_the_hook_and_is_in_the_journal(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    command = hook(daemon.folder)
    with LeaseClient(daemon.socket) as client:
        assert client.hello(held_bytes=5).level is Level.OK
        daemon.configure(f"{ALWAYS_CRITICAL}[hooks]\non_critical = {json.dumps([str(command)])}\n")
        daemon.reload()
        daemon.wait_for(lambda: client.acquire(0, held_bytes=5).level is Level.CRITICAL)
        refused = client.acquire(1, held_bytes=5)
        assert (refused.verdict, refused.budget_bytes) == (Verdict.PRESSURE, 0)
        daemon.wait_for(lambda: runs(daemon.folder))
        (environment,) = runs(daemon.folder)
        assert environment["GREENBOOST_LEVEL"] == "critical"
        assert environment["GREENBOOST_PREVIOUS_LEVEL"] == "ok"
        assert environment["GREENBOOST_RESOURCE"] == "ram"
        assert int(environment["GREENBOOST_AVAILABLE_BYTES"]) <= int(environment["GREENBOOST_TOTAL_BYTES"])
        daemon.wait_for_line("RAM is nearly exhausted: ")
        leases = daemon.status()["leases"]
        assert leases["refused"]["pressure"] == 1
        assert (leases["clients"], leases["held_bytes"]) == (1, 5)
    # It is said once, however often it is seen.
    for _ in range(6):
        daemon.hear("WATCHDOG=1")
    assert len([line for line in daemon.lines() if line.startswith("RAM is ")]) == len(runs(daemon.folder)) == 1


def test_a_machine_that_is_critical_from_the_start_refuses_at_once(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(ALWAYS_CRITICAL)
    with LeaseClient(daemon.socket) as client:
        assert client.hello().level is Level.CRITICAL
        assert client.acquire(1).verdict is Verdict.PRESSURE


def test_a_hook_that_fails_is_a_line_and_one_that_hangs_is_ended_with_the_daemon(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(f'{ALWAYS_CRITICAL}[hooks]\non_critical = ["false"]\n')
    assert daemon.wait_for_line("hook:") == "hook: false: ended with status 1"
    daemon.stop()
    pid_file = daemon.folder / "pid"
    sleeper = daemon.folder / "sleeper"
    sleeper.write_text(f"#!/bin/sh\necho $$ > {pid_file}.new && mv {pid_file}.new {pid_file}\nexec sleep 1000\n")
    sleeper.chmod(stat.S_IRWXU)
    daemon = start_daemon(f"{ALWAYS_CRITICAL}[hooks]\non_critical = {json.dumps([str(sleeper)])}\ntimeout_s = 1000\n")
    daemon.wait_for(pid_file.exists)
    daemon.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_without_a_bus_and_without_terminals_the_journal_is_still_told(start_daemon: StartDaemon) -> None:
    wants = f'{ALWAYS_CRITICAL}[notify]\ndesktop = true\nwall = "critical"\n'
    daemon = start_daemon(wants, PATH="/nonexistent")
    daemon.wait_for_line("RAM is nearly exhausted: ")
    assert daemon.wait_for_line("wall: ") == "wall: not installed (util-linux, bsdutils)"
    assert f"{daemon.folder}/no-bus" in daemon.wait_for_line("no bus at ")


def test_wall_is_given_the_text_for_everybody(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    # A stand-in: the real one would write to the terminals of whoever runs these tests.
    program = daemon.folder / "bin" / "wall"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\nPATH=/usr/bin:/bin\ncat > {daemon.folder}/said.new\nmv {daemon.folder}/said.new {daemon.folder}/said\n"
    )
    program.chmod(stat.S_IRWXU)
    daemon.stop()
    daemon = start_daemon(f'{ALWAYS_CRITICAL}[notify]\nwall = "critical"\n', PATH=str(program.parent))
    said = daemon.folder / "said"
    daemon.wait_for(said.exists)
    text = said.read_text()
    assert text.startswith("RAM is nearly exhausted: ")
    assert "pid" not in text and len(text.encode()) <= wall.TEXT_BYTES_MAX + 1


def test_pressure_that_is_over_is_told_and_leases_are_granted_again(start_daemon: StartDaemon) -> None:
    """On a tree: what is available there is what we write."""
    daemon = start_daemon('[ram]\nnotice = "8GiB"\nwarn = "4GiB"\ncritical = "2GiB"\n', machine="nvidia-desktop")
    plenty = (daemon.folder / "machine/proc/meminfo").read_text()
    short = "".join(
        f"MemAvailable:    {GIB >> 10} kB\n" if line.startswith("MemAvailable:") else f"{line}\n"
        for line in plenty.splitlines()
    )
    with LeaseClient(daemon.socket) as client:
        assert client.hello().level is Level.OK
        daemon.put("proc/meminfo", short)
        daemon.wait_for(lambda: client.acquire(0).level is Level.CRITICAL)
        assert client.acquire(1).verdict is Verdict.PRESSURE
        line = daemon.wait_for_line("RAM is nearly exhausted")
        # Of the 1 GiB, 224 MiB are for devices (CmaFree).
        assert ": 800 MiB of 31.3 GiB left. Held: 6.19 GiB by python (pid 5120); " in line
        daemon.put("proc/meminfo", plenty)
        # Five seconds of calm, and no less: pressure/model.py.
        daemon.wait_for(lambda: client.acquire(0).level is Level.OK)
        assert client.acquire(1).verdict is Verdict.GRANTED
