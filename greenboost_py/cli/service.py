"""`greenboost service`: makes the daemon a service of the system, and undoes it."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from greenboost_py.base.errors import GreenboostError, UsageError
from greenboost_py.base.files import Tree
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.cli import profile_option, service_rights, service_text, shim_options
from greenboost_py.cli.shim_options import ShimOptionsCommand
from greenboost_py.service import manager
from greenboost_py.service.enable import Enabling
from greenboost_py.service.install import Action, Installation
from greenboost_py.service.layout import (
    UNIT,
    USER,
    Layout,
    Rights,
    ServiceFile,
    drop_in_files,
    service_files,
    user_layout,
)
from greenboost_py.service.manager import Command, UnitState
from greenboost_py.service.packaged import packaged_unit, system_layout
from greenboost_py.service.program import Program, check_reachable, this_program


@dataclass(frozen=True, slots=True)
class Target:
    """Where the service is installed.

    Attributes:
        installation: the files.
        is_live: whether it is this system, whose tools are run; False: a tree, in which only files are written.
    """

    installation: Installation
    is_live: bool

    @property
    def layout(self) -> Layout:
        """Where the files go."""
        return self.installation.layout

    @property
    def enabling(self) -> Enabling:
        """The drop-ins of somebody else's services."""
        return Enabling(self.installation.root, self.installation.tree, self.layout)

    @property
    def package(self) -> str | None:
        """The unit that a package brought, without its leading slash; None: the service is ours to install."""
        return packaged_unit(self.installation.root) if self.layout.is_packaged else None

    def manages(self) -> bool:
        """Whether systemd is there to be told."""
        return self.is_live and manager.is_running(SysRoot(), self.layout, os.environ)


def target_of(root: str | None, user: bool, changes: bool) -> Target:
    """Where to install.

    Args:
        root: a tree; None: this system.
        user: for this user alone.
        changes: whether anything will be written.

    Raises:
        GreenboostError: this user may not.
    """
    if user and root is not None:
        raise UsageError("--user and --root do not go together: a user's service is installed in the user's home")
    if root is not None and not os.path.isdir(root):
        raise UsageError(f"--root {root}: there is no such folder")
    if changes and not user and root is None and os.geteuid() != 0:
        raise GreenboostError(
            "a service of the system is installed and removed by root: run it with sudo, or with --user for yourself"
        )
    reads = SysRoot(root or "/")
    layout = user_layout(os.environ) if user else system_layout(reads)
    return Target(Installation(reads, Tree(root or "/"), layout), root is None)


def _where_options(function: Any) -> Any:
    function = click.option("--user", is_flag=True, help="A service of this user alone, in the user's home.")(function)
    return click.option(
        "--root", metavar="DIR", help="Write in the tree at DIR instead of this system, and run no tool."
    )(function)


@click.group()
def command() -> None:
    """Make the daemon a service that starts with the system."""


@command.command(
    epilog="What was changed since it was installed is kept. Running it again finishes what was cut short, and changes"
    " nothing otherwise."
)
@_where_options
@click.option("--dry-run", is_flag=True, help="Print the files and the commands, and write nothing.")
@click.option(
    "--force", is_flag=True, help="Overwrite files that were changed (never config.toml); each keeps a second name."
)
@service_rights.options
@click.option("--executable", metavar="PATH", help="The greenboost command to start  [default: this one]")
def install(
    root: str | None,
    user: bool,
    dry_run: bool,
    force: bool,
    executable: str | None,
    **rights_given: Any,
) -> None:
    """Install the daemon as a service, and start it."""
    target = target_of(root, user, not dry_run)
    asked = service_rights.asked_for(**rights_given)
    if user and asked.is_any:
        raise UsageError("a user's own daemon can be given no such right: leave --user out")
    record = target.installation.record()
    rights = service_rights.rights_of(target.installation.root, record, target.layout, asked)
    files = _files(target, executable, rights)
    changes = target.installation.plan_install(files, force)
    package = target.package
    if package is not None:
        click.echo(f"{service_text.package(package)}.")
    had_user = package is not None or not target.layout.is_system or manager.has_user(target.installation.root)
    make_user = manager.account_commands(target.layout, had_user)
    if dry_run:
        replaces = (record is not None or package is not None) and any(change.is_change for change in changes)
        start = manager.install_commands(target.layout, replaces)
        click.echo(service_text.dry_run(changes, (*make_user, *start)))
        return
    manages = target.manages()

    def run(commands: Sequence[Command]) -> None:
        for one in commands if manages else ():
            manager.run(one)

    def start_it(replaces: bool) -> None:
        for line in service_text.done(changes, target.layout):
            click.echo(line)
        run(manager.install_commands(target.layout, replaces))

    makes_user = manages and not had_user
    changed = target.installation.install(changes, makes_user, start_it, lambda: run(make_user))
    if not changed and package is None:
        click.echo(f"Nothing to change: {len(changes)} files are in place.")
    if manages:
        click.echo(f"{UNIT} is enabled and runs.")
    elif package is not None and target.is_live:
        click.echo("systemd does not run here: it will start the service when it does.")
    elif target.is_live:
        program = executable or this_program(sys.argv[0]).executable
        raise GreenboostError(
            f"the files are in place, but systemd does not run here: start the daemon by hand with '{program} daemon',"
            " or run this again where systemd runs"
        )
    elif package is None:
        click.echo(f"To enable it there: systemctl --root={root} enable {UNIT}")


def _files(target: Target, executable: str | None, rights: Rights) -> tuple[ServiceFile, ...]:
    if target.layout.is_packaged:
        if executable is not None:
            raise UsageError(f"--executable {executable}: the service came with a package, which starts its own")
        return drop_in_files(target.layout, rights)
    given = None if executable is None else Program(executable, (os.path.realpath(executable),))
    program = given or this_program(sys.argv[0])
    if target.is_live and target.layout.is_system:
        check_reachable(program)
    return service_files(target.layout, program.executable, program.places, rights)


@command.command(epilog="Configuration that was changed is kept; so are files that greenboost did not install.")
@_where_options
@click.option("--dry-run", is_flag=True, help="Print what would be removed and the commands, and do nothing.")
@click.option("--purge", is_flag=True, help="Remove config.toml even if it was changed.")
def uninstall(root: str | None, user: bool, dry_run: bool, purge: bool) -> None:
    """Stop the service, and remove what was installed."""
    target = target_of(root, user, not dry_run)
    installation = target.installation
    record = installation.record()
    changes = installation.plan_uninstall(purge)
    there = [change.path for change in changes if change.action is not Action.GONE]
    package = target.package
    made_user = record is not None and record.made_user and package is None
    removes_user = made_user and manager.has_user(installation.root)
    is_active = package is not None and target.manages() and _state(target).active == "active"
    stop = manager.stop_commands(target.layout, there)
    forget = manager.removed_commands(target.layout, removes_user, is_active)
    if dry_run:
        click.echo("\n".join(["# first", *map(str, stop), service_text.dry_run(changes, forget)]))
        return
    manages = target.manages() and record is not None

    def finish() -> None:
        for one in forget if manages else ():
            manager.run(one)

    for one in stop if manages else ():
        manager.run(one)
    installation.uninstall(changes, finish)
    for line in service_text.undone(changes):
        click.echo(line)
    if removes_user and manages:
        click.echo(f"removed the user {USER}")
    if package is not None:
        click.echo(f"{service_text.package(package)}: remove that as you installed it (apt remove greenboost).")
    elif record is None:
        click.echo("No service was installed.")
    for left in target.enabling.enabled():
        click.echo(f"{left.unit} still has GreenBoost in it: greenboost service disable {left.unit}")


def _drop_in_options(function: Any) -> Any:
    for flag, text in (
        ("--restart", "Start the unit anew afterwards, if it runs."),
        ("--yes", "Do not ask."),
        ("--dry-run", "Show what would be written and the commands, and do nothing."),
    ):
        function = click.option(flag, is_flag=True, help=text)(function)
    return click.argument("name")(_where_options(function))


@command.command(
    cls=ShimOptionsCommand,
    epilog="The unit itself stays as it is: what is written is one drop-in, which 'greenboost service disable' takes"
    " away. What the unit preloads already, it keeps; what it sets of GREENBOOST_* goes before the profile.",
)
@_drop_in_options
@profile_option.option
@click.option("--library", metavar="PATH", help="The shim's library, as the unit sees it  [default: this one]")
def enable(
    root: str | None,
    user: bool,
    name: str,
    profile: str | None,
    library: str | None,
    dry_run: bool,
    yes: bool,
    restart: bool,
    **given: str | bool | None,
) -> int:
    """Run somebody else's service NAME with GreenBoost in it, such as ollama.

    Options of 'greenboost run' go before the profile, as there.
    """
    from greenboost_py.cli import service_enable

    target = target_of(root, user, not dry_run)
    consent = service_enable.Consent(dry_run, yes, restart)
    chosen = shim_options.variables(given)
    enabling = target.enabling
    return service_enable.enable(enabling, name, profile, chosen, library, target.is_live, target.manages(), consent)


@command.command(epilog="What else is in the unit's folder of drop-ins stays there.")
@_drop_in_options
def disable(root: str | None, user: bool, name: str, dry_run: bool, yes: bool, restart: bool) -> int:
    """Run somebody else's service NAME as it was before 'enable'."""
    from greenboost_py.cli import service_enable

    target = target_of(root, user, not dry_run)
    consent = service_enable.Consent(dry_run, yes, restart)
    return service_enable.disable(target.enabling, name, target.is_live, target.manages(), consent)


@command.command()
@_where_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(root: str | None, user: bool, as_json: bool) -> None:
    """Show whether the service is installed as it was written, how it runs, and which others run with GreenBoost."""
    target = target_of(root, user, changes=False)
    record = target.installation.record()
    state = _state(target) if target.manages() else None
    files = service_text.file_states(target.installation.root, record)
    enabled = target.enabling.enabled()
    to = service_text.to_json if as_json else service_text.to_text
    click.echo(to(record, files, state, enabled, target.package))


def _state(target: Target) -> UnitState:
    return manager.parse_state(manager.run(manager.state_command(target.layout)))
