"""`greenboost service install --allow-…`: what the daemon may do beyond the usual, and what it was allowed before."""

import ipaddress
from dataclasses import dataclass
from typing import Any

import click

from greenboost_py.base.errors import UsageError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.service.layout import Layout, Rights, networks_of
from greenboost_py.service.record import Record


@dataclass(frozen=True, slots=True)
class Asked:
    """The rights that are asked for, as in `Rights`; None: as before."""

    ttm_limit: bool | None
    terminate: bool | None
    metrics: tuple[str, ...] | None

    @property
    def is_any(self) -> bool:
        """Whether any right is to be given."""
        return bool(self.ttm_limit or self.terminate or self.metrics)


def options(function: Any) -> Any:
    """The options, which go to the command by the names that `asked_for` takes."""
    for option in reversed(
        (
            click.option(
                "--allow-ttm-limit/--no-allow-ttm-limit", default=None, help="Let the daemon set pages_limit ([ttm])."
            ),
            click.option(
                "--allow-terminate/--no-allow-terminate",
                default=None,
                help="Let it end other users' processes ([terminate]).",
            ),
            click.option(
                "--allow-metrics",
                multiple=True,
                metavar="CIDR",
                callback=_check_networks,
                help="Let this network reach /metrics ([metrics] listen); can be given more than once.",
            ),
            click.option("--no-allow-metrics", is_flag=True, help="Let nobody but this machine reach it."),
        )
    ):
        function = option(function)
    return function


def asked_for(
    allow_ttm_limit: bool | None,
    allow_terminate: bool | None,
    allow_metrics: tuple[str, ...],
    no_allow_metrics: bool,
) -> Asked:
    """The rights that the options ask for.

    Raises:
        UsageError: they contradict each other.
    """
    if allow_metrics and no_allow_metrics:
        raise UsageError("--allow-metrics and --no-allow-metrics do not go together")
    return Asked(allow_ttm_limit, allow_terminate, () if no_allow_metrics else allow_metrics or None)


def rights_of(root: SysRoot, record: Record | None, layout: Layout, asked: Asked) -> Rights:
    """The rights that were asked for, else those that were given before.

    Raises:
        SensorError: the drop-in that names the networks is there and cannot be read.
    """
    written = record.files if record is not None else {}
    had = {right: path in written for right, path in layout.drop_ins.items()}
    networks = asked.metrics
    if networks is None:
        text = (root.read_bytes(layout.drop_ins["metrics"]) or b"") if had["metrics"] else b""
        networks = networks_of(text.decode(errors="replace"))
    return Rights(
        ttm_limit=had["ttm_limit"] if asked.ttm_limit is None else asked.ttm_limit,
        terminate=had["terminate"] if asked.terminate is None else asked.terminate,
        metrics=networks,
    )


def _check_networks(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Networks as systemd and people write them."""
    try:
        networks = [ipaddress.ip_network(value) for value in values]
    except ValueError as error:
        raise click.BadParameter(
            f"{error}: write a network such as 10.0.0.0/8, or an address", ctx, parameter
        ) from error
    return tuple(dict.fromkeys(map(str, networks)))
