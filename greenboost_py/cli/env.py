"""`greenboost env`: the variables that `greenboost run` would set, for whoever starts programs otherwise."""

import os
import shlex
import sys

import click

from greenboost_py.base import shim_files
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.cli import profile_option, shim_options
from greenboost_py.cli.shim_options import ShimOptionsCommand
from greenboost_py.profiles.assignments import assignments, settings_of


@click.command(
    cls=ShimOptionsCommand,
    epilog='For example: eval "$(greenboost env --vram-limit 8GiB --profile pytorch)". There is no program to look at:'
    " a profile is used where it is named, and nothing is remembered from run to run. What a shell starts from then on"
    " has the library in it, which leaves a program without CUDA alone.",
)
@click.option(
    "--profile",
    metavar="NAME|none",
    shell_complete=profile_option.complete,
    help="The settings of this profile; 'greenboost profiles' lists them  [default: none]",
)
@click.option("--null", "-0", is_flag=True, help="Print NAME=VALUE, each ended by a NUL, for programs that read it.")
def command(profile: str | None, null: bool, **given: str | bool | None) -> None:
    """Print the variables that `greenboost run` would set, as commands of a shell.

    What the environment sets already stays as it is where no option is given, and LD_PRELOAD keeps what it has.
    """
    environment = dict(os.environ)
    library = shim_files.library(environment)
    chosen = shim_options.variables(given)
    found = settings_of(SysRoot(), environment | chosen, profile)
    for name, value in assignments(library, environment, chosen, found).items():
        # What a path holds need be no text.
        line = f"{name}={value}\0" if null else f"export {name}={shlex.quote(value)}\n"
        sys.stdout.buffer.write(os.fsencode(line))
