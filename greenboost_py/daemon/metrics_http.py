"""HTTP for /metrics: prometheus_client's application behind a server that stays small.

The library's own server starts a thread for every connection and waits for each without end: connections that say
nothing would use up the daemon's descriptors. And it asks the name service for its own name, which may take long.
"""

import socket
import threading
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

CONNECTIONS_MAX = 16
"""At a time; who comes then finds the connection closed."""

TIMEOUT_S = 2.0
"""For each step of a request."""


class _Handler(WSGIRequestHandler):
    timeout = TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody wants to read of every scrape."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._places = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Binds, and is named by its address."""
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Has a thread answer, if one is free."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self._places.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers one visitor."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

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
