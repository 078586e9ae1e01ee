"""`greenboost drill`: shows that the daemon warns, on purpose and within bounds."""

import os
import time
from typing import Any

import click

from greenboost_py.base.errors import GreenboostError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.base.units import format_size
from greenboost_py.broker.client import find_status

_PAUSE_S = 0.05


def _ask() -> dict[str, Any]:
    status = find_status(os.environ)
    if status is None:
        raise GreenboostError(
            "no daemon is running: start one with 'greenboost service install' or 'greenboost daemon'"
        )
    return status


@click.command(epilog="Exit codes: 0 the daemon has said it, 1 it has not, or none is running.")
@click.option(
    "--until",
    type=click.Choice(["notice", "warn"]),
    default="notice",
    show_default=True,
    help="How short RAM is to become. WARN tells people too: desktops, and hooks that are configured for it.",
)
def command(until: str) -> None:
    """Take RAM until the daemon says that it is short, then give it all back.

    What the machine would rather keep, such as cached files, may be dropped meanwhile. Ctrl-C ends it at once.
    """
    from greenboost_py.daemon import drill
    from greenboost_py.pressure.levels import Level

    drill.be_killed_first(SysRoot())
    wanted = Level[until.upper()]
    shows_progress = os.isatty(2)
    for now in drill.drill(wanted, _ask, lambda: time.sleep(_PAUSE_S)):
        line = (
            f"{format_size(now.taken_bytes)} taken, {format_size(now.available_bytes)} of"
            f" {format_size(now.total_bytes)} left: {now.level.name}"
        )
        if shows_progress:
            click.echo(f"\r{line:<70}", nl=False, err=True)
    if shows_progress:
        click.echo("", err=True)
    click.echo(f"The daemon says {now.level.name}: {line}. It is given back.")
