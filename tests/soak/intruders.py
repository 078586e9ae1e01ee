"""Hostile clients of the daemon: each does something that no program under the shim does, and expects to be shown the door.

usage: intruders.py KIND SOCKET SEED [USER_ID]

Exit 0: the daemon did what it should, or ended meanwhile. Exit 1: it did not.
"""

import os
import random
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shim"))

from stand_in import ACQUIRE, HELLO, MAGIC, REPLY, REQUEST, STATUS, VERSION

PATIENCE_S = 100.0
CROWD = 300
FLOOD = 20_000


class Door:
    """Connections to the daemon.

    Args:
        path: its socket.
        chance: for what is drawn.
    """

    def __init__(self, path: str, chance: random.Random) -> None:
        self._path, self.chance = path, chance

    def connect(self) -> socket.socket:
        """A connection; ends the program where nobody listens any more."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(PATIENCE_S)
        try:
            connection.connect(self._path)
        except (FileNotFoundError, ConnectionRefusedError):
            sys.exit(0)
        return connection


def message(kind: int, sequence: int = 1, wanted: int = 0, held: int = 0, pending: int = 0) -> bytes:
    """A request."""
    return REQUEST.pack(MAGIC, VERSION, kind, sequence, wanted, held, pending, 0, 0, 0)


def say(connection: socket.socket, data: bytes, fds: tuple[int, ...] = ()) -> None:
    """Sends, whether or not anybody is there any more."""
    with suppress(BrokenPipeError, ConnectionResetError):
        socket.send_fds(connection, [data], fds)


def await_end(connection: socket.socket) -> None:
    """Waits until the daemon has closed the connection.

    Raises:
        TimeoutError: it does not.
    """
    with suppress(ConnectionResetError):
        while connection.recv(4096):
            pass


def garbage(door: Door) -> None:
    for size in (1, 7, 8, 63, 64, 65, 4096, 60_000):
        with door.connect() as connection:
            say(connection, door.chance.randbytes(size))
            await_end(connection)


def half(door: Door) -> None:
    for size in (4, 8, 32, REQUEST.size - 1):
        with door.connect() as connection:
            say(connection, message(HELLO)[:size])
            await_end(connection)


def silent(door: Door) -> None:
    with door.connect() as connection:
        await_end(connection)


def flood(door: Door) -> None:
    """Asks and asks, and reads no answer."""
    with door.connect() as connection:
        say(connection, message(HELLO))
        with suppress(BrokenPipeError, ConnectionResetError):
            for sequence in range(2, FLOOD):
                connection.send(message(ACQUIRE, sequence))
        await_end(connection)


def out_of_order(door: Door) -> None:
    for first, second in (
        (message(ACQUIRE), b""),
        (message(HELLO, 2), b""),
        (message(HELLO), message(HELLO, 2)),
        (message(HELLO), message(ACQUIRE, 1)),
        (message(HELLO), message(STATUS, 2)),
        (message(STATUS), message(STATUS, 2)),
    ):
        with door.connect() as connection:
            say(connection, first)
            if second:
                say(connection, second)
            await_end(connection)


def wrong_page(door: Door) -> None:
    """Brings descriptors that are no page: the daemon must not wait for any of them."""
    reading, writing = os.pipe()
    folder = os.open("/", os.O_RDONLY)
    for fd in (reading, writing, folder, 0):
        with door.connect() as connection:
            say(connection, message(HELLO), (fd,))
            await_end(connection)
    empty = os.memfd_create("greenboost")
    with door.connect() as connection:
        say(connection, message(HELLO), (empty,))  # a page with nothing in it is its own trouble
        connection.recv(4096)


def many_descriptors(door: Door) -> None:
    with door.connect() as connection:
        say(connection, message(HELLO), (0, 0, 0))
        await_end(connection)


def liar(door: Door) -> None:
    """Holds more than there is."""
    with door.connect() as connection:
        say(connection, message(HELLO, 1, 0, 1 << 62, 1 << 62))
        connection.recv(4096)
        say(connection, message(ACQUIRE, 2, 1 << 20, 1 << 62, 1 << 62))
        connection.recv(4096)
        time.sleep(0.1)
        say(connection, message(ACQUIRE, 3, 1 << 63, 1 << 62))
        await_end(connection)


def crowd(door: Door) -> None:
    """Many at once."""
    all_of_them = [door.connect() for _ in range(CROWD)]
    for connection in all_of_them:
        say(connection, message(HELLO))
    for connection in all_of_them:
        with suppress(ConnectionResetError):
            connection.recv(4096)
        connection.close()


def status_storm(door: Door) -> None:
    for _ in range(100):
        with door.connect() as connection:
            say(connection, message(STATUS))
            with suppress(ConnectionResetError):
                data, fds, _, _ = socket.recv_fds(connection, REPLY.size, 4)
                for fd in fds:
                    os.close(fd)


ALL: dict[str, Callable[[Door], None]] = {
    each.__name__.replace("_", " "): each
    for each in (
        garbage, half, silent, flood, out_of_order, wrong_page, many_descriptors, liar, crowd, status_storm
    )
}  # fmt: skip


def main() -> None:
    """Becomes somebody else if it is told to, and intrudes."""
    kind, path, seed = sys.argv[1:4]
    if len(sys.argv) > 4:
        user = int(sys.argv[4])
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    try:
        ALL[kind](Door(path, random.Random(int(seed))))
    except TimeoutError:
        sys.exit(f"{kind}: the daemon keeps the connection")


if __name__ == "__main__":
    main()
