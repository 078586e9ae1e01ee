"""What the kernel offers between processes: who the peer is, packets with descriptors, and when a process ends."""

import array
import errno
import fcntl
import os
import resource
import socket
import stat
import struct
from dataclasses import dataclass, field

SEQPACKET = socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC

_FD_BYTES = struct.calcsize("i")
# CMSG_LEN, not CMSG_SPACE: the padding of the latter would hold a second descriptor.
_ONE_FD_BYTES = socket.CMSG_LEN(_FD_BYTES)
_CREDENTIALS = struct.Struct("=iII")
"""struct ucred: pid, uid, gid. Source: unix(7), SO_PEERCRED."""
_MFD_NOEXEC_SEAL = 0x8
"""memfd_create(2), Linux 6.3; some machines allow no other memfd (vm.memfd_noexec)."""
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as it was when it connected.

    Attributes:
        pid: its process as seen from here; 0: not to be seen from here, in another pid namespace.
        uid: its user.
    """

    pid: int
    uid: int


@dataclass(frozen=True, slots=True)
class Message:
    """One packet.

    Attributes:
        data: its bytes, of which at most one more than asked for; empty at the end of the connection.
        fds: descriptors that came along, at most one. Who takes it removes it from the list; `close` closes the rest.
        is_cut: whether bytes or descriptors were lost.
    """

    data: bytes
    fds: list[int] = field(default_factory=list)
    is_cut: bool = False

    def close(self) -> None:
        """Closes the descriptors that nobody took."""
        while self.fds:
            os.close(self.fds.pop())


def peer_of(connection: socket.socket) -> Peer:
    """Who is at the other end of a Unix socket.

    Raises:
        OSError: it is not connected.
    """
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return Peer(pid, uid)


def receive(connection: socket.socket, size_bytes: int, flags: int = 0) -> Message:
    """Takes the next packet.

    Args:
        connection: a SOCK_SEQPACKET socket.
        size_bytes: how long the packet may be. A longer one is cut to one byte more, so that it is seen to be too long.
        flags: for recvmsg(2).

    Raises:
        OSError: there is none (BlockingIOError), or the connection is broken.
    """
    data, control, out_flags, _ = connection.recvmsg(size_bytes + 1, _ONE_FD_BYTES, flags | socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, payload in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % _FD_BYTES])
    return Message(data, list(fds), bool(out_flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)))


def send(connection: socket.socket, data: bytes, fd: int | None = None) -> None:
    """Sends a packet, without waiting for room.

    Raises:
        OSError: nobody is there, or whoever is does not read.
    """
    flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
    if fd is None:
        connection.send(data, flags)
    else:
        socket.send_fds(connection, [data], [fd], flags)


def is_shared_memory(fd: int) -> bool:
    """Whether a descriptor is a memfd (or a file of a tmpfs) that can be read: reading one waits for nobody.

    A file of any other file system may be a network's, or answered by a process (FUSE); only shared memory has seals.
    """
    try:
        mode = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
        fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        return mode != os.O_WRONLY and stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return False


def sealed_memfd(data: bytes) -> int:
    """A memfd with this content, which nobody can change any more, at its start. The caller closes it.

    Raises:
        OSError: there is no memory, or no descriptor, for it.
    """
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        fd = os.memfd_create("greenboost-status", flags | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        fd = os.memfd_create("greenboost-status", flags)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
        os.lseek(fd, 0, os.SEEK_SET)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(fd)
        raise
    return fd


def open_process(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends.

    Returns:
        The descriptor, which the caller closes; None where the kernel gives none (older than 5.3, or forbidden), or
        where the process cannot be seen from here.

    Raises:
        ProcessLookupError: it has ended already.
    """
    if pid <= 0:
        return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError:
        return None


def raise_descriptor_limit() -> int:
    """Allows this process as many descriptors as it may have; answers how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # a sandbox may forbid it
        return soft
    return hard
