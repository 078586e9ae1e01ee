"""One connection: what was said on it so far, hence what may be said next, and the descriptors that belong to it."""

import os
import socket
from asyncio import TimerHandle
from dataclasses import dataclass

from greenboost_py.base import abi
from greenboost_py.base.abi import Page, PageError
from greenboost_py.broker import sockets
from greenboost_py.broker.protocol import Kind, ProtocolError, Request, Verdict, parse_request
from greenboost_py.broker.sockets import Message, Peer


@dataclass(slots=True, eq=False)
class Connection:
    """A connection, from accept to close.

    Attributes:
        number: what the server knows it by.
        socket: non-blocking.
        peer: who is at the other end.
        silence: what ends the connection if nothing comes.
        sequence: of the last request that was in order; 0: none was.
        page_fd: the client's page of counters, where it brought one.
        process_fd: readable when its process has ended; None where the kernel gives none.
    """

    number: int
    socket: socket.socket
    peer: Peer
    silence: TimerHandle
    sequence: int = 0
    page_fd: int | None = None
    process_fd: int | None = None

    def accept(self, message: Message) -> Request:
        """Takes a message, if it is in order: HELLO first and only then, or STATUS and nothing else.

        Raises:
            ProtocolError: it is not, or it is malformed.
        """
        request = parse_request(message.data)
        if message.is_cut:
            raise ProtocolError(Verdict.MALFORMED, "more than one descriptor")
        if request.sequence != self.sequence + 1:
            raise ProtocolError(Verdict.MALFORMED, f"request {request.sequence} after {self.sequence}")
        if (request.kind in (Kind.HELLO, Kind.STATUS)) != (self.sequence == 0):
            raise ProtocolError(Verdict.MALFORMED, f"{request.kind.name} as request {request.sequence}")
        if message.fds:
            self._take_page(request.kind, message)
        self.sequence = request.sequence
        return request

    def _take_page(self, kind: Kind, message: Message) -> None:
        if kind is not Kind.HELLO or not sockets.is_shared_memory(message.fds[0]):
            raise ProtocolError(Verdict.MALFORMED, f"a descriptor that does not belong to {kind.name}")
        self.page_fd = message.fds.pop()

    def read_page(self) -> Page | None:
        """The client's counters as they are now; None: it shows none.

        The page is never mapped: its owner may cut it short at any time, and a mapping would end us with SIGBUS.

        Raises:
            PageError: it is malformed.
        """
        if self.page_fd is None:
            return None
        source = f"the page of process {self.peer.pid}"
        try:
            return abi.parse_page(os.pread(self.page_fd, abi.page_bytes(), 0), source)
        except OSError as error:
            raise PageError(f"{source}: {error.strerror}") from error

    def close(self) -> None:
        """Closes everything."""
        self.silence.cancel()
        for fd in (self.page_fd, self.process_fd):
            if fd is not None:
                os.close(fd)
        self.page_fd = self.process_fd = None
        self.socket.close()
