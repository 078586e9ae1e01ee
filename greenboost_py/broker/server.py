"""The lease server: connections on an event loop, each message in its order, and every descriptor closed.

It trusts no client: none can make it wait, spend another's budget, or keep it from the others. The loop handles one
message of each client in turn.
"""

import asyncio
import contextlib
import os
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from greenboost_py.base.abi import Page, PageError
from greenboost_py.base.config import LeaseConfig
from greenboost_py.broker import sockets
from greenboost_py.broker.books import Books, Holding
from greenboost_py.broker.connection import Connection
from greenboost_py.broker.leases import Counters, Leases
from greenboost_py.broker.listener import Listener
from greenboost_py.broker.protocol import Kind, ProtocolError, Reply, Request, Verdict, reply_bytes, request_size
from greenboost_py.broker.readings import Sources
from greenboost_py.broker.sockets import Message

HELLO_DEADLINE_S = 1.0
"""A connection on which nothing is asked for so long is closed."""

ACCEPT_PAUSE_S = 0.1
"""How long nobody is let in when there is no descriptor or no memory for one more."""

_SURPLUS = 16
"""Connections of a user beyond its clients: to ask for the status, and to be told that there are too many."""

_OWN_DESCRIPTORS = 128
"""For everything else that the daemon does."""

_DESCRIPTORS_PER_CONNECTION = 3
"""The socket, the page, the process."""

_CONNECTIONS_MAX = 16384
"""Bounds the daemon's own memory: a client takes 3 KiB of it."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A client, for those who show it.

    Attributes:
        holding: what it says that it holds.
        page: its counters; None: it shows none, or a bad one.
        error: what is wrong with its page.
    """

    holding: Holding
    page: Page | None
    error: PageError | None


class LeaseServer:
    """Serves leases at a socket, from `start` to `close`.

    Args:
        listener: where; closed by `close`.
        config: the limits.
        sources: where the machine is read.
        status: the JSON text that a user may see, by user id.
        hello_deadline_s: a connection that says nothing for so long is closed.
    """

    def __init__(
        self,
        listener: Listener,
        config: LeaseConfig,
        sources: Sources,
        status: Callable[[int], bytes],
        hello_deadline_s: float = HELLO_DEADLINE_S,
    ) -> None:
        self.counters = Counters()
        self._desk = Leases(config, sources, self.counters)
        self._listener, self._config, self._status = listener, config, status
        self.hello_deadline_s = hello_deadline_s
        self._connections: dict[int, Connection] = {}
        self._connections_by_uid: Counter[int] = Counter()
        self._connections_max = 0
        self._numbers = 0
        self._pause: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to serve, on the running loop; raises this process' limit on descriptors as far as it may."""
        self._loop = asyncio.get_running_loop()
        spare = sockets.raise_descriptor_limit() - _OWN_DESCRIPTORS
        self._connections_max = min(max(2, spare // _DESCRIPTORS_PER_CONNECTION), _CONNECTIONS_MAX)
        self._loop.add_reader(self._listener.socket, self._accept)

    def close(self) -> None:
        """Ends every connection and gives up the socket."""
        self._loop.remove_reader(self._listener.socket)
        if self._pause is not None:
            self._pause.cancel()
        for connection in list(self._connections.values()):
            self._end(connection)
        self._listener.close()

    def configure(self, config: LeaseConfig) -> None:
        """Takes other limits, from the next request on; nobody loses what it has."""
        self._config = config
        self._desk.configure(config)

    @property
    def books(self) -> Books:
        """Who holds what; not to be changed from outside."""
        return self._desk.books

    def leases(self, uid: int | None = None, at_most: int | None = None) -> tuple[Lease, ...]:
        """Every client, or a user's, with its page as it is now; to be asked on the loop.

        Args:
            uid: the user; None: everybody.
            at_most: no more than so many, those that hold most; reading a page takes 0.6 ms.
        """
        found = [pair for pair in self._desk.books.holdings() if uid is None or pair[1].uid == uid]
        if at_most is not None and len(found) > at_most:
            found = sorted(found, key=lambda pair: -pair[1].held_bytes)[:at_most]
        return tuple(_lease(holding, self._connections[number]) for number, holding in found)

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            # The next turn of the loop would find the same: it must not spin.
            self.counters.accept_errors += 1
            self._loop.remove_reader(self._listener.socket)
            self._pause = self._loop.call_later(ACCEPT_PAUSE_S, self._accept_again)
            return
        self.counters.connected += 1
        accepted.setblocking(False)
        peer = sockets.peer_of(accepted)
        if not self._has_room(peer.uid):
            self._turn_away(accepted)
            return
        self._numbers += 1
        number = self._numbers
        silence = self._loop.call_later(self.hello_deadline_s, self._on_silence, number)
        self._connections[number] = Connection(number, accepted, peer, silence)
        self._connections_by_uid[peer.uid] += 1
        self._loop.add_reader(accepted, self._on_message, self._connections[number])

    def _accept_again(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener.socket, self._accept)

    def _clients_max(self) -> int:
        """How many clients a user may have: as configured, but never so many that nobody else gets in."""
        return min(self._config.clients_per_user, self._connections_max // 2)

    def _has_room(self, uid: int) -> bool:
        is_full = len(self._connections) >= self._connections_max
        return not is_full and self._connections_by_uid[uid] < self._clients_max() + _SURPLUS

    def _turn_away(self, accepted: socket.socket) -> None:
        """Says so if it can be said at once; the answer is to the first request, whether it has come or not."""
        self.counters.refused[Verdict.CLIENTS] += 1
        with accepted, contextlib.suppress(OSError):
            sockets.send(accepted, reply_bytes(Reply(Verdict.CLIENTS, 1)))

    def _on_silence(self, number: int) -> None:
        self.counters.silent += 1
        self._end(self._connections[number])

    def _on_message(self, connection: Connection) -> None:
        try:
            message = sockets.receive(connection.socket, request_size())
        except BlockingIOError:
            return
        except OSError:
            self._end(connection)
            return
        try:
            self._handle(connection, message)
        except ProtocolError as error:
            self._refuse(connection, error.reason, connection.sequence + 1)
        finally:
            message.close()

    def _handle(self, connection: Connection, message: Message) -> None:
        """Does what a message asks.

        Raises:
            ProtocolError: it is malformed, or out of order.
        """
        if not message.data:
            self._end(connection)
            return
        request = connection.accept(message)
        match request.kind:
            case Kind.HELLO:
                self._hello(connection, request)
            case Kind.ACQUIRE:
                self._answer(connection, self._desk.acquire(connection.number, request))
            case Kind.UPDATE:
                self._desk.update(connection.number, request)
            case Kind.STATUS:
                self._show_status(connection, request)

    def _hello(self, connection: Connection, request: Request) -> None:
        peer = connection.peer
        if self._desk.books.clients_of(peer.uid) >= self._clients_max():
            self._refuse(connection, Verdict.CLIENTS, request.sequence)
            return
        connection.silence.cancel()
        try:
            connection.process_fd = sockets.open_process(peer.pid)
        except ProcessLookupError:
            self._end(connection)
            return
        if connection.process_fd is not None:
            # A child that was cloned past the shim may keep the socket open: the lease ends with the process.
            self._loop.add_reader(connection.process_fd, self._end, connection)
        self._answer(connection, self._desk.hello(connection.number, peer.pid, peer.uid, request))

    def _show_status(self, connection: Connection, request: Request) -> None:
        try:
            fd = sockets.sealed_memfd(self._status(connection.peer.uid))
        except OSError:
            self._end(connection)
            return
        try:
            self._answer(connection, Reply(Verdict.GRANTED, request.sequence), fd)
        finally:
            os.close(fd)
        self._end(connection)

    def _refuse(self, connection: Connection, verdict: Verdict, sequence: int) -> None:
        """Answers and closes."""
        self.counters.refused[verdict] += 1
        self._answer(connection, Reply(verdict, sequence))
        self._end(connection)

    def _answer(self, connection: Connection, reply: Reply, fd: int | None = None) -> None:
        try:
            sockets.send(connection.socket, reply_bytes(reply), fd)
        except BlockingIOError:
            self.counters.unread += 1
            self._end(connection)
        except OSError:
            self._end(connection)

    def _end(self, connection: Connection) -> None:
        """Closes a connection; what it leased is free. Once is enough, more is no harm."""
        if self._connections.pop(connection.number, None) is None:
            return
        uid = connection.peer.uid
        self._connections_by_uid[uid] -= 1
        if not self._connections_by_uid[uid]:
            del self._connections_by_uid[uid]
        self._desk.end(connection.number)
        self._loop.remove_reader(connection.socket)
        if connection.process_fd is not None:
            self._loop.remove_reader(connection.process_fd)
        connection.close()


def _lease(holding: Holding, connection: Connection) -> Lease:
    try:
        return Lease(holding, connection.read_page(), None)
    except PageError as error:
        return Lease(holding, None, error)
