"""`greenboost cdi`: has container runtimes put GreenBoost into containers that ask for it, and undoes it."""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import click

from greenboost_py.base import shim_files
from greenboost_py.base.errors import GreenboostError, UsageError
from greenboost_py.base.files import Tree
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.broker.paths import SOCKET_VARIABLE, server_place
from greenboost_py.cli import shim_options
from greenboost_py.cli.shim_options import ShimOptionsCommand
from greenboost_py.containers import place
from greenboost_py.containers.place import Place
from greenboost_py.containers.spec import FULL_NAME, Contents, spec_text
from greenboost_py.service.program import closed_to_others

_DIRECTORY = "etc/cdi"
"""Where every runtime looks, and what is written stays. Source: the CDI specification, "CDI Spec directories"."""

_OPTIONS_EPILOG = (
    "Each option becomes GREENBOOST_<OPTION> in the container's environment, as of 'greenboost run'. What a user sets"
    " there goes no further than the administrator's ceilings (docs/fleet.md)."
)


@dataclass(frozen=True, slots=True)
class _Found:
    """What there is to be mounted.

    Attributes:
        contents: of the spec.
        copy: the library's copy to be made: its path without a leading slash, and its bytes.
    """

    contents: Contents
    copy: tuple[str, bytes] | None


@click.group()
def command() -> None:
    """Put GreenBoost into containers, as a device that their runtimes know."""


@command.command(cls=ShimOptionsCommand, epilog=_OPTIONS_EPILOG)
def generate(**given: str | bool | None) -> None:
    """Print the Container Device Interface spec, and write nothing."""
    where = _place(None, None)
    found = _find(where, None, False, given)
    click.echo(spec_text(found.contents), nl=False)
    _note_daemon(found.contents.socket)


def _where_options(function: Any) -> Any:
    for option in (
        click.option("--force", is_flag=True, help="Take a file of that name for ours, whatever it says."),
        click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing."),
        click.option(
            "--root", metavar="DIR", help="The root of the host, where that is not this one: in a container at DIR."
        ),
        click.option(
            "--directory", metavar="DIR", help=f"Where the host's runtimes look for specs.  [default: /{_DIRECTORY}]"
        ),
    ):
        function = option(function)
    return function


@command.command(cls=ShimOptionsCommand, epilog=_OPTIONS_EPILOG)
@_where_options
@click.option("--copy-library", metavar="DIR", help="Copy the library to DIR of the host, and mount it from there.")
def install(
    directory: str | None,
    root: str | None,
    dry_run: bool,
    force: bool,
    copy_library: str | None,
    **given: str | bool | None,
) -> None:
    """Write the spec where container runtimes look for it."""
    where = _place(directory, root)
    found = _find(where, copy_library, root is not None, given)
    where.present(force)
    text, socket = spec_text(found.contents), found.contents.socket
    writes = where.writes(text, socket, found.copy)
    changes = [write for write in writes if write.is_change]
    if dry_run:
        for write in changes:
            click.echo(f"would write /{write.path}")
        click.echo(text, nl=False)
        return
    where.apply(writes, socket)
    if found.copy is not None:
        _check_reachable(where, found.contents.library)
    for write in changes:
        click.echo(f"wrote /{write.path}")
    if not changes:
        click.echo(f"Nothing to change: /{where.file} is in place.")
    click.echo(f"A container gets it beside its GPU: podman run --device nvidia.com/gpu=all --device {FULL_NAME} …")
    if root is None:
        _note_daemon(socket)


@command.command(epilog="Containers that run keep what they have. A copy of the library is left where it is.")
@_where_options
def remove(directory: str | None, root: str | None, dry_run: bool, force: bool) -> None:
    """Take the spec away: new containers cannot ask for GreenBoost any more."""
    where = _place(directory, root)
    text = where.present(force)
    if text is None:
        click.echo(f"Nothing to remove: there is no /{where.file}.")
        return
    if dry_run:
        click.echo(f"would remove /{where.file}")
        return
    for path in where.remove():
        click.echo(f"removed /{path}")


def _place(directory: str | None, root: str | None) -> Place:
    if root is not None and not os.path.isdir(root):
        raise UsageError(f"--root {root}: there is no such folder")
    if directory is not None and not directory.startswith("/"):
        raise UsageError(f"--directory {directory}: write an absolute path, as the host of the containers has it")
    is_system = directory is None and root is None
    return Place(SysRoot(root or "/"), Tree(root or "/"), (directory or _DIRECTORY).strip("/"), is_system)


def _find(where: Place, copy_library: str | None, is_elsewhere: bool, given: dict[str, Any]) -> _Found:
    """What to mount.

    Raises:
        GreenboostError: a container could not have it.
    """
    variables = shim_options.variables(given)
    named = variables.get(SOCKET_VARIABLE) or os.environ.get(SOCKET_VARIABLE, "")
    socket = PurePosixPath(server_place({SOCKET_VARIABLE: named}, euid=0).path)
    place.check_socket(socket)
    library = shim_files.library(dict(os.environ)).resolve()
    data = place.read_library(library)
    if copy_library is not None:
        copy = place.copy_path(copy_library), data
        return _Found(Contents(f"/{copy[0]}", socket, where.has_ceilings(), variables), copy)
    if is_elsewhere:
        raise UsageError(f"--root: the host does not have {library}; name a directory of its own with --copy-library")
    _check_reachable(where, str(library))
    return _Found(Contents(str(library), socket, where.has_ceilings(), variables), None)


def _check_reachable(where: Place, library: str) -> None:
    """Checks that every user of a container may read the library.

    Raises:
        GreenboostError: some may not.
    """
    closed = closed_to_others([str(where.tree.where(library.lstrip("/")))])
    if closed is not None:
        raise GreenboostError(
            f"{closed} is closed to other users, and programs in containers could not read {library}:"
            " open it to all, or have it copied to where it is open with --copy-library DIR"
        )


def _note_daemon(socket: PurePosixPath) -> None:
    if not Path(socket).is_socket():
        click.echo(
            f"greenboost: note: no daemon listens at {socket}; until one does, each program decides for itself"
            " (greenboost service install)",
            err=True,
        )
