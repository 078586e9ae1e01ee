"""A stand-in for the daemon: answers as it is told to, and writes down what it hears.

Runs on a thread of the test, or as a program of its own (`python stand_in.py SOCKET`) that can be stopped: it then grants
everything, and says "ready" when it listens.
"""

import contextlib
import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

REQUEST = struct.Struct("<IHHQQQQQQQ")
REPLY = struct.Struct("<IHHQQQQII")
MAGIC, VERSION = 0x6C736247, 1
HELLO, ACQUIRE, UPDATE, STATUS = 1, 2, 3, 4
GRANTED, MALFORMED, OTHER_VERSION, CLIENTS, PRESSURE, PROCESS_CAP, USER_CAP, CGROUP, MACHINE = range(9)
CREDENTIALS = struct.Struct("3i")

CLOSE = object()
"""An answer: the end of the connection."""


@dataclass(frozen=True)
class Request:
    """What was heard."""

    kind: int
    sequence: int
    bytes: int
    held: int
    pending: int
    uncharged: int
    reserve: int

    @property
    def figures(self) -> tuple[int, int, int]:
        """held, pending, uncharged."""
        return self.held, self.pending, self.uncharged


def parse(packet: bytes) -> Request:
    """The request, which must be one."""
    magic, version, kind, sequence, *figures, unused = REQUEST.unpack(packet)
    assert (magic, version, unused) == (MAGIC, VERSION, 0)
    return Request(kind, sequence, *figures)


def reply(request: Request, verdict: int = GRANTED, **fields: int) -> bytes:
    """The answer to a request; `fields` replace what is right."""
    granted = request.bytes if verdict == GRANTED else 0
    values = {
        "magic": MAGIC,
        "version": VERSION,
        "verdict": verdict,
        "sequence": request.sequence,
        "granted": granted,
        "budget": 1 << 40,
        "leased": request.held + granted,
        "level": 0,
        "unused": 0,
    }
    assert set(fields) <= set(values)
    return REPLY.pack(*(values | fields).values())


@dataclass
class Client:
    """One connection, and what came over it."""

    connection: socket.socket
    pid: int
    requests: list[Request] = field(default_factory=list)
    page_fd: int = -1
    is_closed: bool = False


Answer = Callable[[Request, Client], object]
"""What is sent for a request that wants an answer: bytes, (bytes, descriptors), None for silence, or CLOSE."""


def grant(request: Request, _client: Client) -> bytes:
    """Everything is granted."""
    return reply(request)


class StandIn:
    """A daemon at `path` until closed. `heard` may be read at any time; `wait` waits for it to become true of something."""

    def __init__(self, path, answer: Answer = grant, backlog: int = 16):
        self.answer = answer
        self.clients: list[Client] = []
        self.is_deaf = False  # while true, nothing more is read
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen(backlog)
        self._wake, self._woken = os.pipe()
        self._changed = threading.Condition()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_unused):
        self.close()
        if self._failure and kind is None:
            raise self._failure

    @property
    def requests(self) -> list[Request]:
        """Everything heard, over all connections, in order of these."""
        with self._changed:
            return [request for client in self.clients for request in client.requests]

    def wait(self, condition: Callable[[], bool]) -> None:
        """Waits for what will come about, with a bound that no working machine reaches."""
        with self._changed:
            assert self._changed.wait_for(condition, timeout=60), self.clients

    def set_deaf(self, is_deaf: bool) -> None:
        """Whether requests are left unread."""
        self.is_deaf = is_deaf
        os.write(self._woken, b".")

    def close(self) -> None:
        """Hangs up on everybody."""
        if self._thread:
            os.write(self._woken, b"x")
            self._thread.join()
            self._thread = None
            os.close(self._wake)
            os.close(self._woken)

    def _serve(self) -> None:
        try:
            while self._turn():
                pass
        except (AssertionError, OSError, struct.error) as failure:  # the test's thread raises it again
            self._failure = failure
        finally:
            self._listener.close()
            for client in self.clients:
                client.connection.close()
                if client.page_fd >= 0:
                    os.close(client.page_fd)

    def _turn(self) -> bool:
        talking = {} if self.is_deaf else {c.connection: c for c in self.clients if not c.is_closed}
        readable, _, _ = select.select([self._wake, self._listener, *talking], [], [])
        for ready in readable:
            if ready == self._wake:
                return os.read(self._wake, 1) != b"x"
            if ready is self._listener:
                self._accept()
            else:
                self._hear(talking[ready])
        return True

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        with self._changed:
            self.clients.append(Client(connection, CREDENTIALS.unpack(credentials)[0]))
            self._changed.notify_all()

    def _hear(self, client: Client) -> None:
        try:
            packet, fds, _, _ = socket.recv_fds(client.connection, 4096, 8)
        except ConnectionResetError:
            packet, fds = b"", []
        with self._changed:
            if packet:
                client.requests.append(parse(packet))
                assert len(fds) <= (client.requests[-1].kind == HELLO), "a descriptor came along"
                client.page_fd = fds[0] if fds else client.page_fd
            else:
                self._hang_up(client)
            self._changed.notify_all()
        if packet and client.requests[-1].kind != UPDATE:
            self._say(client, self.answer(client.requests[-1], client))

    def _say(self, client: Client, said: object) -> None:
        if said is CLOSE:
            with self._changed:
                self._hang_up(client)
        elif said is not None:
            data, fds = said if isinstance(said, tuple) else (said, [])
            with contextlib.suppress(BrokenPipeError):
                socket.send_fds(client.connection, [data], fds)

    @staticmethod
    def _hang_up(client: Client) -> None:
        client.connection.close()
        client.is_closed = True


if __name__ == "__main__":
    with StandIn(sys.argv[1]):
        print("ready", flush=True)
        sys.stdin.read()
