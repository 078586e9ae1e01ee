"""What a running daemon shows: its status, by user, and its figures for Prometheus."""

import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from greenboost_py import __version__
from greenboost_py.broker.client import LeaseClient

if TYPE_CHECKING:
    from tests.py.daemon.conftest import DaemonProcess

StartDaemon = Callable[..., "DaemonProcess"]
Port = Callable[[], int]
MIB = 1 << 20

STATUS = """
import os, sys
from greenboost_py.base import abi
from greenboost_py.broker import protocol
from greenboost_py.cli import main, status, status_daemon
protocol.request_size(), protocol.reply_size(), abi.tier_names()  # what is read from files is read as root
uid = int(sys.argv.pop(1))
if uid != os.geteuid():
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
main.main()
"""


def run_status(socket_path: Path, *options: str, uid: int | None = None) -> "subprocess.CompletedProcess[str]":
    """`greenboost status` of a user, which asks at this socket alone."""
    return subprocess.run(
        [sys.executable, "-c", STATUS, str(os.geteuid() if uid is None else uid), "status", *options],
        env={"PATH": os.defpath, "GREENBOOST_SOCKET": str(socket_path), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def status_of(socket_path: Path, uid: int | None = None) -> dict[str, Any]:
    done = run_status(socket_path, "--json", uid=uid)
    assert (done.returncode, done.stderr) == (0, "")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def scrape(port: int, host: str = "127.0.0.1") -> dict[str, Metric]:
    """The families by name, read as Prometheus reads them."""
    with urlopen(f"http://{host}:{port}/metrics", timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text = answer.read().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def series(families: dict[str, Metric]) -> set[tuple[str, ...]]:
    """Every series by its name and its labels' values, but for what comes and goes: trends, and limited cgroups."""
    found = {(s.name, *s.labels.values()) for family in families.values() for s in family.samples}
    return {names for names in found if "exhaustion" not in names[0] and not names[-1].startswith("cgroup:")}


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as any_port:
            any_port.bind(("::1", 0))
    except OSError:
        return False
    return True


def values(family: Metric) -> dict[str, float]:
    """The samples by their labels' values."""
    return {",".join(sample.labels.values()): sample.value for sample in family.samples}


def test_status_shows_the_machine_and_the_leases(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    with LeaseClient(daemon.socket) as client:
        client.hello()
        client.acquire(3 * MIB)
        report = status_of(daemon.socket)["daemon"]
        text = run_status(daemon.socket)
    assert (report["version"], report["pid"], report["errors"]) == (__version__, daemon.process.pid, [])
    ram = report["resources"][0]
    assert (ram["resource"], ram["level"], ram["reason"]) == ("ram", "ok", None)
    assert 0 < ram["available_bytes"] <= ram["total_bytes"] == report["ram"]["total_bytes"]
    assert report["leases"]["programs"] == [
        {
            "pid": os.getpid(),
            "uid": os.geteuid(),
            "program": None,
            "held_bytes": 3 * MIB,
            "pending_bytes": 3 * MIB,
            "peak_bytes": 3 * MIB,
            "error": None,
        }
    ]
    assert any(holder["ram_bytes"] > 0 for holder in report["holders"])
    assert (text.returncode, text.stderr) == (0, "")
    assert re.search(r"^RAM +OK +[0-9.]+ GiB +[0-9.]+ GiB$", text.stdout, re.MULTILINE)
    assert "1 program leases 3.00 MiB of host memory, 3.00 MiB of it not taken yet." in text.stdout
    # It shows no page, so only the daemon knows of it.
    assert re.search(rf"^ *{os.getpid()} +\? +- +leased +3\.00 MiB +3\.00 MiB$", text.stdout, re.MULTILINE)
    assert max(len(line) for line in text.stdout.splitlines()) <= 80


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as another user")
def test_status_for_another_user_names_nothing_of_others(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    nobody = pwd.getpwnam("nobody").pw_uid
    with LeaseClient(daemon.socket) as client:
        client.hello(held_bytes=3 * MIB)
        answer = status_of(daemon.socket, uid=nobody)
        text = run_status(daemon.socket, uid=nobody)
    report = answer["daemon"]
    assert answer["programs"] == []
    assert report["leases"]["programs"] == []
    # The sum is everybody's.
    assert (report["leases"]["clients"], report["leases"]["held_bytes"]) == (1, 3 * MIB)
    others = [holder for holder in report["holders"] if holder["uid"] != nobody]
    assert others and {(holder["pid"], holder["program"]) for holder in others} == {(None, None)}
    assert "by a program of user 0" in text.stdout
    assert "python" not in text.stdout and "pid" not in text.stdout


def test_status_of_a_daemon_that_is_stopped_is_a_line_and_a_failure(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        done = run_status(daemon.socket, "--json")
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    assert done.returncode == 1
    assert done.stderr == f"greenboost: {daemon.socket}: the daemon does not answer: timed out\n"
    assert json.loads(done.stdout)["daemon"] is None


def test_metrics_are_what_prometheus_reads_and_follow_its_rules(start_daemon: StartDaemon, free_port: Port) -> None:
    port = free_port()
    daemon = start_daemon(f'[metrics]\nlisten = "127.0.0.1:{port}"\n[lease]\nper_process = "1MiB"\n')
    with LeaseClient(daemon.socket) as client:
        client.hello(held_bytes=5)
        client.acquire(7, held_bytes=5)
        client.acquire(MIB, held_bytes=12)
        families = scrape(port)
    assert values(families["greenboost_build_info"]) == {__version__: 1}
    assert values(families["greenboost_lease_clients"]) == {"": 1}
    assert values(families["greenboost_lease_held_bytes"]) == {"": 12}
    assert values(families["greenboost_lease_grants"])[""] == 1
    assert values(families["greenboost_lease_granted_bytes"])[""] == 7
    refused = values(families["greenboost_lease_refusals"])
    assert {reason: count for reason, count in refused.items() if count} == {"process_cap": 1}
    ram = values(families["greenboost_resource_total_bytes"])["ram"]
    assert 0 < values(families["greenboost_resource_available_bytes"])["ram"] <= ram
    assert values(families["greenboost_resource_pressure_level"])["ram"] == 0
    for name, family in families.items():
        assert name.startswith("greenboost_")
        assert family.documentation.endswith(".")
        # Source: prometheus.io/docs/practices/naming: base units last, and _total after them for what only grows.
        for sample in family.samples:
            assert sample.name == (f"{name}_total" if family.type == "counter" else name)
            assert str(os.getpid()) not in sample.labels.values()
            assert set(sample.labels) <= {"version", "reason", "resource", "module", "level"}
    assert {family.type for family in families.values()} == {"counter", "gauge"}


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_metrics_of_many_clients_are_no_more_series(start_daemon: StartDaemon, free_port: Port, host: str) -> None:
    if host == "[::1]" and not has_ipv6():
        pytest.skip("this machine has no ::1")
    port = free_port()
    daemon = start_daemon(f'[metrics]\nlisten = "{host}:{port}"\n')
    before = series(scrape(port, host))
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(LeaseClient(daemon.socket)).hello(held_bytes=1)
        families = scrape(port, host)
        assert values(families["greenboost_lease_clients"]) == {"": 200}
        assert series(families) == before


def test_reload_moves_and_ends_metrics(start_daemon: StartDaemon, free_port: Port) -> None:
    one, two = free_port(), free_port()
    daemon = start_daemon(f'[metrics]\nlisten = "127.0.0.1:{one}"\n')
    assert scrape(one)
    daemon.configure(f'[metrics]\nlisten = "127.0.0.1:{two}"\n')
    daemon.reload()
    assert scrape(two)
    with pytest.raises(OSError, match="refused"):
        scrape(one)
    daemon.configure("")
    daemon.reload()
    with pytest.raises(OSError, match="refused"):
        scrape(two)
