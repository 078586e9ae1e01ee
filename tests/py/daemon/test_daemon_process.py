"""The daemon as a whole, in a process of its own, from its start to its end."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from greenboost_py.broker.client import LeaseClient
from greenboost_py.broker.protocol import Verdict
from greenboost_py.pressure.levels import Level

if TYPE_CHECKING:
    from tests.py.daemon.conftest import DaemonProcess

StartDaemon = Callable[..., "DaemonProcess"]
MIB = 1 << 20

ALWAYS_CRITICAL = '[ram]\nnotice = "100%"\nwarn = "100%"\ncritical = "100%"\n'
"""Makes any machine CRITICAL: no more than all of its RAM is ever available."""

OFTEN = 6
"""Of what comes at every look, so much as to be sure that it goes on."""


def run_command(daemon: "DaemonProcess", *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`greenboost daemon` with that daemon's configuration, to its end."""
    command = [sys.executable, "-c", "from greenboost_py.cli.main import main; main()", "daemon", *arguments]
    if "--config" not in arguments:
        command += ["--config", str(daemon.configuration / "config.toml")]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(daemon.folder), "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_daemon_says_ready_feeds_the_watchdog_and_ends_without_a_trace(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    for _ in range(OFTEN):
        status = daemon.hear("WATCHDOG=1")["STATUS"]
        assert re.fullmatch(r"RAM OK, [0-9.]+ [KMGT]iB available", status)
    with LeaseClient(daemon.socket) as client:
        client.hello(held_bytes=3 * MIB)
        daemon.wait_for(lambda: daemon.hear("WATCHDOG=1")["STATUS"].endswith("; 1 program leases 3.00 MiB"))
    daemon.stop()
    assert daemon.lines() == []
    assert sorted(path.name for path in daemon.folder.iterdir()) == ["greenboost", "log", "notify"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_daemon_ends_by_a_signal_while_programs_lease(start_daemon: StartDaemon, number: signal.Signals) -> None:
    daemon = start_daemon()
    with LeaseClient(daemon.socket) as client:
        client.hello(held_bytes=MIB)
        daemon.process.send_signal(number)
        assert daemon.process.wait(30) == 0
        assert client.socket.recv(100) == b""
    assert not daemon.socket.exists()
    assert daemon.lines() == []


def test_daemon_that_cannot_see_ram_feeds_no_watchdog_and_grants_nothing(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(machine="strix-halo")
    daemon.hear("WATCHDOG=1")
    meminfo = daemon.folder / "machine/proc/meminfo"
    text = meminfo.read_text()
    meminfo.unlink()
    daemon.wait_for(lambda: daemon.status()["ram"] is None)
    daemon.unheard()
    # A complaint about another file shows that it goes on looking.
    daemon.put("proc/swaps", "nonsense\n")
    daemon.wait_for_line("/proc/swaps")
    assert daemon.unheard() == []
    with LeaseClient(daemon.socket) as client:
        assert client.hello().budget_bytes == 0
        assert client.acquire(1).verdict is Verdict.MACHINE
        daemon.put("proc/meminfo", text)
        daemon.hear("WATCHDOG=1")
        assert client.acquire(1).verdict is Verdict.GRANTED


def test_daemon_with_malformed_meminfo_starts_says_so_once_and_recovers(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(machine="amd-discrete")
    meminfo = daemon.folder / "machine/proc/meminfo"
    text = meminfo.read_text()
    daemon.stop()
    daemon.put("proc/meminfo", "MemTotal: lots kB\n")
    daemon = start_daemon(machine="amd-discrete")
    daemon.put("proc/meminfo", "MemTotal: more kB\n")
    daemon.wait_for(lambda: "more" in str(daemon.status()["errors"]))
    daemon.put("proc/meminfo", text)
    daemon.hear("WATCHDOG=1")
    assert daemon.status()["ram"]["total_bytes"] > 0
    (line,) = daemon.lines()
    assert line.startswith("/proc/meminfo: ") and "lots" in line
    # To read the configuration anew must not need RAM either.
    daemon.put("proc/meminfo", "MemTotal: lots kB\n")
    daemon.wait_for(lambda: daemon.status()["ram"] is None)
    daemon.reload()
    daemon.put("proc/meminfo", text)
    daemon.hear("WATCHDOG=1")


def test_reload_of_a_better_configuration_takes_effect_and_keeps_leases(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    with LeaseClient(daemon.socket) as client:
        client.hello(held_bytes=MIB)
        assert client.acquire(MIB, held_bytes=MIB).level is Level.OK
        daemon.configure(ALWAYS_CRITICAL)
        daemon.reload()
        daemon.wait_for(lambda: daemon.status()["resources"][0]["level"] == "critical")
        reply = client.acquire(MIB, held_bytes=2 * MIB)
        assert (reply.verdict, reply.level) == (Verdict.PRESSURE, Level.CRITICAL)
        assert daemon.status()["leases"]["held_bytes"] == 2 * MIB
        daemon.configure("[lease]\nper_process = 1\n")
        daemon.reload()
        daemon.hear("WATCHDOG=1")
        # The way back takes its time; the cap does not.
        assert client.acquire(MIB, held_bytes=2 * MIB).verdict in (Verdict.PRESSURE, Verdict.PROCESS_CAP)
    assert daemon.lines().count("the configuration was read anew") == 2


def test_reload_of_what_counts_from_the_next_start_says_so(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    daemon.configure("[poll]\npsi = true\nnvml_deadline_s = 1\n")
    daemon.reload()
    assert daemon.lines() == [
        "the configuration was read anew",
        "[poll] psi, nvml_deadline_s: counts from the daemon's next start",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[ram]\n\ncritical = "much"\n', r"/greenboost/config\.d/10-test\.toml:3: ram\.critical: "),
        ("[ram\n", r"/greenboost/config\.d/10-test\.toml:1: not TOML"),
        ("[lease]\nreserve_gb = 1\n", r"/greenboost/config\.d/10-test\.toml:2: \[lease\] has no key 'reserve_gb'"),
    ],
)
def test_reload_of_a_broken_configuration_changes_nothing(start_daemon: StartDaemon, text: str, said: str) -> None:
    daemon = start_daemon("[lease]\nper_process = 7\n")
    daemon.configure(text)
    daemon.reload()
    (line,) = daemon.lines()
    assert line.startswith("the configuration stays as it was: ")
    assert re.search(said, line)
    with LeaseClient(daemon.socket) as client:
        assert client.hello().budget_bytes == 7
    # Once mended, it is taken.
    daemon.configure("[lease]\nper_process = 9\n")
    daemon.reload()
    with LeaseClient(daemon.socket) as client:
        assert client.hello().budget_bytes == 9


def test_start_beside_another_daemon_is_one_line_and_leaves_that_one_alone(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    with LeaseClient(daemon.socket) as client:
        client.hello()
        second = run_command(daemon, "--socket", str(daemon.socket))
        assert (second.returncode, second.stdout) == (1, "")
        assert second.stderr.splitlines()[-1] == (
            f"greenboost: another daemon is running: it listens at {daemon.socket}"
        )
        assert client.acquire(1).verdict is Verdict.GRANTED
    assert daemon.status()["pid"] == daemon.process.pid


def test_start_after_a_kill_replaces_the_socket_and_learns_what_is_held(start_daemon: StartDaemon) -> None:
    first = start_daemon("[lease]\nper_process = 10\n")
    with LeaseClient(first.socket) as client:
        client.hello()
        assert client.acquire(6).verdict is Verdict.GRANTED
        first.kill()
    assert first.socket.exists()
    second = start_daemon()
    with LeaseClient(second.socket) as client:
        assert client.hello(held_bytes=6).leased_bytes == 6
        assert client.acquire(5, held_bytes=6).verdict is Verdict.PROCESS_CAP
        assert client.acquire(4, held_bytes=6).verdict is Verdict.GRANTED
        (program,) = second.status()["leases"]["programs"]
        assert (program["pid"], program["uid"], program["held_bytes"]) == (os.getpid(), os.geteuid(), 10)
    second.wait_for(lambda: second.status()["leases"]["clients"] == 0)
    assert second.lines() == []


def test_start_where_something_else_is_at_the_sockets_place_is_one_line(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    daemon.stop()
    daemon.socket.write_text("mine")
    done = run_command(daemon, "--socket", str(daemon.socket))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"greenboost: {daemon.socket}: this is not a socket; move it away"
    assert daemon.socket.read_text() == "mine"


@pytest.mark.parametrize("check", [["--check"], []])
def test_start_with_mistakes_in_the_configuration_is_a_line_for_each(
    start_daemon: StartDaemon, check: list[str]
) -> None:
    daemon = start_daemon()
    daemon.configure('[ram]\nwarn = "50%"\nnotise = "1%"\n[poll]\nfastest_s = 0\n')
    done = run_command(daemon, *check, "--socket", str(daemon.folder / "other.sock"))
    where = daemon.configuration / "config.d/10-test.toml"
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [["greenboost", f"{where}:3"], ["greenboost", f"{where}:5"]]
    assert "notise" in lines[0] and "poll.fastest_s" in lines[1]
    assert not (daemon.folder / "other.sock").exists()


def test_check_of_a_good_configuration_says_so_and_starts_nothing(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    done = run_command(daemon, "--check", "--socket", str(daemon.folder / "other.sock"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{daemon.configuration}/config.toml: no mistakes\n"
    assert not (daemon.folder / "other.sock").exists()


def test_a_configuration_that_was_named_has_to_be_there(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    done = run_command(daemon, "--check", "--config", str(daemon.folder / "absent.toml"))
    assert done.returncode == 1
    assert done.stderr == f"greenboost: {daemon.folder}/absent.toml: there is no such file\n"


def test_metrics_at_a_port_that_is_taken_are_one_line_and_no_daemon(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        daemon.configure(f'[metrics]\nlisten = "{address}"\n')
        other = daemon.folder / "other.sock"
        done = run_command(daemon, "--socket", str(other))
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = [line for line in done.stderr.splitlines() if "memory is not locked" not in line]
        assert line.startswith(f"greenboost: [metrics] listen = '{address}': ")
        assert "Address already in use" in line
        assert not other.exists()
        # A daemon that runs stays with what it has.
        daemon.reload()
        assert daemon.lines()[0].startswith(f"the configuration stays as it was: [metrics] listen = '{address}'")
    daemon.status()


def test_daemon_with_all_that_the_machine_offers_starts_and_ends(start_daemon: StartDaemon) -> None:
    daemon = start_daemon("[poll]\npsi = true\nnvml = true\n")
    for _ in range(OFTEN):
        daemon.hear("WATCHDOG=1")
    daemon.stop()
    # Not every kernel calls, nor may every user ask it to.
    said = [line for line in daemon.lines() if not line.startswith("no calls from the kernel when tasks stall")]
    assert said == []
