"""What `greenboost service enable` and `disable` do: the drop-in is planned, shown, agreed to, and written."""

import contextlib
import difflib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from greenboost_py.base import launch, shim_files
from greenboost_py.base.errors import GreenboostError, SensorError
from greenboost_py.cli import profile_option
from greenboost_py.profiles.assignments import variables
from greenboost_py.profiles.command import look_at
from greenboost_py.profiles.select import Selection, Setting, select, settings
from greenboost_py.service import drop_in, manager, program
from greenboost_py.service.drop_in import Wanted
from greenboost_py.service.enable import Enabling
from greenboost_py.service.manager import Command
from greenboost_py.service.units import Unit, find_unit, unit_name

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
"""Where systemd looks for a program that is named without a path. Source: systemd.service(5), "Command lines"."""


@dataclass(frozen=True, slots=True)
class Consent:
    """How far a command goes.

    Attributes:
        dry_run: show, and do nothing.
        yes: do not ask.
        restart: start the unit anew afterwards.
    """

    dry_run: bool
    yes: bool
    restart: bool


def enable(
    enabling: Enabling,
    given: str,
    asked_profile: str | None,
    chosen: Mapping[str, str],
    library: str | None,
    is_live: bool,
    manages: bool,
    consent: Consent,
) -> int:
    """Has a unit run with the shim.

    Args:
        enabling: where.
        given: the unit, as it was named.
        asked_profile: a profile's name, `none`, or None: the one that fits.
        chosen: the variables of the options that were given.
        library: the shim's library as the unit will see it; None: the one that came with this command.
        is_live: whether it is this system, whose files the unit will see.
        manages: whether systemd is there to be told.
        consent: how far to go.

    Returns:
        The exit code.

    Raises:
        GreenboostError: the unit cannot have it, or the file system refuses.
    """
    root, layout = enabling.root, enabling.layout
    unit = find_unit(root, layout, unit_name(given))
    path = library or str(shim_files.library(dict(os.environ)))
    if not path.startswith("/"):
        raise GreenboostError(f"--library {path}: write its absolute path, as {unit.name} sees it")
    files = _environment_files(enabling, unit)
    drop_in.check(unit, path, files)
    if is_live:
        check_loads(unit, Path(path), may_be_closed=not layout.is_system)
    taken = drop_in.environment_of(unit) | dict(chosen)
    selection, found = _profile(enabling, unit, asked_profile, taken, os.environ if is_live else {})
    wanted = Wanted(path, dict(chosen) | variables(found), _remark(selection))
    text = drop_in.text(unit, wanted)
    before = enabling.present(unit.name)
    explanation = profile_option.explanation(selection, found) if consent.dry_run else selection.mistakes
    for line in (*explanation, *drop_in.notes(unit)):
        click.echo(f"# {profile_option.plain(line)}")
    commands = manager.drop_in_commands(layout, unit.name, consent.restart) if is_live else ()
    change = _Change(unit.name, enabling.path(unit.name), before, text, commands if manages or consent.dry_run else ())
    return _carry_out(change, consent, lambda: enabling.write(unit.name, text))


def disable(enabling: Enabling, given: str, is_live: bool, manages: bool, consent: Consent) -> int:
    """Has a unit run as it did before `enable`; arguments, result and errors as there."""
    name = unit_name(given)
    if not enabling.is_enabled(name):
        with contextlib.suppress(GreenboostError):  # its package may be gone; our drop-in may not
            name = find_unit(enabling.root, enabling.layout, name).name
    if not enabling.is_enabled(name):
        enabling.present(name)  # somebody else's of that name is an error
        click.echo(f"{name} is not enabled.")
        return 0
    path = enabling.path(name)
    before = enabling.root.read_text(path) or ""
    commands = manager.drop_in_commands(enabling.layout, name, consent.restart) if is_live else ()
    change = _Change(name, path, before, "", commands if manages or consent.dry_run else ())
    return _carry_out(change, consent, lambda: enabling.remove(name))


def check_loads(unit: Unit, library: Path, may_be_closed: bool) -> None:
    """Checks on this system that the unit's program can have the library, and may read it.

    Raises:
        GreenboostError: it cannot.
    """
    if not library.is_file():
        raise GreenboostError(f"{library}: there is no such file; name another with --library")
    if drop_in.runs_as_other(unit) and not may_be_closed:
        closed = program.closed_to_others([str(library)])
        if closed is not None:
            raise GreenboostError(f"{closed} is closed to other users, and {unit.name} could not read {library}")
    name = drop_in.command_of(unit)[0]
    if "%" in name or "$" in name:
        return  # only systemd knows
    try:
        launch.check_loads(launch.find_program(name, _SYSTEM_PATH), library)
    except GreenboostError as error:
        raise GreenboostError(f"{unit.name}: {error}") from error


def _environment_files(enabling: Enabling, unit: Unit) -> dict[str, str]:
    """The texts of the unit's environment files that can be read now."""
    texts = {}
    for word in unit.words("EnvironmentFile"):
        path = word.removeprefix("-")
        try:
            text = enabling.root.read_text(path.lstrip("/"))
        except SensorError as error:
            raise GreenboostError(f"{unit.name}: EnvironmentFile={word}: {error.text}") from error
        if text is not None:
            texts[path] = text
    return texts


def _profile(
    enabling: Enabling, unit: Unit, asked: str | None, taken: Mapping[str, str], user: Mapping[str, str]
) -> tuple[Selection, tuple[Setting, ...]]:
    argv = drop_in.command_of(unit)
    folder = unit.last("WorkingDirectory").lstrip("-")
    command = look_at(argv, argv[0], enabling.root, folder if folder.startswith("/") else "/")
    selection = select(enabling.root, user, command, asked)
    return selection, () if selection.profile is None else settings(selection.profile, taken)


def _remark(selection: Selection) -> str:
    if selection.profile is None:
        return "No profile: the library's defaults, and what was asked for."
    return profile_option.plain(f"Profile {selection.profile.name} ({selection.reason}), and what was asked for.")


@dataclass(frozen=True, slots=True)
class _Change:
    """A drop-in that becomes another, or comes or goes.

    Attributes:
        unit: whose it is.
        path: its file, without the leading slash.
        before: what it says; empty: it is not there.
        after: what it will say; empty: it goes.
        commands: what has systemd see it.
    """

    unit: str
    path: str
    before: str
    after: str
    commands: tuple[Command, ...]


def _carry_out(change: _Change, consent: Consent, act: Callable[[], object]) -> int:
    """Shows a change, asks, does it, and has systemd see it."""
    if change.before == change.after and change.after:
        click.echo(f"Nothing to change: {change.unit} has the drop-in already.")
    else:
        old, new = (f"/{change.path}" if text else "nothing" for text in (change.before, change.after))
        diff = difflib.unified_diff(change.before.splitlines(), change.after.splitlines(), old, new, lineterm="")
        click.echo("\n".join(profile_option.plain(line) for line in diff))
    if consent.dry_run:
        for command in change.commands:
            click.echo(f"# then: {command}")
        return 0
    if change.before != change.after:
        if not consent.yes and not _has_somebody():
            raise GreenboostError("nothing was changed: there is nobody to ask; add --yes")
        if not consent.yes and not click.confirm("Apply it?"):
            click.echo("Nothing was changed.")
            return 1
    act()  # where there is nothing to change, an attempt that was cut short counts as complete from here on
    if change.before != change.after:
        click.echo(f"{'wrote' if change.after else 'removed'} /{change.path}")
    for command in change.commands:
        manager.run(command)
    if not (consent.restart and change.commands):
        click.echo(f"It counts from the next start of {change.unit} on: systemctl restart {change.unit}")
    return 0


def _has_somebody() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()
