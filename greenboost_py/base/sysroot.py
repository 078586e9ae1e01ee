"""The only reader of /proc, /sys and /etc: what senses the machine takes a SysRoot, and tests give it a tree."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from greenboost_py.base.errors import SensorError
from greenboost_py.base.inside import place_inside

_GONE = frozenset({errno.ENOENT, errno.ESRCH, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENODEV, errno.EOPNOTSUPP})
"""Not there, gone since it was listed (/proc answers ESRCH) or opened (cgroups, devices: ENODEV), not ours to see, or
switched off (PSI: EOPNOTSUPP)."""

READ_BYTES_MAX = 4 << 20
"""No file that we read is longer than this, by far."""

_Found = TypeVar("_Found")

_CHUNK_BYTES = 1 << 16
"""Read at a time: room for 4 MiB, made anew for each file of a few hundred bytes, costs more than the reading."""


class SysRoot:
    """A root directory: the machine's, or a captured tree that stands in for it.

    Paths are given without a leading slash. In a tree other than / an absolute link points into the tree, as it would
    after chroot. What is absent, vanished, or closed to this user is None: a process may end between two looks.
    """

    def __init__(self, root: str | os.PathLike[str] = "/") -> None:
        self._root = Path(root).resolve()
        self._is_machine = self._root == Path("/")

    def read_bytes(self, path: str, limit_bytes: int = READ_BYTES_MAX) -> bytes | None:
        """The first `limit_bytes` bytes of a regular file.

        Raises:
            SensorError: it is not a regular file, or reading it fails.
        """
        return self.read_at(path, 0, limit_bytes)

    def read_at(self, path: str, offset_bytes: int, limit_bytes: int) -> bytes | None:
        """Up to `limit_bytes` bytes of a regular file from an offset on; fewer only where it ends.

        Raises:
            SensorError: it is not a regular file, or reading it fails.
        """
        try:
            # A name may change what it stands for between two looks: never wait for a pipe's other end.
            descriptor = os.open(self._resolve(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with open(descriptor, "rb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise SensorError(f"/{path}", "not a regular file")
                if offset_bytes:
                    file.seek(offset_bytes)
                chunks, left = [], limit_bytes
                while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
                    chunks.append(chunk)
                    left -= len(chunk)
                return b"".join(chunks)
        except OSError as error:
            return self._absent(path, error)

    def read_all(self, path: str, limit_bytes: int = _CHUNK_BYTES) -> dict[str, bytes] | None:
        """What the regular files of a directory hold, up to `limit_bytes` of each, by their names, sorted.

        Those that vanish meanwhile, or are closed to this user, are left out.

        Raises:
            SensorError: reading the directory, or one of the files, fails.
        """
        return self._each(path, lambda directory, name: self._read_in(directory, name, f"{path}/{name}", limit_bytes))

    def _read_in(self, directory: int, name: str, path: str, limit_bytes: int) -> bytes | None:
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
            descriptor = os.open(name, flags, dir_fd=directory)
        except OSError as error:
            return None if error.errno == errno.ELOOP else self._absent(path, error)
        try:
            return os.read(descriptor, limit_bytes) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
        except OSError as error:
            return self._absent(path, error)
        finally:
            os.close(descriptor)

    def read_text(self, path: str) -> str | None:
        """The text of a file; bytes that are not UTF-8 are kept as surrogates.

        Raises:
            SensorError: as `read_bytes`.
        """
        data = self.read_bytes(path)
        return None if data is None else data.decode("utf-8", "surrogateescape")

    def open_events(self, path: str) -> int:
        """A descriptor for reading and writing of a file that tells of events, such as those of /proc/pressure.

        Returns:
            The descriptor; the caller closes it.

        Raises:
            OSError: it is not there, or not for this user.
        """
        return os.open(self._resolve(path), os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)

    def write_text(self, path: str, text: str) -> None:
        """Replaces what a regular file holds: a setting of the kernel's. The file must be there; none is ever created.

        Raises:
            SensorError: it is absent, closed to this user, not a regular file, or refuses the value.
        """
        try:
            descriptor = os.open(self._resolve(path), os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK)
            with open(descriptor, "wb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise SensorError(f"/{path}", "not a regular file")
                # One write: that is how the kernel takes a setting.
                data = text.encode()
                if file.write(data) != len(data):
                    raise SensorError(f"/{path}", "took only a part of what was written")
        except OSError as error:
            raise SensorError(f"/{path}", error.strerror or str(error)) from error

    def names(self, path: str) -> tuple[str, ...] | None:
        """The names in a directory, sorted.

        Raises:
            SensorError: reading it fails.
        """
        try:
            return tuple(sorted(os.listdir(self._resolve(path))))
        except OSError as error:
            return self._absent(path, error)

    def folders(self, path: str) -> tuple[str, ...] | None:
        """The names of the directories in a directory, sorted; links to directories are left out.

        Raises:
            SensorError: reading it fails.
        """
        try:
            with os.scandir(self._resolve(path)) as entries:
                return tuple(sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False)))
        except OSError as error:
            return self._absent(path, error)

    def link_text(self, path: str) -> str | None:
        """What a symbolic link says, unresolved; None as well for what is not a link.

        Raises:
            SensorError: reading it fails.
        """
        try:
            place = self._root / path if self._is_machine else place_inside(self._root, path, follows_last=False)
            return os.readlink(place)
        except OSError as error:
            return None if error.errno == errno.EINVAL else self._absent(path, error)

    def links(self, path: str) -> dict[str, str] | None:
        """What the symbolic links in a directory say, unresolved, by their names, sorted; without those that vanish.

        Raises:
            SensorError: reading the directory, or one of the links, fails.
        """

        def read(directory: int, name: str) -> str | None:
            try:
                return os.readlink(name, dir_fd=directory)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOENT):
                    raise
                return None

        return self._each(path, read)

    def _each(self, path: str, read: Callable[[int, str], _Found | None]) -> dict[str, _Found] | None:
        """What is read of a directory's entries, by their names, sorted; without those of which there is nothing.

        By the open directory: a process has thousands of descriptors, and looking up its path takes longest.
        """
        try:
            directory = os.open(self._resolve(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            return self._absent(path, error)
        try:
            entries = ((name, read(directory, name)) for name in sorted(os.listdir(directory)))
            return {name: found for name, found in entries if found is not None}
        except OSError as error:
            return self._absent(path, error)
        finally:
            os.close(directory)

    def owner(self, path: str) -> int | None:
        """The user id that owns a file.

        Raises:
            SensorError: asking fails.
        """
        try:
            return os.stat(self._resolve(path)).st_uid
        except OSError as error:
            return self._absent(path, error)

    def inode(self, path: str) -> int | None:
        """The number of a file on its file system.

        Raises:
            SensorError: asking fails.
        """
        try:
            return os.stat(self._resolve(path)).st_ino
        except OSError as error:
            return self._absent(path, error)

    def is_closed(self, path: str) -> bool:
        """Whether something is there, or may be, that this user may not read: what else reads as absent."""
        try:
            resolved = self._resolve(path)
            os.stat(resolved)
        except OSError as error:
            return error.errno in (errno.EACCES, errno.EPERM)
        return not os.access(resolved, os.R_OK, effective_ids=True)

    def _resolve(self, path: str) -> str | Path:
        """Where to open `path`: in / as it is, for links of /proc cannot be followed by their text."""
        if self._is_machine:
            return f"/{path}"
        return place_inside(self._root, path, follows_last=True)

    @staticmethod
    def _absent(path: str, error: OSError) -> None:
        if error.errno not in _GONE:
            raise SensorError(f"/{path}", error.strerror or str(error)) from error
