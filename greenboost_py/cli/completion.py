"""`greenboost completion`: what a shell needs to complete our command line."""

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog="\b\nbash: greenboost completion bash > ~/.local/share/bash-completion/completions/greenboost"
    "\nzsh:  greenboost completion zsh > a file named _greenboost in a folder of $fpath"
    "\nfish: greenboost completion fish > ~/.config/fish/completions/greenboost.fish"
)
@click.argument("shell", type=click.Choice(_SHELLS))
def command(shell: str) -> None:
    """Print the script that makes SHELL complete commands and options."""
    click.echo(script(shell))


def script(shell: str) -> str:
    """The script for one of the shells, which asks `greenboost` itself each time."""
    kind = get_completion_class(shell)
    assert kind is not None
    return kind(command, {}, "greenboost", "_GREENBOOST_COMPLETE").source()
