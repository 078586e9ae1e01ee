"""What the service manager hears, on a real socket."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenboost_py.daemon.sd_notify import Notifier


@pytest.fixture(params=["file", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    name = f"greenboost-{tmp_path.name}-{id(request)}"
    address, shown = (str(tmp_path / "notify"),) * 2 if request.param == "file" else ("\0" + name, "@" + name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(address)
        server.settimeout(5)
        yield server, shown


def test_notifier_each_message_arrives_as_documented(listener: tuple[socket.socket, str]) -> None:
    server, address = listener
    notifier = Notifier({"NOTIFY_SOCKET": address}, pid=7)
    notifier.ready("watching")
    notifier.alive("RAM OK")
    notifier.stopping()
    notifier.reloading()
    assert server.recv(999) == b"READY=1\nSTATUS=watching"
    assert server.recv(999) == b"WATCHDOG=1\nSTATUS=RAM OK"
    assert server.recv(999) == b"STOPPING=1"
    name, _, clock = server.recv(999).decode().partition("\nMONOTONIC_USEC=")
    assert name == "RELOADING=1" and int(clock) > 0


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "@nobody-listens-here", "/" + "x" * 300])
def test_notifier_that_does_not_listen_is_no_error(address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address}, pid=7)
    notifier.ready("watching")
    notifier.alive("")


def test_notifier_that_does_not_read_never_blocks(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")}, pid=7)
        for _ in range(2000):
            notifier.alive("x" * 100)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_notifier_watchdog_is_for_this_process_alone(environment: dict[str, str], expected: float | None) -> None:
    assert Notifier(environment, pid=7).watchdog_s == expected
