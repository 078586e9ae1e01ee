"""HTTP for /metrics: prometheus_client's application behind a server that stays small, whoever can reach it.

The library's own server starts a thread for every connection and waits for each without end: connections that say
nothing would use up the daemon's descriptors. And it asks the name service for its own name, which may take long.
"""

import socket
import threading
import time
from contextlib import suppress
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

CONNECTIONS_MAX = 16
"""At a time; who comes then finds the connection closed."""

VISITOR_CONNECTIONS_MAX = 4
"""Of those, from one address: one visitor alone does not keep Prometheus out."""

TIMEOUT_S = 2.0
"""For each step of a request, ..."""

DEADLINE_S = 10.0
"""... and for all of it: who sends a byte a second, or reads one, is cut off."""

PAUSE_S = 0.02
"""After each visitor that is let in: an answer takes 2 ms of a CPU, and a loop of them an eighth of one at most."""


class _Handler(WSGIRequestHandler):
    timeout = TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody wants to read of every scrape."""


class _Places:
    """Connections that are answered. One is cut off only while it is in here, when its descriptor is surely its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards what follows; nothing that waits is done under it
        self._visitors: dict[socket.socket, str] = {}
        self._until_s: dict[socket.socket, float] = {}

    def take(self, connection: socket.socket, visitor: str) -> bool:
        """Gives a connection a place; False: there is none."""
        with self._lock:
            visitors = list(self._visitors.values())
            if len(visitors) >= CONNECTIONS_MAX or visitors.count(visitor) >= VISITOR_CONNECTIONS_MAX:
                return False
            self._visitors[connection] = visitor
            self._until_s[connection] = time.monotonic() + DEADLINE_S
            return True

    def close(self, connection: socket.socket) -> None:
        """Closes a connection, whether it had a place or not."""
        with self._lock:
            self._visitors.pop(connection, None)
            self._until_s.pop(connection, None)
            connection.close()

    def cut_off(self) -> None:
        """Ends the connections that have had their time; the threads that answer them see it."""
        with self._lock:
            late = [connection for connection, until_s in self._until_s.items() if until_s < time.monotonic()]
            for connection in late:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._places = _Places()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Binds, and is named by its address."""
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Has a thread answer, if there is a place."""
        if not self._places.take(request, client_address[0]):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self.shutdown_request(request)
        time.sleep(PAUSE_S)

    def close_request(self, request: Any) -> None:
        """The end of every visit."""
        self._places.close(request)

    def service_actions(self) -> None:
        """Twice a second, and after each visitor."""
        self._places.cut_off()

    def shutdown(self) -> None:
        """Ends `serve_forever`, which else would look half a second later."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # there is something to be read now: the end
        super().shutdown()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A visitor that hangs up or says nothing sensible is no news."""


def open_server(host: str, port: int, registry: CollectorRegistry) -> WSGIServer:
    """Listens; `serve_forever` serves.

    Args:
        host: an address, of IPv4 or IPv6.
        port: 0: any.
        registry: what is served.

    Raises:
        OSError: nothing can listen there.
        OverflowError: there is no such port.
    """
    server = _Server((host, port))
    server.set_app(make_wsgi_app(registry))
    return server
