"""Every error that a person may see, and the exit code it ends with.

Exit codes of `greenboost`:

======  ==================================================================================
0       done
1       failed: what was asked for could not be done
2       usage: an option or an argument is wrong
126     `run`: the program was found but cannot be run, or not under the shim
127     `run`: the program was not found
======  ==================================================================================

126 and 127 are those of `env` and `nohup`. Once the program runs, the exit status is the program's own.
"""

import errno
from collections.abc import Sequence
from typing import ClassVar

_HINTS = {
    errno.EROFS: ": remount it for writing, or write to a copy of the system with --root",
    errno.EACCES: ": run it as root",
    errno.EPERM: ": run it as root; lsattr shows whether the file is immutable",
    errno.ENOSPC: ": make room and run it again",
}
"""What to do about it, after the kernel's word for what is wrong."""


class GreenboostError(Exception):
    """Something a person can act on; its text is one line that says what is wrong, where, and what to do."""

    exit_code: ClassVar[int] = 1

    @property
    def lines(self) -> tuple[str, ...]:
        """What is shown of it: its text, or more than one such line where several things are wrong at once."""
        return (str(self),)


class UsageError(GreenboostError):
    """The command line asks for something that does not exist or makes no sense."""

    exit_code = 2


class CannotRunError(GreenboostError):
    """The program is there, but cannot be run, or not with the shim in it."""

    exit_code = 126


class ProgramNotFoundError(GreenboostError):
    """The program, or the interpreter its script asks for, is not there."""

    exit_code = 127


class LibraryError(GreenboostError):
    """The shim's library is missing, or cannot be used here."""


class InstallError(GreenboostError):
    """A file that belongs to GreenBoost itself is missing or malformed."""


class ConfigError(GreenboostError):
    """The configuration cannot be used.

    Args:
        mistakes: all that is wrong with it, at least one; each is a line that names the file, the place and what is
            accepted.
    """

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = tuple(mistakes)

    @property
    def lines(self) -> tuple[str, ...]:
        """A line for each mistake."""
        return self.mistakes


class FileError(GreenboostError):
    """A file could not be written or removed.

    Args:
        path: the file, as seen from the system's root.
        error: what the kernel said.
    """

    def __init__(self, path: str, error: OSError) -> None:
        hint = _HINTS.get(error.errno or 0, "")
        super().__init__(f"{path}: {(error.strerror or str(error)).lower()}{hint}")
        self.path = path
        self.errno = error.errno


class SensorError(GreenboostError):
    """A file of the system's is there, but does not hold what it should.

    Args:
        path: the file, as seen from the system's root.
        text: what is wrong with it.
    """

    def __init__(self, path: str, text: str) -> None:
        super().__init__(f"{path}: {text}")
        self.path = path
        self.text = text
