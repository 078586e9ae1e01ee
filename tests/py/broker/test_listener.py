import os
import socket
import stat
from pathlib import Path

import pytest

from greenboost_py.base.errors import GreenboostError
from greenboost_py.broker.listener import open_socket
from greenboost_py.broker.paths import SocketPlace


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.mark.parametrize(("is_for_all", "directory", "file"), [(True, 0o755, 0o666), (False, 0o700, 0o600)])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_open_socket_makes_the_directory_and_the_modes(
    tmp_path: Path, is_for_all: bool, directory: int, file: int, umask: int
) -> None:
    path = tmp_path / "greenboost" / "lease.sock"
    before = os.umask(umask)
    try:
        with open_socket(SocketPlace(path, is_for_all)):
            assert (mode(path.parent), mode(path)) == (directory, file)
            assert answers(path)
            assert [name.name for name in path.parent.iterdir()] == ["lease.sock"]
    finally:
        assert os.umask(before) == umask
    assert list(path.parent.iterdir()) == []


def test_open_socket_leaves_a_directory_that_is_there_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    with open_socket(SocketPlace(tmp_path / "lease.sock", True)):
        assert mode(tmp_path) == 0o750


def test_open_socket_replaces_what_a_dead_daemon_left(tmp_path: Path) -> None:
    path = tmp_path / "lease.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(path))
    with open_socket(SocketPlace(path, True)):
        assert answers(path)


@pytest.mark.parametrize("kind", [socket.SOCK_SEQPACKET, socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_open_socket_where_somebody_listens_is_an_error_and_leaves_it(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "lease.sock"
    with socket.socket(socket.AF_UNIX, kind) as other:
        other.bind(str(path))
        if kind != socket.SOCK_DGRAM:
            other.listen(1)
        identity = path.lstat().st_ino
        with pytest.raises(GreenboostError, match=rf"another daemon is running: it listens at {path}"):
            open_socket(SocketPlace(path, True))
        assert path.lstat().st_ino == identity
        assert list(tmp_path.iterdir()) == [path]


def test_open_socket_where_somebody_is_too_busy_to_answer_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lease.sock"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as busy,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as waiting,
    ):
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        with pytest.raises(GreenboostError, match="another daemon"):
            open_socket(SocketPlace(path, True))


def test_open_socket_where_something_else_is_says_so_and_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "lease.sock"
    path.write_text("precious")
    with pytest.raises(GreenboostError, match="not a socket"):
        open_socket(SocketPlace(path, True))
    assert path.read_text() == "precious"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GreenboostError, match="not a socket"):
        open_socket(SocketPlace(path, True))


@pytest.mark.parametrize(("length", "is_fine"), [(107, True), (108, False), (4000, False)])
def test_open_socket_with_a_long_path_is_an_error_that_says_so(tmp_path: Path, length: int, is_fine: bool) -> None:
    path = tmp_path / ("x" * (length - len(os.fsencode(tmp_path)) - 1))
    if is_fine:
        open_socket(SocketPlace(path, True)).close()
    else:
        with pytest.raises(GreenboostError, match="too long for a socket: at most 107 bytes"):
            open_socket(SocketPlace(path, True))


def test_open_socket_in_a_place_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GreenboostError, match=r"file/lease.sock: the socket cannot be made: "):
        open_socket(SocketPlace(tmp_path / "file" / "lease.sock", True))


def test_close_leaves_the_socket_of_a_successor(tmp_path: Path) -> None:
    path = tmp_path / "lease.sock"
    first = open_socket(SocketPlace(path, True))
    path.unlink()
    with open_socket(SocketPlace(path, True)):
        first.close()
        assert answers(path)


def test_close_of_a_socket_whose_path_is_gone_is_quiet(tmp_path: Path) -> None:
    listener = open_socket(SocketPlace(tmp_path / "lease.sock", True))
    listener.path.unlink()
    listener.close()
