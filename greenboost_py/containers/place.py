"""The files of a container runtime's host: the spec, a copy of the library, and the socket's directory from boot on."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from greenboost_py.base.ceilings import CEILINGS_PATH
from greenboost_py.base.errors import GreenboostError, LibraryError, UsageError
from greenboost_py.base.files import Tree
from greenboost_py.base.shim_files import LIBRARY_NAME
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.containers.spec import is_ours

_FILE = "greenboost.json"
_AT_BOOT = "etc/tmpfiles.d/greenboost-cdi.conf"

_GLIBC = b"\0libc.so.6\0"
"""What a library that is linked to glibc has among its strings."""


@dataclass(frozen=True, slots=True)
class Write:
    """A file to be written.

    Attributes:
        path: without its leading slash.
        data: what it will hold.
        mode: its permission bits.
        is_change: whether it holds something else now.
    """

    path: str
    data: bytes
    mode: int
    is_change: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where specs are read from.

    Attributes:
        root: the host's files, to read.
        tree: the same, to write.
        directory: the specs', without its leading slash.
        is_system: whether it is this system's own, where the socket's directory is to be there from boot on.
    """

    root: SysRoot
    tree: Tree
    directory: str
    is_system: bool

    @property
    def file(self) -> str:
        """The spec's path, without its leading slash."""
        return f"{self.directory}/{_FILE}"

    def present(self, force: bool) -> str | None:
        """What the spec says now; None: it is not there.

        Args:
            force: take somebody else's file for ours.

        Raises:
            GreenboostError: it is somebody else's.
        """
        text = self.root.read_text(self.file)
        if text is not None and not force and not is_ours(text):
            raise GreenboostError(f"/{self.file} is not a spec of greenboost's: move it away, or add --force")
        return text

    def has_ceilings(self) -> bool:
        """Whether the administrator's file is there."""
        return self.root.owner(CEILINGS_PATH) is not None

    def writes(self, spec: str, socket: PurePosixPath, copy: tuple[str, bytes] | None) -> tuple[Write, ...]:
        """The files that make a spec work, the spec last: what it names is there by then.

        Args:
            spec: its text.
            socket: the daemon's.
            copy: the library's copy: its path without a leading slash, and its bytes.
        """
        return tuple(self._writes(spec, socket, copy))

    def _writes(self, spec: str, socket: PurePosixPath, copy: tuple[str, bytes] | None) -> Iterator[Write]:
        if copy is not None:
            yield self._write(*copy, mode=0o755)
        if self.is_system and socket.is_relative_to("/run"):
            yield self._write(_AT_BOOT, at_boot_text(socket.parent).encode())
        yield self._write(self.file, spec.encode())

    def _write(self, path: str, data: bytes, mode: int = 0o644) -> Write:
        return Write(path, data, mode, self.root.read_bytes(path, len(data) + 1) != data)

    def apply(self, writes: tuple[Write, ...], socket: PurePosixPath) -> None:
        """Writes what is to be changed, and makes the socket's directory where it is missing.

        Raises:
            FileError: the file system refuses.
        """
        if self.is_system:
            self.tree.make_folders(str(socket).lstrip("/"))
        for write in writes:
            if write.is_change:
                self.tree.make_folders(write.path)
                self.tree.write(write.path, write.data, write.mode)

    def remove(self) -> list[str]:
        """Removes the spec, then what was written for boot; returns which were there.

        Raises:
            FileError: the file system refuses.
        """
        paths = (self.file, _AT_BOOT) if self.is_system else (self.file,)
        return [path for path in paths if self.tree.remove(path)]


def at_boot_text(directory: PurePosixPath) -> str:
    """What has systemd make the socket's directory at boot: a runtime refuses to start a container without it.

    Source: tmpfiles.d(5).
    """
    return (
        f"# By greenboost cdi install: containers mount it, whether the daemon runs or not.\nd {directory} 0755 - - -\n"
    )


def check_socket(socket: PurePosixPath) -> None:
    """Checks that a container can be given the socket's directory.

    Raises:
        UsageError: it holds what is not GreenBoost's.
    """
    if len(socket.parts) < 4:
        raise UsageError(
            f"{socket}: its whole directory {socket.parent} would be in every container;"
            " give the daemon's socket a directory of its own"
        )


def read_library(path: Path) -> bytes:
    """The bytes of the library that containers are to have.

    Raises:
        LibraryError: it cannot be read, or no program of a container could load it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LibraryError(f"{path}: {error.strerror}") from error
    if _GLIBC not in data:
        raise LibraryError(
            f"{path} is not linked to glibc (this system's C library may be musl), and containers with glibc could not"
            " load it: name one that was built with glibc in GREENBOOST_LIBRARY"
        )
    return data


def copy_path(directory: str) -> str:
    """Where a copy of the library goes, without a leading slash.

    Raises:
        UsageError: the directory cannot be said so in LD_PRELOAD, or is not absolute.
    """
    if not directory.startswith("/"):
        raise UsageError(f"--copy-library {directory}: write an absolute path, as the host of the containers has it")
    return f"{directory.strip('/')}/{LIBRARY_NAME}"
