"""What no shim does. The server answers what it can, closes the connection, and serves the others as before."""

import array
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenboost_py.base import abi
from greenboost_py.broker.client import LeaseClient, ask_status
from greenboost_py.broker.protocol import (
    Kind,
    Reply,
    Request,
    Verdict,
    parse_reply,
    request_bytes,
)

if TYPE_CHECKING:
    from tests.py.broker.conftest import Daemon

Serve = Callable[..., "Daemon"]

HELLO = request_bytes(Request(Kind.HELLO, 1))
ACQUIRE = request_bytes(Request(Kind.ACQUIRE, 2, 5))
UPDATE = request_bytes(Request(Kind.UPDATE, 2, 0, 5))


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def raw(**fields: int) -> bytes:
    """A HELLO with some fields changed."""
    request: Any = abi.abi().new("struct gb_request *")
    abi.abi().memmove(request, HELLO, len(HELLO))
    for name, value in fields.items():
        setattr(request, name, value)
    return bytes(abi.abi().buffer(request))


class Wire:
    """A connection on which anything can be said."""

    def __init__(self, daemon: "Daemon") -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(30)
        self.socket.connect(str(daemon.path))

    def say(self, data: bytes, fds: list[int] | None = None) -> None:
        socket.send_fds(self.socket, [data], fds or [], socket.MSG_NOSIGNAL)

    def hear(self) -> Reply | None:
        """The next answer; None: the connection is closed."""
        data = self.socket.recv(200)
        return parse_reply(data) if data else None

    def is_closed(self) -> bool:
        try:
            return self.socket.recv(200) == b""
        except ConnectionResetError:
            return True


@pytest.fixture
def bystander(serve: Serve) -> Iterator["tuple[Daemon, LeaseClient]"]:
    """A server and a client that is served before, and after, without a descriptor more."""
    daemon = serve()
    with LeaseClient(daemon.path) as client:
        client.hello()
        before = open_fds()
        yield daemon, client
        assert client.acquire(1).verdict is Verdict.GRANTED
        # What a connection said before its end is read first, a message at a time.
        daemon.wait_for(lambda: len(daemon.server.books) == 1 and open_fds() == before)
        assert daemon.held_bytes() == [1]


@contextlib.contextmanager
def descriptor(kind: str) -> Iterator[int]:
    """Something that is not a page."""
    fds = {
        "memfd": lambda: [os.memfd_create("greenboost")],
        "pipe": lambda: list(os.pipe()),
        "zero": lambda: [os.open("/dev/zero", os.O_RDONLY)],
        "directory": lambda: [os.open("/", os.O_RDONLY)],
        "path": lambda: [os.open("/dev/shm", os.O_PATH)],
        "proc file": lambda: [os.open("/proc/self/status", os.O_RDONLY)],
        "socket": lambda: [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).detach()],
    }[kind]()
    try:
        yield fds[0]
    finally:
        for fd in fds:
            os.close(fd)


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ([HELLO[:63]], Verdict.MALFORMED),
        ([HELLO[:1]], Verdict.MALFORMED),
        ([HELLO + b"\0"], Verdict.MALFORMED),
        ([HELLO * 1000], Verdict.MALFORMED),
        ([bytes(64)], Verdict.MALFORMED),
        ([b"\xff" * 64], Verdict.MALFORMED),
        ([b"GET / HTTP/1.1\r\n\r\n"], Verdict.MALFORMED),
        ([raw(magic=0x6C736248)], Verdict.MALFORMED),
        ([raw(version=0)], Verdict.VERSION),
        ([raw(version=2)], Verdict.VERSION),
        ([raw(version=2) + bytes(100)], Verdict.VERSION),
        ([raw(kind=0)], Verdict.MALFORMED),
        ([raw(kind=5)], Verdict.MALFORMED),
        ([raw(unused=1)], Verdict.MALFORMED),
        ([raw(held_bytes=1, pending_bytes=2)], Verdict.MALFORMED),
        ([raw(held_bytes=2**63)], Verdict.MALFORMED),
        ([raw(sequence=0)], Verdict.MALFORMED),
        ([raw(sequence=2)], Verdict.MALFORMED),
        ([raw(sequence=2**64 - 1)], Verdict.MALFORMED),
        ([raw(kind=2)], Verdict.MALFORMED),
        ([raw(kind=3)], Verdict.MALFORMED),
        ([HELLO, HELLO], Verdict.MALFORMED),
        ([HELLO, raw(sequence=2)], Verdict.MALFORMED),
        ([HELLO, raw(kind=4, sequence=2)], Verdict.MALFORMED),
        ([HELLO, raw(kind=2, sequence=1)], Verdict.MALFORMED),
        ([HELLO, raw(kind=2, sequence=3)], Verdict.MALFORMED),
        ([HELLO, raw(kind=3, sequence=4)], Verdict.MALFORMED),
        ([HELLO, raw(kind=2, sequence=2, held_bytes=2**62, bytes=2**62)], Verdict.MALFORMED),
    ],
)
def test_what_is_malformed_or_out_of_order_is_said_to_be_and_closed(
    bystander: "tuple[Daemon, LeaseClient]", said: list[bytes], verdict: Verdict
) -> None:
    daemon, _ = bystander
    wire = Wire(daemon)
    with wire.socket:
        for data in said[:-1]:
            wire.say(data)
            answer = wire.hear()
            assert answer is not None
            assert answer.verdict is Verdict.GRANTED
        wire.say(said[-1])
        assert wire.hear() == Reply(verdict, len(said))
        assert wire.is_closed()
    assert daemon.server.counters.refused[verdict] == 1


def test_an_empty_packet_ends_the_connection(bystander: "tuple[Daemon, LeaseClient]") -> None:
    wire = Wire(bystander[0])
    with wire.socket, descriptor("memfd") as fd:
        wire.say(b"", [fd])
        assert wire.is_closed()


@pytest.mark.parametrize("kind", ["pipe", "zero", "directory", "path", "proc file", "socket"])
def test_hello_with_what_is_no_page_is_refused(bystander: "tuple[Daemon, LeaseClient]", kind: str) -> None:
    wire = Wire(bystander[0])
    with wire.socket, descriptor(kind) as fd:
        wire.say(HELLO, [fd])
        assert wire.hear() == Reply(Verdict.MALFORMED, 1)
        assert wire.is_closed()


@pytest.mark.parametrize("count", [2, 3, 250])
def test_hello_with_several_descriptors_is_refused(bystander: "tuple[Daemon, LeaseClient]", count: int) -> None:
    wire = Wire(bystander[0])
    with wire.socket, descriptor("memfd") as fd:
        wire.say(HELLO, [fd] * count)
        assert wire.hear() == Reply(Verdict.MALFORMED, 1)
        assert wire.is_closed()


@pytest.mark.parametrize("later", [ACQUIRE, UPDATE, ACQUIRE[:5], b"x" * 100, raw(version=7, sequence=2)])
def test_a_descriptor_with_anything_but_hello_is_refused(bystander: "tuple[Daemon, LeaseClient]", later: bytes) -> None:
    wire = Wire(bystander[0])
    with wire.socket, descriptor("memfd") as fd:
        wire.say(HELLO, [fd])
        assert wire.hear() is not None
        wire.say(later, [fd])
        answer = wire.hear()
        assert answer is not None
        assert answer.verdict in (Verdict.MALFORMED, Verdict.VERSION)
        assert wire.is_closed()


def test_a_descriptor_with_status_is_refused(bystander: "tuple[Daemon, LeaseClient]") -> None:
    wire = Wire(bystander[0])
    with wire.socket, descriptor("memfd") as fd:
        wire.say(raw(kind=4), [fd])
        assert wire.hear() == Reply(Verdict.MALFORMED, 1)


def test_a_connections_own_socket_as_its_page_is_refused_and_keeps_nothing(
    bystander: "tuple[Daemon, LeaseClient]",
) -> None:
    wire = Wire(bystander[0])
    with wire.socket:
        wire.say(HELLO, [wire.socket.fileno()])
        assert wire.hear() == Reply(Verdict.MALFORMED, 1)


def test_descriptors_that_were_never_read_are_closed_with_the_connection(
    bystander: "tuple[Daemon, LeaseClient]",
) -> None:
    wire = Wire(bystander[0])
    with wire.socket, descriptor("memfd") as fd, contextlib.suppress(OSError):
        for _ in range(50):
            wire.say(b"x", [fd] * 10)


def test_credentials_of_ones_own_making_change_nothing(bystander: "tuple[Daemon, LeaseClient]") -> None:
    daemon, _ = bystander
    wire = Wire(daemon)
    with wire.socket:
        forged = array.array("i", [os.getppid() or os.getpid(), os.geteuid(), os.getegid()])
        with contextlib.suppress(PermissionError):
            wire.socket.sendmsg([HELLO], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, forged)])
            wire.hear()
            pids = daemon.call(lambda: {holding.pid for _, holding in daemon.server.books.holdings()})
            assert pids == {os.getpid()}


def test_a_client_that_never_reads_is_given_up(bystander: "tuple[Daemon, LeaseClient]") -> None:
    daemon, client = bystander
    wire = Wire(daemon)
    with wire.socket:
        wire.say(HELLO)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for sequence in range(2, 1_000_000):
                wire.say(request_bytes(Request(Kind.ACQUIRE, sequence)))
        assert daemon.server.counters.unread == 1
        assert client.acquire(0).verdict is Verdict.GRANTED


def test_a_flood_of_one_client_leaves_the_others_their_turn(bystander: "tuple[Daemon, LeaseClient]") -> None:
    daemon, client = bystander
    wire = Wire(daemon)
    with wire.socket:
        wire.say(HELLO)
        assert wire.hear() is not None
        wire.socket.setblocking(False)
        sequence = 1
        for _ in range(20):
            with contextlib.suppress(BlockingIOError):
                while True:
                    wire.say(request_bytes(Request(Kind.UPDATE, sequence + 1)))
                    sequence += 1
            assert client.acquire(0).verdict is Verdict.GRANTED
        assert sequence > 100


def test_a_client_that_goes_before_its_answer_is_no_trouble(bystander: "tuple[Daemon, LeaseClient]") -> None:
    daemon, _ = bystander
    for said in ([HELLO], [HELLO, ACQUIRE], [raw(kind=4)], [b"x"], []):
        wire = Wire(daemon)
        with wire.socket:
            for data in said:
                wire.say(data)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    packets=st.lists(
        st.tuples(
            st.binary(max_size=70)
            | st.builds(
                raw,
                kind=st.integers(0, 5),
                sequence=st.integers(0, 4),
                held_bytes=st.integers(0, 9),
                bytes=st.integers(0, 9),
            ),
            st.integers(0, 3),
        ),
        max_size=5,
    )
)
def test_noise_of_any_kind_leaves_a_server_that_serves(
    bystander: "tuple[Daemon, LeaseClient]", packets: list[tuple[bytes, int]]
) -> None:
    daemon, client = bystander
    wire = Wire(daemon)
    with wire.socket, descriptor("memfd") as fd, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for data, count in packets:
            wire.say(data, [fd] * count)
    assert client.acquire(0).verdict is Verdict.GRANTED
    assert ask_status(daemon.path) is not None
    daemon.wait_for(lambda: len(daemon.server.books) == 1)
