"""Which greenboost command a service starts, and whether the service's user can."""

import os
import stat
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from greenboost_py.base.errors import GreenboostError
from greenboost_py.base.shim_files import package_dir
from greenboost_py.service.layout import is_below

_PRIVATE = ("/tmp", "/var/tmp")
"""Of which a service with PrivateTmp= sees its own."""

_ADVICE = "install greenboost for everybody, for example in a virtual environment in /opt or by 'pipx install --global'"


@dataclass(frozen=True, slots=True)
class Program:
    """A greenboost command.

    Attributes:
        executable: its absolute path.
        places: where it and what it runs on lie, links resolved.
    """

    executable: str
    places: tuple[str, ...]


def this_program(argv0: str) -> Program:
    """The command that runs now.

    Args:
        argv0: how this process was started.

    Raises:
        GreenboostError: it was started some other way, and there is no command beside the interpreter.
    """
    beside = Path(sys.executable).parent / "greenboost"
    given = Path(os.path.abspath(argv0))
    executable = given if given.name == "greenboost" and given.is_file() else beside
    if not executable.is_file():
        raise GreenboostError(f"there is no greenboost command beside {sys.executable}: name one with --executable")
    needed = [executable, Path(sys.executable), package_dir(), *(Path(sysconfig.get_path(n)) for n in _LIBRARIES)]
    return Program(str(executable), tuple(dict.fromkeys(str(path.resolve()) for path in needed)))


_LIBRARIES = ("stdlib", "platstdlib", "purelib", "platlib")


def check_reachable(program: Program) -> None:
    """Checks that a user without rights of its own can start the program, and sees it under the unit's protection.

    Raises:
        GreenboostError: it cannot; the message says which folder or file is in the way.
    """
    for place in program.places:
        if is_below(place, _PRIVATE):
            raise GreenboostError(f"{place}: the service has a /tmp of its own and does not see it; {_ADVICE}")
    closed = closed_to_others([program.executable, *program.places])
    if closed is not None:
        raise GreenboostError(
            f"{closed} is closed to other users, and the service's user could not start {program.executable};"
            f" {_ADVICE}, or install the service for yourself alone with --user"
        )


def closed_to_others(places: Sequence[str]) -> str | None:
    """The first folder or file on the way to one of the places that only its owner, or its group, may use.

    Raises:
        GreenboostError: one of them is not there.
    """
    for place in dict.fromkeys(places):
        for path in (*reversed(Path(place).parents), Path(place)):
            try:
                mode = os.stat(path).st_mode
            except OSError as error:
                raise GreenboostError(f"{path}: {error.strerror}") from error
            needed = stat.S_IXOTH if stat.S_ISDIR(mode) and str(path) != place else stat.S_IROTH | stat.S_IXOTH
            if not stat.S_ISDIR(mode) and not mode & stat.S_IXUSR:
                needed = stat.S_IROTH  # a library, not a program
            if mode & needed != needed:
                return str(path)
    return None
