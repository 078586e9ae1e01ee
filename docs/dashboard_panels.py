"""What the Grafana dashboard shows: rows of panels, each with its queries on the daemon's metrics (daemon/metrics.py)."""

from dataclasses import dataclass

LEVELS = ("ok", "notice", "warn", "critical")


@dataclass(frozen=True, slots=True)
class Query:
    """A query in PromQL, and what its series are called; `{{label}}` is a label's value."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel.

    Attributes:
        title: at most a few words.
        description: what it shows, and what to make of it.
        unit: Grafana's id of it, such as bytes (powers of 1024) or s.
        queries: what is drawn.
        kind: timeseries, stat, state-timeline or bargauge.
        width: of the 24 columns of the page.
        is_stacked: whether its series are parts of one whole.
        values: what the values 0, 1, 2 … mean; none: they are numbers.
        absent: what is said where there is no value.
        shows_name: a stat shows its series' name instead of the value.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 12
    is_stacked: bool = False
    values: tuple[str, ...] = ()
    absent: str = ""
    shows_name: bool = False


def at(metric: str, labels: str = "") -> str:
    """A metric of the machine that is chosen."""
    return f'{metric}{{instance="$instance"{", " if labels else ""}{labels}}}'


def rate(counter: str) -> str:
    """By how much a counter grows a second."""
    return f"rate({at(counter)}[$__rate_interval])"


def grown(counter: str) -> str:
    """By how much a counter grew since the point before."""
    return f"increase({at(counter)}[$__rate_interval])"


def _of(kind: str) -> tuple[Query, Query]:
    """What there is and what can still be had of a kind of resource, by GPU."""
    return (
        Query(at("greenboost_resource_available_bytes", f'resource=~"{kind}:.+"'), "{{resource}} available"),
        Query(at("greenboost_resource_total_bytes", f'resource=~"{kind}:.+"'), "{{resource}} total"),
    )


RAM_TOTAL = at("greenboost_resource_total_bytes", 'resource="ram"')
RAM_AVAILABLE = at("greenboost_resource_available_bytes", 'resource="ram"')
GROUPS_AVAILABLE = at("greenboost_resource_available_bytes", 'resource="cgroup"')
GPU_HOST = at("greenboost_gpu_host_bytes")

NOW = (
    Panel(
        "Pressure",
        "The worst level of any resource: RAM, VRAM and GTT of each GPU, memory cgroups.",
        "none",
        (Query(f"max({at('greenboost_resource_pressure_level')})", "level"),),
        kind="stat",
        width=4,
        values=LEVELS,
    ),
    Panel(
        "RAM available",
        "What can still be had, without swap.",
        "bytes",
        (Query(RAM_AVAILABLE, "available"),),
        kind="stat",
        width=4,
    ),
    Panel(
        "Lasts for",
        "Time until nothing is left of the resource that is exhausted first, at the present rate.",
        "s",
        (Query(f"min({at('greenboost_resource_exhaustion_seconds')})", "left"),),
        kind="stat",
        width=4,
        absent="no trend",
    ),
    Panel(
        "Held by GPU drivers",
        "RAM that GPU drivers hold and no process list shows.",
        "bytes",
        (Query(GPU_HOST, "held"),),
        kind="stat",
        width=4,
    ),
    Panel(
        "Leased",
        "Host memory that programs under GreenBoost have leased.",
        "bytes",
        (Query(at("greenboost_lease_held_bytes"), "leased"),),
        kind="stat",
        width=4,
    ),
    Panel(
        "Programs",
        "Programs under GreenBoost that are connected to the daemon.",
        "none",
        (Query(at("greenboost_lease_clients"), "programs"),),
        kind="stat",
        width=4,
    ),
)

MEMORY = (
    Panel(
        "RAM",
        "All of RAM in three parts. The middle one is hidden from process lists: pages of GPU drivers.",
        "bytes",
        (
            Query(f"clamp_min({RAM_TOTAL} - {RAM_AVAILABLE} - ignoring(resource) {GPU_HOST}, 0)", "in use"),
            Query(GPU_HOST, "held by GPU drivers"),
            Query(RAM_AVAILABLE, "available"),
        ),
        is_stacked=True,
    ),
    Panel(
        "Swap",
        "Swap in use. What is leased is pinned and is never in it; a grant pushes others into it.",
        "bytes",
        (
            Query(f"{at('greenboost_swap_total_bytes')} - {at('greenboost_swap_free_bytes')}", "in use"),
            Query(at("greenboost_swap_total_bytes"), "total"),
        ),
    ),
    Panel("VRAM", "What can still be had of each GPU's VRAM, and all there is.", "bytes", _of("vram")),
    Panel(
        "GTT",
        "What each AMD GPU can still have of RAM, all it may have, and the kernel's limit on pages of GPU drivers.",
        "bytes",
        (*_of("gtt"), Query(at("greenboost_ttm_limit_bytes"), "{{module}} limit")),
    ),
    Panel(
        "Least room in a memory cgroup",
        "What programs in the fullest group can still have before the kernel ends one of them; greenboost status names it.",
        "bytes",
        (Query(GROUPS_AVAILABLE, "the fullest"),),
    ),
    Panel(
        "Memory cgroups",
        "Groups with a limit in which programs lease, by their level.",
        "none",
        (Query(at("greenboost_cgroups"), "{{level}}"),),
        is_stacked=True,
    ),
)

PRESSURE = (
    Panel(
        "Level of each resource",
        "From notice on no more is advised, at warn people are told, at critical nothing is leased.",
        "none",
        (Query(at("greenboost_resource_pressure_level"), "{{resource}}"),),
        kind="state-timeline",
        values=LEVELS,
    ),
    Panel(
        "Forecast",
        "Time until nothing is left, at the present rate. No line: no trend.",
        "s",
        (Query(at("greenboost_resource_exhaustion_seconds"), "{{resource}}"),),
    ),
    Panel(
        "Waiting for memory",
        "Share of the time in which some task waited for memory (PSI, some).",
        "percentunit",
        (Query(rate("greenboost_memory_stalled_seconds_total"), "waiting"),),
    ),
    Panel(
        "Changes of level",
        "Many in a short time: a threshold is where the machine usually is.",
        "short",
        (Query(grown("greenboost_level_changes_total"), "changes"),),
        width=6,
    ),
    Panel(
        "Processes killed",
        "By the kernel, for want of memory: the machine's, or a cgroup's.",
        "short",
        (Query(grown("greenboost_oom_kills_total"), "killed"),),
        width=6,
    ),
)

LEASES = (
    Panel(
        "Leased host memory",
        "What programs hold, and of it what was granted and is not taken yet.",
        "bytes",
        (
            Query(at("greenboost_lease_held_bytes"), "held"),
            Query(at("greenboost_lease_pending_bytes"), "not taken yet"),
        ),
    ),
    Panel(
        "Requests",
        "Requests for host memory a second, granted and refused. A refused program is told that memory is out.",
        "reqps",
        (
            Query(rate("greenboost_lease_grants_total"), "granted"),
            Query(rate("greenboost_lease_refusals_total"), "refused: {{reason}}"),
        ),
    ),
    Panel(
        "Granted",
        "Host memory granted a second.",
        "binBps",
        (Query(rate("greenboost_lease_granted_bytes_total"), "granted"),),
        width=8,
    ),
    Panel(
        "Programs connected",
        "Programs under GreenBoost, each with one connection.",
        "none",
        (Query(at("greenboost_lease_clients"), "programs"),),
        width=8,
    ),
    Panel(
        "Connections given up",
        "By the daemon: of programs that did not read its answers, or said nothing.",
        "short",
        (Query(grown("greenboost_lease_dropped_total"), "{{reason}}"),),
        width=8,
    ),
)

DAEMON = (
    Panel(
        "Daemon",
        "Whether Prometheus could read its metrics the last time.",
        "none",
        (Query(at("up"), "up"),),
        kind="stat",
        width=4,
        values=("down", "up"),
    ),
    Panel(
        "Version",
        "Of the daemon.",
        "none",
        (Query(at("greenboost_build_info"), "{{version}}"),),
        kind="stat",
        width=4,
        shows_name=True,
    ),
    Panel(
        "Looks at the machine",
        "A second. More when memory changes fast.",
        "cps",
        (Query(rate("greenboost_looks_total"), "looks"),),
        width=8,
    ),
    Panel(
        "Sensor errors",
        "What could not be read at the last look; greenboost status says what.",
        "short",
        (Query(at("greenboost_sensor_errors"), "errors"),),
        width=8,
    ),
)

ROWS = {"Now": NOW, "Memory": MEMORY, "Pressure": PRESSURE, "Leases": LEASES, "Daemon": DAEMON}
