"""`greenboost daemon`: watches memory, leases host memory to programs, and warns."""

import os
from pathlib import Path

import click

from greenboost_py.base import config_file
from greenboost_py.base.sysroot import SysRoot


@click.command(
    epilog="SIGHUP reads the configuration anew; SIGTERM ends the daemon, and puts back what it changed. Every key is"
    " in docs/configuration.md. `greenboost service install` makes a service of it."
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The configuration; FILE's neighbours in config.d/ are read after it."
    " [default: /etc/greenboost/config.toml, for a user greenboost/config.toml in $XDG_CONFIG_HOME]",
)
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where to listen. [default: /run/greenboost/lease.sock, for a user greenboost/lease.sock in $XDG_RUNTIME_DIR]",
)
@click.option("--check", is_flag=True, help="Read the configuration, say what is wrong with it, and do nothing else.")
def command(config_path: Path | None, socket: Path | None, check: bool) -> None:
    """Watch VRAM, GTT and RAM, lease host memory to programs, and warn before memory runs out.

    It stays in the foreground and writes to the journal, or to stderr where there is none.
    """
    environment = dict(os.environ)
    if socket is not None:
        environment["GREENBOOST_SOCKET"] = os.path.abspath(socket)
    root = SysRoot()
    is_given = config_path is not None
    path = os.path.abspath(config_path)[1:] if config_path else config_file.default_file(environment, os.geteuid())
    if check:
        config_file.load(root, path, is_given)
        click.echo(f"/{path}: no mistakes")
        return
    from greenboost_py.broker.paths import server_place
    from greenboost_py.daemon import loop
    from greenboost_py.daemon.daemon import Setting

    loop.run(Setting(root, server_place(environment, os.geteuid()), path, is_given, environment))
