"""What the Grafana dashboard of a fleet shows: figures over all nodes, by the rules of scripts/prometheus, and the worst nodes."""

from dashboard_panels import LEVELS, Panel, Query

_SHOWN = 10
"""Nodes that a panel names, of however many there are."""


def _worst(how: str, expression: str) -> tuple[Query]:
    return (Query(f"{how}({_SHOWN}, {expression})", "{{instance}}"),)


FLEET = (
    Panel(
        "Nodes",
        "Nodes whose daemon Prometheus reads.",
        "none",
        (Query("sum(version:greenboost_nodes:count)", "nodes"),),
        kind="stat",
        width=4,
    ),
    Panel(
        "Daemons that answer",
        "Of all nodes that Prometheus has been told of.",
        "percentunit",
        (Query("job:greenboost_nodes_up:ratio", "answer"),),
        kind="stat",
        width=4,
    ),
    Panel(
        "Nodes at critical",
        "Nodes of which some resource is at level critical.",
        "none",
        (Query('level:greenboost_nodes:count{level="3"}', "critical"),),
        kind="stat",
        width=4,
        absent="none",
    ),
    Panel(
        "Least RAM",
        "Available on the node that has the least.",
        "percentunit",
        (Query("min(instance:greenboost_ram_available:ratio)", "available"),),
        kind="stat",
        width=4,
    ),
    Panel(
        "Leased on all nodes",
        "Host memory that programs under GreenBoost have leased.",
        "bytes",
        (Query("job:greenboost_lease_held_bytes:sum", "leased"),),
        kind="stat",
        width=4,
    ),
    Panel(
        "Programs on all nodes",
        "Programs under GreenBoost that are connected to their node's daemon.",
        "none",
        (Query("job:greenboost_lease_clients:sum", "programs"),),
        kind="stat",
        width=4,
    ),
)

OVER_TIME = (
    Panel(
        "Nodes by level",
        f"By the worst level of any resource of a node: {', '.join(f'{value} {word}' for value, word in enumerate(LEVELS))}.",
        "none",
        (Query("level:greenboost_nodes:count", "level {{level}}"),),
        is_stacked=True,
    ),
    Panel(
        "Nodes by version",
        "Of the daemon. Two for long: an upgrade has stopped halfway.",
        "none",
        (Query("version:greenboost_nodes:count", "{{version}}"),),
        is_stacked=True,
    ),
)

WORST = (
    Panel(
        "Least RAM available",
        f"The {_SHOWN} nodes with the smallest share of RAM that can still be had.",
        "percentunit",
        _worst("bottomk", "instance:greenboost_ram_available:ratio"),
        kind="bargauge",
    ),
    Panel(
        "Highest level",
        f"The {_SHOWN} nodes with the worst level of any resource.",
        "none",
        _worst("topk", "instance:greenboost_pressure_level:max"),
        kind="bargauge",
        values=LEVELS,
    ),
    Panel(
        "Most leased",
        f"The {_SHOWN} nodes whose programs have leased the most host memory.",
        "bytes",
        _worst("topk", "greenboost_lease_held_bytes"),
        kind="bargauge",
    ),
    Panel(
        "Most refusals",
        f"The {_SHOWN} nodes that refuse the most requests for host memory a second.",
        "reqps",
        _worst("topk", "instance:greenboost_lease_refusals:rate5m"),
        kind="bargauge",
    ),
    Panel(
        "Longest waits for memory",
        f"The {_SHOWN} nodes whose tasks wait for memory the largest share of the time.",
        "percentunit",
        _worst("topk", "instance:greenboost_memory_stalled:rate5m"),
        kind="bargauge",
    ),
    Panel(
        "Most processes killed",
        f"The {_SHOWN} nodes on which the kernel killed the most processes for want of memory.",
        "short",
        _worst("topk", "sum by (instance) (increase(greenboost_oom_kills_total[$__range]))"),
        kind="bargauge",
    ),
)

ROWS = {"All nodes": FLEET, "Over time": OVER_TIME, "The nodes to look at": WORST}
