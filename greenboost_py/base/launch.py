"""Whether a program can be run with the shim's library in it, and how LD_PRELOAD says so.

Source: ld.so(8), LD_PRELOAD and "secure-execution mode"; execve(2); execvp's search, exec(3).
"""

import os
import re
import stat
from pathlib import Path

from greenboost_py.base.elf import Architecture, Elf, ElfError, read_elf
from greenboost_py.base.errors import CannotRunError, LibraryError, ProgramNotFoundError

_SCRIPTS_MAX = 5
"""A script's interpreter may be a script; the kernel gives up after this many (fs/exec.c, exec_binprm)."""

_SCRIPT_LINE_MAX = 256
"""BINPRM_BUF_SIZE: what the kernel reads of a script's first line."""


def find_program(name: str, search_path: str) -> str:
    """Finds a program as execvp does.

    Args:
        name: a path if it has a slash, else looked up.
        search_path: directories, separated by colons; an empty one is the current directory.

    Returns:
        The path of an executable file.

    Raises:
        ProgramNotFoundError: there is none of that name.
        CannotRunError: there is, but it is no executable file.
    """
    if "/" in name:
        candidates = [name]
    else:
        candidates = [os.path.join(folder or ".", name) for folder in search_path.split(":")] if name else []
    refused = ""
    for path in candidates:
        problem = _not_executable(path)
        if problem is None:
            return path
        refused = refused or problem
    if refused:
        raise CannotRunError(refused)
    raise ProgramNotFoundError(f"{name!r}: there is no such program" + ("" if "/" in name else " in $PATH"))


def _not_executable(path: str) -> str | None:
    """Why the file cannot be executed; empty: because it is not there."""
    try:
        mode = os.stat(path).st_mode
    except PermissionError:
        return f"{path}: permission denied"
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return ""
    if stat.S_ISDIR(mode):
        return f"{path} is a directory, not a program"
    if not stat.S_ISREG(mode):
        return f"{path} is not a regular file"
    if not os.access(path, os.X_OK, effective_ids=True):
        return f"{path} is not executable; make it so with 'chmod +x', or run its interpreter"
    return None


def check_loads(program: str, library: Path) -> None:
    """Checks that the dynamic loader would load the library into the program, as far as the files can tell.

    What cannot be told is let through: a file of unknown format may have its own loader (binfmt_misc).

    Args:
        program: the path of an executable file; of a script, its interpreter is looked at.
        library: the shim's.

    Raises:
        LibraryError: the library is not one for this machine.
        CannotRunError: the program cannot have a library preloaded, or not this one.
        ProgramNotFoundError: the script's interpreter is missing.
    """
    built_for = _library_architecture(library)
    binary = _interpreter_of_script(program)
    elf = _program_elf(binary)
    if elf is None:
        return
    what = binary if binary == program else f"{program}: its interpreter {binary}"
    if elf.architecture != built_for:
        width = "" if elf.architecture.bits == built_for.bits else f"{elf.architecture.bits}-bit, for "
        raise CannotRunError(f"{what} is {width}{elf.architecture}, and GreenBoost's library is for {built_for}")
    if elf.interpreter is None:
        raise CannotRunError(f"{what} is linked statically: no library can be loaded into it")
    privilege = _privilege(binary)
    if privilege is not None:
        raise CannotRunError(
            f"{what} is {privilege}: the system loads no foreign library into it;"
            " run greenboost itself with the rights that the program needs"
        )


def preload(library: Path, existing: str) -> str:
    """The value of LD_PRELOAD: the library first, then what is there already.

    Raises:
        LibraryError: the library's path cannot be said there.
    """
    path = str(library)
    if re.search(r"[ :]", path):
        raise LibraryError(
            f"{path!r}: a path with a blank or a colon cannot be in LD_PRELOAD;"
            " move it, or name a copy in GREENBOOST_LIBRARY"
        )
    return ":".join([path, *(entry for entry in re.split("[ :]", existing) if entry not in ("", path))])


def _library_architecture(library: Path) -> Architecture:
    """What the library is built for, which has to be what this very process runs on."""
    try:
        with open(library, "rb") as file:
            elf = read_elf(file)
        with open("/proc/self/exe", "rb") as file:
            own = read_elf(file)
    except (OSError, ElfError) as error:
        raise LibraryError(f"{library}: {error}") from error
    if elf is None:
        raise LibraryError(f"{library} is not a library")
    if own is not None and elf.architecture != own.architecture:
        raise LibraryError(
            f"{library} is for {elf.architecture}, and this machine runs {own.architecture}: build it here"
        )
    return elf.architecture


def _interpreter_of_script(program: str) -> str:
    """The binary that a script ends at; the program itself if it is none."""
    path = program
    for _ in range(_SCRIPTS_MAX):
        try:
            with open(path, "rb") as file:
                line = file.read(_SCRIPT_LINE_MAX).split(b"\n", 1)[0]
        except PermissionError:
            return path  # executable and unreadable: nothing can be told about it
        except OSError as error:
            raise CannotRunError(f"{path}: {error.strerror}") from error
        words = line[2:].split(maxsplit=1) if line.startswith(b"#!") else []
        if not words:
            return path
        path = os.fsdecode(words[0])
        problem = _not_executable(path)
        if problem == "":
            raise ProgramNotFoundError(f"{program}: its interpreter {path!r} does not exist")
        if problem is not None:
            raise CannotRunError(f"{program}: its interpreter cannot be run: {problem}")
    raise CannotRunError(f"{program}: its interpreter is a script, whose interpreter is a script, and so on")


def _program_elf(path: str) -> Elf | None:
    try:
        with open(path, "rb") as file:
            return read_elf(file)
    except PermissionError:
        return None
    except (OSError, ElfError) as error:
        raise CannotRunError(f"{path}: {error}") from error


def _privilege(path: str) -> str | None:
    """What makes the dynamic loader ignore LD_PRELOAD for this user; None: nothing.

    Source: security/commoncap.c, cap_bprm_creds_from_file (secureexec), and mnt_may_suid.
    """
    status = os.stat(path)
    if os.statvfs(path).f_flag & os.ST_NOSUID:
        return None
    if status.st_mode & stat.S_ISUID and status.st_uid != os.getuid():
        return "setuid"
    if status.st_mode & stat.S_ISGID and status.st_mode & stat.S_IXGRP and status.st_gid != os.getgid():
        return "setgid"
    if os.getuid() != 0 and _has_capabilities(path):
        return "given capabilities by its file"
    return None


def _has_capabilities(path: str) -> bool:
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False  # none, or a file system without attributes
