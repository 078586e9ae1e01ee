"""What the system's own tools do for a service: make its user, start and stop it, and say how it is."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from greenboost_py.base.errors import GreenboostError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.service.layout import NOTIFIER, UNIT, USER, Layout

_DEADLINE_S = 120.0
"""Four times what the unit gives the daemon to start."""

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Looked through after $PATH, in which a user's shell often has no sbin."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the system's.

    Attributes:
        argv: the program and its arguments.
        may_fail: whether what it does is not needed everywhere.
    """

    argv: tuple[str, ...]
    may_fail: bool = False

    def __str__(self) -> str:
        return shlex.join(self.argv)


def install_commands(layout: Layout, replaces: bool) -> tuple[Command, ...]:
    """What makes installed files a running service; each may be done again.

    Args:
        layout: the system's, or a user's.
        replaces: whether the files replace others: a daemon that runs is started anew.
    """
    systemctl = _systemctl(layout)
    commands = []
    if replaces:
        # By the unit that it was started with: what that one did before the start, only its own ExecStopPost= undoes.
        commands.append(Command((*systemctl, "stop", UNIT)))
    commands.append(Command((*systemctl, "daemon-reload")))
    if layout.is_system:
        # Not every bus watches for policies. There may be none.
        commands.append(Command((*systemctl, "reload", "dbus.service"), may_fail=True))
    commands.append(Command((*systemctl, "enable", "--now", UNIT)))
    if layout.notifier is not None:
        commands.append(Command((*systemctl, "--global", "enable", NOTIFIER)))
    return tuple(commands)


def account_commands(layout: Layout, has_user: bool) -> tuple[Command, ...]:
    """What makes the daemon's user, once the file is there that describes it.

    Args:
        layout: the system's, or a user's, which has none.
        has_user: whether the user is there.
    """
    if not layout.is_system or layout.is_packaged:
        return ()
    if _find("systemd-sysusers") is not None:
        return (Command(("systemd-sysusers", f"/{layout.accounts}")),)
    if has_user:
        return ()
    options = ("--system", "--user-group", "--no-create-home", "--home-dir", "/", "--shell", "/usr/sbin/nologin")
    return (Command(("useradd", *options, USER)),)


def stop_commands(layout: Layout, found: Sequence[str]) -> tuple[Command, ...]:
    """What ends a service before its files are removed.

    Args:
        layout: the system's, or a user's.
        found: which of its files are there; of a unit that is not, systemd knows nothing to end.

    Returns:
        The commands; of a packaged service none, which goes on.
    """
    if layout.is_packaged:
        return ()
    systemctl = _systemctl(layout)
    commands = []
    if layout.unit in found:
        commands.append(Command((*systemctl, "disable", "--now", UNIT)))
        if layout.is_system:  # its unit keeps the socket's directory; systemd from 243 on removes it so
            commands.append(Command((*systemctl, "clean", "--what=runtime", UNIT), may_fail=True))
    if layout.notifier is not None and layout.notifier in found:
        commands.append(Command((*systemctl, "--global", "disable", NOTIFIER)))
    return tuple(commands)


def removed_commands(layout: Layout, removes_user: bool, is_active: bool) -> tuple[Command, ...]:
    """What makes the system forget a service whose files are gone.

    Args:
        layout: the system's, or a user's.
        removes_user: whether the daemon's user goes too.
        is_active: whether a daemon runs; a packaged one goes on, without what was granted.
    """
    systemctl = _systemctl(layout)
    if layout.is_packaged:
        # Stopped by the unit that it was started with, as in install_commands.
        verbs: tuple[tuple[str, ...], ...] = (("stop", UNIT), ("daemon-reload",), ("start", UNIT))
        return tuple(Command((*systemctl, *verb)) for verb in (verbs if is_active else verbs[1:2]))
    commands = [
        Command((*systemctl, "daemon-reload")),
        Command((*systemctl, "reset-failed", UNIT), may_fail=True),
    ]
    if layout.is_system:
        commands.append(Command((*systemctl, "reload", "dbus.service"), may_fail=True))
    if removes_user:
        commands.append(Command(("userdel", USER)))
    return tuple(commands)


def drop_in_commands(layout: Layout, unit: str, restarts: bool) -> tuple[Command, ...]:
    """What makes a drop-in count that was written or removed.

    Args:
        layout: the system's, or a user's.
        unit: somebody else's.
        restarts: whether the unit is started anew; one that does not run is left so.
    """
    systemctl = _systemctl(layout)
    reload = Command((*systemctl, "daemon-reload"))
    return (reload, Command((*systemctl, "try-restart", "--", unit))) if restarts else (reload,)


def _systemctl(layout: Layout) -> tuple[str, ...]:
    return ("systemctl",) if layout.is_system else ("systemctl", "--user")


def is_running(root: SysRoot, layout: Layout, environment: Mapping[str, str]) -> bool:
    """Whether systemd manages this system, or this user's session. Source: sd_booted(3)."""
    folder = "run/systemd/system"
    if not layout.is_system:
        runtime = environment.get("XDG_RUNTIME_DIR", "")
        folder = f"{runtime}/systemd".lstrip("/") if runtime.startswith("/") else ""
    return bool(folder) and root.names(folder) is not None


def has_user(root: SysRoot) -> bool:
    """Whether the daemon's user is in the system's own list."""
    return any(line.startswith(f"{USER}:") for line in (root.read_text("etc/passwd") or "").splitlines())


def run(command: Command) -> str:
    """Runs a command of the system's.

    Returns:
        What it wrote to stdout.

    Raises:
        GreenboostError: it is not there, takes too long, or failed and may not.
    """
    program = _find(command.argv[0])
    if program is None:
        if command.may_fail:
            return ""
        raise GreenboostError(f"{command.argv[0]} is not installed; what is left to do is: {command}")
    try:
        done = subprocess.run(
            [program, *command.argv[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise GreenboostError(f"{command}: no end after {_DEADLINE_S:g} s; run the same again later") from None
    except OSError as error:
        raise GreenboostError(f"{command}: {error.strerror}") from error
    if done.returncode and not command.may_fail:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise GreenboostError(f"{command}: {said}")
    return done.stdout


def _find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}")


@dataclass(frozen=True, slots=True)
class UnitState:
    """How the daemon's unit is.

    Attributes:
        load: systemd's word: `loaded`, `not-found`, `masked` …
        active: `active`, `failed`, `inactive` …
        sub: more exactly, such as `running` or `dead`.
        enabled: `enabled`, `disabled` … ; empty: there is no such file.
        active_since: seconds of the wall clock since 1970; None: it is not active.
        pid: of the daemon; None: it does not run.
        restarts: how often systemd started it again.
        result: how it ended last: `success`, `watchdog`, `exit-code` …
    """

    load: str
    active: str
    sub: str
    enabled: str
    active_since: int | None
    pid: int | None
    restarts: int
    result: str


_PROPERTIES = (
    *("LoadState", "ActiveState", "SubState", "UnitFileState"),
    *("ActiveEnterTimestamp", "MainPID", "NRestarts", "Result"),
)


def state_command(layout: Layout) -> Command:
    """Asks for the unit's state, times in seconds since 1970."""
    return Command((*_systemctl(layout), "show", UNIT, "--timestamp=unix", f"--property={','.join(_PROPERTIES)}"))


def parse_state(text: str) -> UnitState:
    """Reads what `state_command` prints: a line `name=value` for each property. Source: systemctl(1), show."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    since, pid = values.get("ActiveEnterTimestamp", "").removeprefix("@"), values.get("MainPID", "")
    is_active = values.get("ActiveState") == "active"
    restarts = values.get("NRestarts", "")
    return UnitState(
        load=values.get("LoadState", ""),
        active=values.get("ActiveState", ""),
        sub=values.get("SubState", ""),
        enabled=values.get("UnitFileState", ""),
        active_since=int(since) if is_active and since.isdecimal() else None,
        pid=int(pid) if pid.isdecimal() and int(pid) else None,
        restarts=int(restarts) if restarts.isdecimal() else 0,
        result=values.get("Result", ""),
    )
