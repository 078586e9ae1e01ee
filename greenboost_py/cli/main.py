"""The `greenboost` command. Exit codes are in base.errors."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from greenboost_py import __version__
from greenboost_py.base.errors import GreenboostError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_COMMANDS = {
    "run": "Run PROGRAM with GreenBoost in it.",
    "env": "Print the variables that `greenboost run` would set, as commands of a shell.",
    "status": "Show how short memory is, and what lies in which tier, by program and device.",
    "top": "Show where memory is, how short it is, and what lies where of each program under GreenBoost.",
    "record": "Write down what `greenboost top` shows, to be drawn later.",
    "plot": "Draw a recording as a timeline.",
    "daemon": "Watch VRAM, GTT and RAM, lease host memory to programs, and warn before memory runs out.",
    "profiles": "List the settings that programs get which greenboost knows, and where each comes from.",
    "service": "Make the daemon a service that starts with the system.",
    "cdi": "Put GreenBoost into containers, as a device that their runtimes know.",
    "probe": "Measure the bandwidth of VRAM, of RAM, and of the link between them.",
    "doctor": "Check drivers, devices, links, memory and settings, and say what to do next.",
    "plan": "Say where a model will lie and how fast it can be.",
    "drill": "Take RAM until the daemon says that it is short, then give it all back.",
    "kernel-params": "Size what an AMD GPU may take of RAM (GTT) in one command, and undo it in one.",
    "notify": "Show warnings of short memory on this desktop, until it is ended.",
    "completion": "Print the script that makes SHELL complete commands and options.",
}
"""Each command with the first sentence of its help, in the order in which help lists them.

Its module is greenboost_py.cli.<name>, with underscores, and has it as `command`. It is imported when it is asked for:
`run` starts fast, and help and completion need none of them.
"""


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names, in the order in which help lists them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None only for a shell that completes a line with a name that there is not."""
        if cmd_name not in _COMMANDS:
            if ctx.resilient_parsing:
                return None
            raise click.UsageError(f"there is no command {cmd_name!r}; write one of {', '.join(_COMMANDS)}", ctx)
        module = importlib.import_module(f"greenboost_py.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the part of the help that lists the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """What a shell may offer for an incomplete word: commands and options."""
        from click.shell_completion import CompletionItem

        commands = [CompletionItem(name, help=text) for name, text in _COMMANDS.items() if name.startswith(incomplete)]
        # Past click.Group's own, which asks every command for its help.
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage; run: 126 the program cannot be run, 127 it was not found,"
    " otherwise the program's own.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Run unmodified CUDA programs past the end of VRAM."""


def main() -> None:
    """Runs the command that sys.argv asks for, and exits. An error is one line on stderr."""
    try:
        result: Any = cli.main(prog_name="greenboost", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "greenboost"
        _fail(where, (error.format_message(),), error.exit_code)
    except GreenboostError as error:
        _fail("greenboost", error.lines, error.exit_code)
    except click.Abort:
        sys.exit(130)  # 128 + SIGINT, as a shell counts
    except BrokenPipeError:
        # Who reads has had enough. Python flushes stdout once more on its way out: give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(result if isinstance(result, int) else 0)


def _fail(where: str, messages: Sequence[str], exit_code: int) -> None:
    for message in messages:
        click.echo(f"{where}: {' '.join(message.split())}", err=True)
    sys.exit(exit_code)
