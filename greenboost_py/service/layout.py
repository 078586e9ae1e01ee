"""The files that make the daemon a service of the system, or of one user: what they say and where they go."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import PurePosixPath

from greenboost_py.actions import dbus_signal
from greenboost_py.base.config_text import documented_default
from greenboost_py.base.errors import GreenboostError
from greenboost_py.service import unit_text

USER = "greenboost"
"""The system user that the daemon runs as."""

UNIT, NOTIFIER = "greenboostd.service", "greenboost-notify.service"

_HOMES = ("/home", "/root", "/run/user")
"""What ProtectHome= hides. Source: systemd.exec(5)."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What the daemon may do beyond watching, leasing and telling.

    Attributes:
        ttm_limit: set pages_limit of ttm and amdttm.
        terminate: end other users' processes.
        metrics: answer these networks, beside its own machine.
    """

    ttm_limit: bool = False
    terminate: bool = False
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the service's files go; all paths without their leading slash.

    Attributes:
        is_system: for the system, or for one user.
        unit: the daemon's unit.
        notifier: the unit of the desktop notifier, which hears only a system's daemon; None: not installed.
        configuration: the configuration's main file.
        record: where what was installed is written down.
        links: what `systemctl enable` makes for these units.
        is_packaged: whether units, user, policy and configuration came with a package: only drop-ins are ours then.
    """

    is_system: bool
    unit: str
    notifier: str | None
    configuration: str
    record: str
    links: tuple[str, ...]
    is_packaged: bool = False

    @property
    def drop_ins(self) -> dict[str, str]:
        """Where the drop-in goes that grants a right, by the right's name."""
        return {
            "ttm_limit": f"{self.unit}.d/20-ttm-limit.conf",
            "terminate": f"{self.unit}.d/30-terminate.conf",
            "metrics": f"{self.unit}.d/40-metrics.conf",
        }

    @property
    def accounts(self) -> str:
        """Where systemd-sysusers reads of the daemon's user."""
        return "etc/sysusers.d/greenboost.conf"

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders that are nobody else's by their name, the innermost first."""
        configuration = str(PurePosixPath(self.configuration).parent)
        configured = () if self.is_packaged else (f"{configuration}/config.d", configuration)
        return f"{self.unit}.d", *configured, str(PurePosixPath(self.record).parent)


SYSTEM = Layout(
    is_system=True,
    unit=f"etc/systemd/system/{UNIT}",
    notifier=f"etc/systemd/user/{NOTIFIER}",
    configuration="etc/greenboost/config.toml",
    record="var/lib/greenboost/installed.json",
    links=(
        f"etc/systemd/system/multi-user.target.wants/{UNIT}",
        f"etc/systemd/user/graphical-session.target.wants/{NOTIFIER}",
    ),
)

PACKAGED = replace(SYSTEM, is_packaged=True)
"""The system's, where a package of the distribution brought the service."""


def user_layout(environment: Mapping[str, str]) -> Layout:
    """Where the files of a user's own service go.

    Args:
        environment: where $HOME, $XDG_CONFIG_HOME and $XDG_STATE_HOME are looked up.

    Raises:
        GreenboostError: there is no home.

    Source: systemd.unit(5), "Unit File Load Path"; XDG Base Directory Specification.
    """
    home = environment.get("HOME", "")
    if not home.startswith("/"):
        raise GreenboostError("HOME is not set to a folder: a user's service is installed in the user's home")
    config, state = (
        given if (given := environment.get(name, "")).startswith("/") else f"{home}/{usual}"
        for name, usual in (("XDG_CONFIG_HOME", ".config"), ("XDG_STATE_HOME", ".local/state"))
    )
    units = f"{config}/systemd/user".lstrip("/")
    return Layout(
        is_system=False,
        unit=f"{units}/{UNIT}",
        notifier=None,
        configuration=f"{config}/greenboost/config.toml".lstrip("/"),
        record=f"{state}/greenboost/installed.json".lstrip("/"),
        links=(f"{units}/default.target.wants/{UNIT}",),
    )


@dataclass(frozen=True, slots=True)
class ServiceFile:
    """A file of the service.

    Attributes:
        path: where it goes, without its leading slash.
        text: what it says.
        is_configuration: the administrator's to change: never overwritten, and kept where it was changed.
    """

    path: str
    text: str
    is_configuration: bool = False


def service_files(
    layout: Layout, executable: str, places: Sequence[str], rights: Rights, origin: str = ""
) -> tuple[ServiceFile, ...]:
    """Every file of the service, in the order in which they are written: the user comes before what names it.

    Args:
        layout: where they go.
        executable: the absolute path of the greenboost command.
        places: where it and what it needs lie, for what the units may hide.
        rights: what the daemon may do beyond the usual; nothing for a user's.
        origin: a sentence on where they come from; empty: from `greenboost service install`.

    Raises:
        GreenboostError: the path cannot be written in a unit.
    """
    values = {
        "EXECUTABLE": exec_word(executable),
        "PROTECT_HOME": _protect_home([executable, *places]),
        "ORIGIN": origin or f'Written by "greenboost service install{"" if layout.is_system else " --user"}".',
    }
    files = [ServiceFile(layout.configuration, documented_default(), is_configuration=True)]
    if layout.is_system:
        files.append(ServiceFile(layout.accounts, _template("sysusers.conf", values)))
        files.append(ServiceFile(dbus_signal.POLICY_PATH, dbus_signal.policy(USER)))
        files += drop_in_files(layout, rights)
    if layout.notifier is not None:
        files.append(ServiceFile(layout.notifier, _template(NOTIFIER, values)))
    unit = UNIT if layout.is_system else "greenboostd.user.service"
    return (*files, ServiceFile(layout.unit, _template(unit, values)))


def drop_in_files(layout: Layout, rights: Rights) -> tuple[ServiceFile, ...]:
    """The drop-ins that grant the daemon what it may do beyond the usual: of a packaged service all that is written."""
    values = {"NETWORKS": " ".join(rights.metrics)}
    return tuple(
        ServiceFile(path, _template(f"{right.replace('_', '-')}.conf", values))
        for right, path in layout.drop_ins.items()
        if getattr(rights, right)
    )


def networks_of(drop_in: str) -> tuple[str, ...]:
    """The networks that a drop-in for metrics names."""
    values = unit_text.merge([drop_in], "Service").get("IPAddressAllow", ())
    return tuple(network for value in values for network in value.split())


def exec_word(path: str) -> str:
    """A path as the first word of ExecStart=.

    Raises:
        GreenboostError: it has a character that units and shells read differently.

    Source: systemd.service(5), "Command lines"; systemd.unit(5), "Specifiers".
    """
    if not path.startswith("/") or not path.isprintable() or re.search(r"[$\"'\\;]", path):
        raise GreenboostError(f"{path!r} cannot be written in a unit; install greenboost at a plainer path")
    escaped = path.replace("%", "%%")
    return f'"{escaped}"' if " " in path else escaped


def _protect_home(places: Sequence[str]) -> str:
    """`yes` hides homes, where something that the daemon needs may lie; `read-only` does not."""
    return "read-only" if any(is_below(place, _HOMES) for place in places) else "yes"


def is_below(path: str, folders: Sequence[str]) -> bool:
    """Whether a path lies in one of the folders."""
    return any(PurePosixPath(path).is_relative_to(folder) for folder in folders)


def _template(name: str, values: Mapping[str, str]) -> str:
    text = (resources.files("greenboost_py.service") / "files" / name).read_text("utf-8")
    return re.sub("@([A-Z_]+)@", lambda match: values[match[1]], text)
