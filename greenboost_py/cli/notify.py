"""`greenboost notify`: shows the daemon's warnings on this desktop."""

import asyncio
import os

import click

from greenboost_py.actions import notifier
from greenboost_py.base.sysroot import SysRoot


@click.command(epilog="Ends with exit code 0 on SIGTERM and Ctrl-C.")
@click.option("--test", is_flag=True, help="Show one notification and end; exit code 1 if it cannot be shown.")
def command(test: bool) -> None:
    """Show warnings of short memory on this desktop, until it is ended.

    Runs in a user's session, without privileges. The warnings are the daemon's, from the system's bus.
    """
    environment = dict(os.environ)
    if test:
        asyncio.run(notifier.show_test(environment))
    else:
        asyncio.run(notifier.serve(notifier.Notifier(SysRoot(), os.getuid(), environment)))
