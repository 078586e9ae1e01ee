"""`greenboost run`: becomes the program, with the shim in it."""

import errno
import os
import shlex
import signal
from typing import TYPE_CHECKING

import click

from greenboost_py.base import launch, remembered, shim_files
from greenboost_py.base.errors import CannotRunError, ProgramNotFoundError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.cli import profile_option, shim_options
from greenboost_py.cli.shim_options import ShimOptionsCommand
from greenboost_py.profiles import shelf
from greenboost_py.profiles.assignments import assignments
from greenboost_py.profiles.command import look_at

if TYPE_CHECKING:
    from greenboost_py.profiles.select import Selection, Setting


@click.command(
    cls=ShimOptionsCommand,
    options_metavar="[OPTIONS] [--]",
    context_settings={"allow_interspersed_args": False},
    epilog="Each option sets the environment variable GREENBOOST_<OPTION>; one that is set already stays as it is where"
    " no option is given. A share such as 75% is of the whole that the option's text names.",
)
@profile_option.option
@click.option("--dry-run", is_flag=True, help="Print the profile and the command that would be run, and run nothing.")
@click.argument("program", nargs=-1, type=click.UNPROCESSED, metavar="PROGRAM [ARGUMENT]...")
@click.pass_context
def command(
    ctx: click.Context, /, profile: str | None, dry_run: bool, program: tuple[str, ...], **given: str | bool | None
) -> None:
    """Run PROGRAM with GreenBoost in it.

    The command becomes the program: same process, exit status, signals and input. A program that is known gets the
    settings of its profile, but for what you set yourself. What the program allocates altogether is remembered for this
    command line, in greenboost/programs in your state directory.
    """
    if not program:
        raise click.UsageError("no program given; write: greenboost run [OPTIONS] -- PROGRAM [ARGUMENT]...", ctx)
    environment = dict(os.environ)
    path = launch.find_program(program[0], environment.get("PATH", os.defpath))
    library = shim_files.library(environment)
    launch.check_loads(path, library)

    chosen = shim_options.variables(given)
    log = (environment | chosen).get("GREENBOOST_LOG", "")
    picked = _pick(profile, program, path, environment | chosen)
    chosen = assignments(library, environment, chosen, () if picked is None else picked[1], program)
    if dry_run:
        for line in () if picked is None else profile_option.explanation(*picked):
            click.echo(f"# {line}")
        words = [f"{name}={value}" for name, value in chosen.items()]
        click.echo(shlex.join(["env", *words, *program]))
        return
    if picked is not None and os.isatty(2) and not profile_option.is_quiet(log):
        for line in profile_option.summary(*picked):
            click.echo(f"greenboost: {line}", err=True)
    environment.update(chosen)
    remembered.make_room(environment)
    _drop_coerced_locale(environment)
    _become(path, program, environment)


def _pick(
    asked: str | None, program: tuple[str, ...], path: str, taken: dict[str, str]
) -> "tuple[Selection, tuple[Setting, ...]] | None":
    """The profile, and what becomes of what it sets; None: there is none that might fit, or none is wanted.

    Args:
        asked: its name, or none, or None: the one that fits.
        program: the command line.
        path: the program's file.
        taken: the environment, with the options that were given.
    """
    if asked == shelf.NONE:
        return None
    root = SysRoot()
    command = look_at(program, path, root, _folder())
    sources = shelf.sources(root, taken)
    if asked is None and not any(source.may_match(command) for source in sources.values()):
        return None
    from greenboost_py.profiles.select import select_from, settings  # for the few programs that need it

    selection = select_from(sources, root, command, asked)
    return selection, () if selection.profile is None else settings(selection.profile, taken)


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed: no relative path leads anywhere
        return "/"


def _drop_coerced_locale(environment: dict[str, str]) -> None:
    """Takes back the LC_CTYPE that Python itself sets in the C locale (PEP 538): the program did not ask for it."""
    original = SysRoot().read_bytes("proc/self/environ")
    if original is not None and b"\0LC_CTYPE=" not in b"\0" + original:
        environment.pop("LC_CTYPE", None)


def _become(path: str, program: tuple[str, ...], environment: dict[str, str]) -> None:
    # Python ignores these two in its own process, and what is ignored stays so across exec.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(path, program, environment)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise ProgramNotFoundError(f"{path}: {error.strerror}, or its dynamic loader is missing") from error
        if error.errno == errno.ENOEXEC:
            raise CannotRunError(
                f"{path}: neither a program of this system, nor a script that starts with '#!'"
            ) from error
        raise CannotRunError(f"{path}: {error.strerror}") from error
