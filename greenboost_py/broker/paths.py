"""Where the lease socket is, for the daemon and for who asks it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from greenboost_py.base.errors import GreenboostError

SOCKET_VARIABLE = "GREENBOOST_SOCKET"

_NAME = "lease.sock"
_SYSTEM_PATH = Path("/run/greenboost") / _NAME


@dataclass(frozen=True, slots=True)
class SocketPlace:
    """Where the daemon listens.

    Attributes:
        path: the socket's; absolute.
        is_for_all: whether every user of the machine may ask there, or only the daemon's own.
    """

    path: Path
    is_for_all: bool


def server_place(environment: Mapping[str, str], euid: int) -> SocketPlace:
    """Where a daemon with this environment and effective user listens.

    $GREENBOOST_SOCKET, else in $RUNTIME_DIRECTORY, which systemd sets, else /run/greenboost for root, and
    $XDG_RUNTIME_DIR/greenboost for others. Everybody may ask root's daemon, and one that runs outside its user's own
    $XDG_RUNTIME_DIR by the will of the service manager.

    Raises:
        GreenboostError: a user without $XDG_RUNTIME_DIR, or a path that is not absolute.
    """
    own = environment.get("XDG_RUNTIME_DIR", "")
    # systemd.exec(5): several directories are separated by colons.
    managed = environment.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if named := environment.get(SOCKET_VARIABLE, ""):
        return SocketPlace(_absolute(SOCKET_VARIABLE, named), euid == 0)
    if managed:
        path = _absolute("RUNTIME_DIRECTORY", managed) / _NAME
        return SocketPlace(path, euid == 0 or not (own and path.is_relative_to(own)))
    if euid == 0:
        return SocketPlace(_SYSTEM_PATH, True)
    if not own:
        raise GreenboostError("there is no place for the socket: set XDG_RUNTIME_DIR, or GREENBOOST_SOCKET to its path")
    return SocketPlace(_absolute("XDG_RUNTIME_DIR", own) / "greenboost" / _NAME, False)


def client_paths(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Where a client looks for the daemon, in this order; what is not absolute is left out.

    $GREENBOOST_SOCKET leaves no other place, as in the shim (lease/daemon.c).
    """
    named, own = environment.get(SOCKET_VARIABLE, ""), environment.get("XDG_RUNTIME_DIR", "")
    paths = (Path(named),) if named else (_SYSTEM_PATH, Path(own) / "greenboost" / _NAME)
    return tuple(path for path in paths if path.is_absolute())


def _absolute(variable: str, text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise GreenboostError(f"{variable}={text}: not an absolute path")
    return path
