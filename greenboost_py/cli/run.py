"""`greenboost run`: becomes the program, with the shim in it."""

import errno
import os
import shlex
import signal
from collections.abc import Mapping

import click

from greenboost_py.base import launch, options, remembered, shim_files
from greenboost_py.base.errors import CannotRunError, ProgramNotFoundError
from greenboost_py.base.options import Option, OptionKind
from greenboost_py.base.sysroot import SysRoot


class RunCommand(click.Command):
    """`run`, whose options are the rows of options.def: read when the command is used, not when it is imported."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The shim's options, then those of `run` itself."""
        return [*(_parameter(option) for option in options.load_options()), *super().get_params(ctx)]


def _parameter(option: Option) -> click.Option:
    flag = option.flag_name
    if option.kind is OptionKind.SWITCH:
        return click.Option([f"{flag}/--no-{flag[2:]}", option.id], default=None, help=option.help)

    def check(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
        try:
            return None if value is None else option.check(value)
        except ValueError as error:
            raise click.UsageError(f"{flag}: {error}", ctx) from error

    open_ended = {OptionKind.CHOICE: [], OptionKind.PATH: ["FILE"]}.get(option.kind, ["SIZE"])
    words = [*option.choices, *open_ended]
    text = f"{option.help}  [default: {option.default}]" if option.default else option.help
    return click.Option([flag, option.id], metavar="|".join(words), callback=check, help=text)


@click.command(
    cls=RunCommand,
    options_metavar="[OPTIONS] [--]",
    context_settings={"allow_interspersed_args": False},
    epilog="Each option sets the environment variable GREENBOOST_<OPTION>; one that is set already stays as it is where"
    " no option is given. A share such as 75% is of the whole that the option's text names.",
)
@click.option("--dry-run", is_flag=True, help="Print the command that would be run, and run nothing.")
@click.argument("program", nargs=-1, type=click.UNPROCESSED, metavar="PROGRAM [ARGUMENT]...")
@click.pass_context
def command(ctx: click.Context, /, dry_run: bool, program: tuple[str, ...], **given: str | bool | None) -> None:
    """Run PROGRAM with GreenBoost in it.

    The command becomes the program: same process, exit status, signals and input. What the program allocates altogether
    is remembered for this command line, in greenboost/programs in your state directory.
    """
    if not program:
        raise click.UsageError("no program given; write: greenboost run [OPTIONS] -- PROGRAM [ARGUMENT]...", ctx)
    environment = dict(os.environ)
    path = launch.find_program(program[0], environment.get("PATH", os.defpath))
    library = shim_files.library(environment)
    launch.check_loads(path, library)

    chosen = _environment(given)
    chosen |= remembered.variables(program, environment | chosen)
    chosen["LD_PRELOAD"] = launch.preload(library, environment.get("LD_PRELOAD", ""))
    if dry_run:
        assignments = [f"{name}={value}" for name, value in chosen.items()]
        click.echo(shlex.join(["env", *assignments, *program]))
        return
    environment.update(chosen)
    remembered.make_room(environment)
    _drop_coerced_locale(environment)
    _become(path, program, environment)


def _environment(given: Mapping[str, str | bool | None]) -> dict[str, str]:
    """The variables for the options that were given."""
    chosen = {}
    for option in options.load_options():
        value = given[option.id]
        if value is not None:
            chosen[option.env_name] = str(int(value)) if isinstance(value, bool) else value
    return chosen


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
