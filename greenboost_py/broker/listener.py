"""The socket in the file system: made so that it is never half there, and never taken from a daemon that runs."""

import errno
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from greenboost_py.base.errors import GreenboostError
from greenboost_py.broker.paths import SocketPlace
from greenboost_py.broker.sockets import SEQPACKET

_PATH_BYTES_MAX = 107
"""sun_path has 108, the last of which is NUL. Source: unix(7)."""

_BACKLOG = 512


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that listens at a path.

    Attributes:
        socket: non-blocking.
        path: where it is.
        identity: device and inode of the path when it was made.
    """

    socket: socket.socket
    path: Path
    identity: tuple[int, int]

    def close(self) -> None:
        """Stops listening; removes the path, unless it is another's by now."""
        self.socket.close()
        try:
            if _identity(self.path) == self.identity:
                self.path.unlink()
        except FileNotFoundError:
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_socket(place: SocketPlace) -> Listener:
    """Listens at a place, for everybody (mode 0666: who asks is known all the same) or for the user alone (0600).

    The directory is created where it is missing. A socket that a daemon left behind is replaced.

    Raises:
        GreenboostError: another daemon listens there, the path is too long or not a socket's, or it cannot be made.
    """
    path = place.path
    # Beside the final name: it is bound and listens before it is there, so nobody can find it deaf.
    temporary = path.with_name(f".{os.getpid()}")
    longest = max(len(os.fsencode(path)), len(os.fsencode(temporary)))
    if longest > _PATH_BYTES_MAX:
        raise GreenboostError(f"{path}: too long for a socket: at most {_PATH_BYTES_MAX} bytes; choose a shorter path")
    listening = socket.socket(socket.AF_UNIX, SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        _make_directory(path.parent, 0o755 if place.is_for_all else 0o700)
        _bind(listening, temporary, 0o666 if place.is_for_all else 0o600)
        try:
            listening.listen(_BACKLOG)
            _claim(temporary, path)
        finally:
            temporary.unlink()
        return Listener(listening, path, _identity(path))
    except OSError as error:
        listening.close()
        raise GreenboostError(f"{path}: the socket cannot be made: {error.strerror}") from error
    except GreenboostError:
        listening.close()
        raise


def _make_directory(directory: Path, mode: int) -> None:
    before = os.umask(0o777 & ~mode)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    finally:
        os.umask(before)


def _bind(listening: socket.socket, path: Path, mode: int) -> None:
    """Binds with the mode from the start: between bind and chmod anybody might connect."""
    path.unlink(missing_ok=True)  # of a daemon with our pid that was killed while it started
    before = os.umask(0o777 & ~mode)
    try:
        listening.bind(os.fspath(path))
    finally:
        os.umask(before)


def _claim(temporary: Path, path: Path) -> None:
    """Gives the socket its name, which of several only one can have.

    Raises:
        GreenboostError: somebody listens there, or it is no socket.
        OSError: it cannot be done.
    """
    while True:
        try:
            os.link(temporary, path)
            return
        except FileExistsError:
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise GreenboostError(f"{path}: this is not a socket; move it away") from None
            if _is_answered(path):
                raise GreenboostError(f"another daemon is running: it listens at {path}") from None
            path.unlink(missing_ok=True)


def _is_answered(path: Path) -> bool:
    """Whether anybody listens at a socket, of whatever kind."""
    with socket.socket(socket.AF_UNIX, SEQPACKET | socket.SOCK_NONBLOCK) as probe:
        # ECONNREFUSED: nobody; EAGAIN: somebody who is busy; EPROTOTYPE: somebody who speaks something else.
        return probe.connect_ex(os.fspath(path)) not in (errno.ECONNREFUSED, errno.ENOENT)


def _identity(path: Path) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino
