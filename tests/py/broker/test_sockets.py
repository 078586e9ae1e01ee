import errno
import fcntl
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from greenboost_py.broker import sockets
from greenboost_py.broker.sockets import Peer

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        yield near, far


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_peer_of_a_pair_is_this_process(pair: Pair) -> None:
    assert sockets.peer_of(pair[0]) == Peer(os.getpid(), os.geteuid())


def test_receive_keeps_packets_apart(pair: Pair) -> None:
    pair[1].send(b"one")
    pair[1].send(b"two")
    assert [sockets.receive(pair[0], 8).data for _ in range(2)] == [b"one", b"two"]


def test_receive_of_a_long_packet_is_one_byte_more_and_cut(pair: Pair) -> None:
    pair[1].send(b"x" * 100)
    message = sockets.receive(pair[0], 8)
    assert (message.data, message.is_cut) == (b"x" * 9, True)


@pytest.mark.parametrize("count", [1, 2, 3, 200])
def test_receive_takes_one_descriptor_and_lets_no_other_in(pair: Pair, count: int) -> None:
    with open(os.devnull, "rb") as file:
        before = open_fds()
        socket.send_fds(pair[1], [b"x"], [file.fileno()] * count)
        message = sockets.receive(pair[0], 8)
        assert (len(message.fds), message.is_cut, open_fds()) == (1, count > 1, before + 1)
        assert not os.get_inheritable(message.fds[0])
        message.close()
        message.close()
        assert open_fds() == before


def test_send_to_who_does_not_read_does_not_wait(pair: Pair) -> None:
    with pytest.raises(BlockingIOError):
        for _ in range(100_000):
            sockets.send(pair[0], b"x" * 48)


def test_send_to_nobody_is_an_error_without_a_signal(pair: Pair) -> None:
    pair[1].close()
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        with pytest.raises(BrokenPipeError):
            sockets.send(pair[0], b"x")
    finally:
        signal.signal(signal.SIGPIPE, before)


def test_is_shared_memory_of_a_memfd_only() -> None:
    fd = os.memfd_create("greenboost")
    with open(fd, "rb") as file, open(os.devnull, "rb") as device:
        reading, writing = os.pipe()
        with open(reading, "rb"), open(writing, "wb"):
            assert sockets.is_shared_memory(file.fileno())
            for other in (device.fileno(), reading, writing):
                assert not sockets.is_shared_memory(other)
    assert not sockets.is_shared_memory(fd)


def test_is_shared_memory_of_a_file_of_another_file_system_is_false() -> None:
    with open("/proc/self/status", "rb") as file:
        assert not sockets.is_shared_memory(file.fileno())


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_PATH])
def test_is_shared_memory_that_cannot_be_read_is_false(flags: int) -> None:
    fd = os.memfd_create("greenboost")
    try:
        other = os.open(f"/proc/self/fd/{fd}", flags)
        try:
            assert not sockets.is_shared_memory(other)
        finally:
            os.close(other)
    finally:
        os.close(fd)


@pytest.mark.parametrize("data", [b"", b"{}", bytes(3_000_000)])
def test_sealed_memfd_holds_what_was_written_for_ever(data: bytes) -> None:
    fd = sockets.sealed_memfd(data)
    with open(fd, "r+b", buffering=0) as file:
        assert not os.get_inheritable(fd)
        assert file.tell() == 0
        assert file.read() == data
        for change in (lambda: os.pwrite(fd, b"x", 0), lambda: os.ftruncate(fd, 10_000_000)):
            with pytest.raises(PermissionError):
                change()
        if data:
            with pytest.raises(PermissionError):
                mmap.mmap(fd, len(data), mmap.MAP_SHARED, mmap.PROT_WRITE)
        with pytest.raises(PermissionError):
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0)


def test_sealed_memfd_of_a_kernel_that_knows_no_noexec_is_made_without(monkeypatch: pytest.MonkeyPatch) -> None:
    create = os.memfd_create

    def old_kernel(name: str, flags: int) -> int:
        if flags & ~(os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING):
            raise OSError(errno.EINVAL, "Invalid argument")
        return create(name, flags)

    monkeypatch.setattr(os, "memfd_create", old_kernel)
    fd = sockets.sealed_memfd(b"x")
    assert os.read(fd, 2) == b"x"
    os.close(fd)


def test_sealed_memfd_without_memory_leaves_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = open_fds()
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        sockets.sealed_memfd(b"x")
    assert open_fds() == before


def test_open_process_of_who_cannot_be_seen_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sockets.open_process(0) is None

    def forbidden(pid: int) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "pidfd_open", forbidden)
    assert sockets.open_process(os.getpid()) is None


def test_open_process_of_one_that_has_ended_says_so() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    with pytest.raises(ProcessLookupError):
        sockets.open_process(child.pid)


def test_raise_descriptor_limit_goes_to_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        assert sockets.raise_descriptor_limit() == hard
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
