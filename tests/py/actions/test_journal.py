import array
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from greenboost_py.actions.alert import Alert
from greenboost_py.actions.journal import MESSAGE_ID, Journal, serialise
from greenboost_py.pressure.levels import Level
from greenboost_py.sensors.holders import Holder

MakeAlert = Callable[..., Alert]
MakeHolder = Callable[..., Holder]


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket as journald's, at tmp_path/socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.settimeout(10)
        yield listener


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(str(tmp_path / "socket"))
    yield made
    made.close()


def parse(data: bytes) -> dict[str, str]:
    """An entry, read by the rules of the protocol."""
    fields = {}
    while data:
        name, rest = data.split(b"\n", 1)
        if b"=" in name:
            name, value = name.split(b"=", 1)
            data = rest
        else:
            (length,) = struct.unpack_from("<Q", rest)
            value, end, data = rest[8 : 8 + length], rest[8 + length : 9 + length], rest[9 + length :]
            assert end == b"\n"
        fields[name.decode()] = value.decode()
    return fields


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        ({"MESSAGE": "a=b"}, b"MESSAGE=a=b\n"),
        ({"MESSAGE": ""}, b"MESSAGE=\n"),
        ({"A": "1", "B": "2"}, b"A=1\nB=2\n"),
        ({"A": "x\ny"}, b"A\n\x03\0\0\0\0\0\0\0x\ny\n"),
        ({"A": "\n"}, b"A\n\x01\0\0\0\0\0\0\0\n\n"),
        ({"A": "é\udcff"}, "A=é?\n".encode()),
    ],
)
def test_serialise_writes_the_native_protocol(fields: dict[str, str], data: bytes) -> None:
    assert serialise(fields) == data


def test_alert_arrives_with_its_fields(
    journald: socket.socket, journal: Journal, make_alert: MakeAlert, make_holder: MakeHolder
) -> None:
    journal.alert(
        make_alert(Level.CRITICAL, Level.WARN, holders=(make_holder(ram_bytes=5 << 30, name="a\nPRIORITY=7"),))
    )
    fields = parse(journald.recv(1 << 16))
    assert fields["MESSAGE"].startswith(
        "RAM is nearly exhausted: 1.00 GiB of 32.0 GiB left, at this rate for 8 s. Held: "
    )
    assert "a?PRIORITY=7 (pid 4711)" in fields["MESSAGE"]
    assert (fields["PRIORITY"], fields["MESSAGE_ID"], fields["SYSLOG_IDENTIFIER"]) == ("2", MESSAGE_ID, "greenboost")
    assert (fields["GREENBOOST_RESOURCE"], fields["GREENBOOST_LEVEL"]) == ("ram", "critical")
    assert fields["GREENBOOST_AVAILABLE_BYTES"] == str(1 << 30)


@pytest.mark.parametrize(("level", "priority"), [(Level.OK, "6"), (Level.NOTICE, "5"), (Level.WARN, "4")])
def test_alert_of_each_level_has_its_priority(
    journald: socket.socket, journal: Journal, make_alert: MakeAlert, level: Level, priority: str
) -> None:
    journal.alert(make_alert(level, Level.CRITICAL))
    assert parse(journald.recv(1 << 16))["PRIORITY"] == priority


def test_line_is_one_line(journald: socket.socket, journal: Journal) -> None:
    journal.line("hook: it\nfailed", priority=4)
    assert parse(journald.recv(1 << 16)) == {
        "SYSLOG_IDENTIFIER": "greenboost",
        "MESSAGE": "hook: it failed",
        "PRIORITY": "4",
    }


def test_send_of_what_no_datagram_takes_goes_in_a_sealed_file(journald: socket.socket, journal: Journal) -> None:
    text = "x\n" * (1 << 20)
    journal.send({"MESSAGE": text})
    data, controls, _, _ = journald.recvmsg(1 << 16, socket.CMSG_SPACE(4))
    ((level, kind, rights),) = controls
    assert (data, level, kind) == (b"", socket.SOL_SOCKET, socket.SCM_RIGHTS)
    (fd,) = array.array("i", rights)
    try:
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) == seals
        entry = parse(os.pread(fd, os.fstat(fd).st_size, 0))
    finally:
        os.close(fd)
    assert entry["MESSAGE"] == text
    assert journal.dropped == 0


def test_send_to_a_journal_that_does_not_read_drops_and_counts(journald: socket.socket, journal: Journal) -> None:
    for _ in range(10000):
        journal.line("x")
        if journal.dropped:
            break
    assert journal.dropped == 1, "the queue of a datagram socket is finite"
    while True:
        journald.setblocking(False)
        try:
            journald.recv(1 << 16)
        except BlockingIOError:
            break
    journal.line("y")
    assert parse(journald.recv(1 << 16))["MESSAGE"] == "y"


def test_send_without_a_journal_writes_one_line_on_stderr(tmp_path: Path, make_alert: MakeAlert) -> None:
    reader, writer = os.pipe()
    journal = Journal(str(tmp_path / "absent"), stderr=writer)
    try:
        journal.alert(make_alert())
        journal.line("x" * 100_000)
        lines = os.read(reader, 1 << 16).decode().splitlines()
    finally:
        journal.close()
        os.close(reader)
        os.close(writer)
    assert lines[0].startswith("greenboost: RAM is nearly exhausted: ")
    assert len(lines) == 2
    assert len(lines[1]) < 4096


def test_send_without_a_journal_or_a_reader_of_stderr_drops_and_counts(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    journal = Journal(str(tmp_path / "absent"), stderr=writer)
    try:
        for _ in range(10000):
            journal.line("x" * 4000)
            if journal.dropped:
                break
        assert journal.dropped == 1, "a pipe is finite"
        os.close(reader)
        journal.line("x")
        assert journal.dropped == 2
    finally:
        journal.close()
        os.close(writer)


def test_send_to_a_journal_that_has_ended_writes_to_stderr(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "socket"))
    reader, writer = os.pipe()
    journal = Journal(str(tmp_path / "socket"), stderr=writer)
    try:
        journal.line("still heard")
        assert os.read(reader, 100) == b"greenboost: still heard\n"
    finally:
        journal.close()
        os.close(reader)
        os.close(writer)
