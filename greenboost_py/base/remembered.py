"""What a command allocated the last time it ran, so that it can be expected the next time.

The shim writes the number (GREENBOOST_REMEMBER, shim/alloc/remember.h); this names the file and reads it. One file a
command line, in the user's state directory. Source: XDG Base Directory Specification, $XDG_STATE_HOME.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

_EXPECT, _REMEMBER = "GREENBOOST_EXPECT", "GREENBOOST_REMEMBER"
_NUMBER = re.compile(rb"([0-9]{1,19})\n")


def state_directory(environment: Mapping[str, str]) -> Path | None:
    """Where this user's programs are remembered; None without a home."""
    state = environment.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):  # relative paths are invalid, says the specification
        home = environment.get("HOME", "")
        state = f"{home}/.local/state" if home.startswith("/") else ""
    return Path(state) / "greenboost" / "programs" if state else None


def file_of(command: Sequence[str], directory: Path) -> Path:
    """The file of one command line: its program's name to read, a digest of all of it to tell it apart."""
    digest = hashlib.sha256("\0".join(command).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    name = re.sub(r"[^A-Za-z0-9._+-]", "_", os.path.basename(command[0]))[:64]
    return directory / f"{name}-{digest}"


def read(path: Path) -> int | None:
    """The bytes that the file tells of; None if there is no such file, or it holds anything else."""
    try:
        with open(path, "rb") as file:
            match = _NUMBER.fullmatch(file.read(32))
    except OSError:
        return None
    return int(match[1]) if match else None


def variables(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that make the shim expect what was remembered, and remember anew.

    One that is set already, be it to nothing, stays as it is.
    """
    directory = state_directory(environment)
    if directory is None or _REMEMBER in environment:
        return {}
    path = file_of(command, directory)
    expected = read(path) if _EXPECT not in environment else None
    return {_REMEMBER: str(path)} | ({_EXPECT: str(expected)} if expected else {})


def make_room(environment: Mapping[str, str]) -> None:
    """Makes the directory of the file that the environment names; what cannot be made is not remembered."""
    path = environment.get(_REMEMBER, "")
    if path:
        with contextlib.suppress(OSError):
            Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
