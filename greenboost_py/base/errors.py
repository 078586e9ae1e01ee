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

from typing import ClassVar


class GreenboostError(Exception):
    """Something a person can act on; its text is one line that says what is wrong, where, and what to do."""

    exit_code: ClassVar[int] = 1


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
