"""The only reader of /proc, /sys and /etc: what senses the machine takes a SysRoot, and tests give it a tree."""

import errno
import os
import stat
from pathlib import Path

from greenboost_py.base.errors import SensorError

_GONE = frozenset({errno.ENOENT, errno.ESRCH, errno.ENOTDIR, errno.EACCES, errno.EPERM})
"""Not there, gone since it was listed (/proc answers ESRCH), or not ours to see."""

_LINKS_MAX = 40
"""As the kernel's MAXSYMLINKS (include/linux/namei.h)."""

READ_BYTES_MAX = 4 << 20
"""No file that we read is longer than this, by far."""


class SysRoot:
    """A root directory: the machine's, or a captured tree that stands in for it.

    Paths are given without a leading slash. In a tree other than / an absolute link points into the tree, as it would
    after chroot. What is absent, vanished, or closed to this user is None: a process may end between two looks.
    """

    def __init__(self, root: str | os.PathLike[str] = "/") -> None:
        self._root = Path(root).resolve()

    def read_bytes(self, path: str, limit_bytes: int = READ_BYTES_MAX) -> bytes | None:
        """The first `limit_bytes` bytes of a regular file.

        Raises:
            SensorError: it is not a regular file, or reading it fails.
        """
        try:
            # A name may change what it stands for between two looks: never wait for a pipe's other end.
            descriptor = os.open(self._resolve(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with open(descriptor, "rb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise SensorError(f"/{path}", "not a regular file")
                chunks, left = [], limit_bytes
                while left > 0 and (chunk := file.read(left)):
                    chunks.append(chunk)
                    left -= len(chunk)
                return b"".join(chunks)
        except OSError as error:
            return self._absent(path, error)

    def read_text(self, path: str) -> str | None:
        """The text of a file; bytes that are not UTF-8 are kept as surrogates.

        Raises:
            SensorError: as `read_bytes`.
        """
        data = self.read_bytes(path)
        return None if data is None else data.decode("utf-8", "surrogateescape")

    def names(self, path: str) -> tuple[str, ...] | None:
        """The names in a directory, sorted.

        Raises:
            SensorError: reading it fails.
        """
        try:
            return tuple(sorted(os.listdir(self._resolve(path))))
        except OSError as error:
            return self._absent(path, error)

    def link_text(self, path: str) -> str | None:
        """What a symbolic link says, unresolved; None as well for what is not a link.

        Raises:
            SensorError: reading it fails.
        """
        try:
            return os.readlink(self._root / path)
        except OSError as error:
            return None if error.errno == errno.EINVAL else self._absent(path, error)

    def owner(self, path: str) -> int | None:
        """The user id that owns a file.

        Raises:
            SensorError: asking fails.
        """
        try:
            return os.stat(self._resolve(path)).st_uid
        except OSError as error:
            return self._absent(path, error)

    def _resolve(self, path: str) -> Path:
        """Where to open `path`: in / as it is, for links of /proc cannot be followed by their text."""
        full = self._root / path
        if self._root == Path("/"):
            return full
        for _ in range(_LINKS_MAX):
            if not full.is_symlink():
                return full
            target = os.readlink(full)
            full = self._root / target.lstrip("/") if target.startswith("/") else full.parent / target
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    @staticmethod
    def _absent(path: str, error: OSError) -> None:
        if error.errno not in _GONE:
            raise SensorError(f"/{path}", error.strerror or str(error)) from error
