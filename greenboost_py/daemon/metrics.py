"""Figures for Prometheus: base units, no name of a program, user or cgroup, and no more series than `series_max`.

Prometheus keeps every series that it has ever seen: a label with a cgroup's path would be new ones with every job. So
cgroups are counted by their level, and of all of them the least room is told; greenboost status says which one it is.

Source: prometheus.io/docs/practices/naming.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from greenboost_py import __version__
from greenboost_py.base.errors import GreenboostError
from greenboost_py.broker.books import Books
from greenboost_py.broker.leases import Counters
from greenboost_py.broker.protocol import Verdict
from greenboost_py.daemon.view import View
from greenboost_py.pressure.levels import Assessment, Level
from greenboost_py.sensors.ttm import MODULES

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_LISTEN = re.compile(r"\[?([^\]]*)\]?:(\d+)")

GPUS_MAX = 64
"""So many GPUs have series, the first by their PCI addresses. No driver has more: MAX_GPU_INSTANCE (64) in amdgpu.h,
NV_MAX_DEVICES (32) in nvlimits.h."""

_CGROUP = "cgroup"
"""The resource that stands for all memory cgroups."""

_ALONE = 14
"""Metrics without a label, and greenboost_build_info."""

_OF_A_RESOURCE = 4
_OF_ALL_CGROUPS = 3
_DROPPED = ("unread", "silent")


def series_max(gpus: int) -> int:
    """The most series that one scrape has, whatever runs.

    Args:
        gpus: GPUs of the machine; each has VRAM, and one of AMD's GTT as well.
    """
    reasons = len(Verdict) - 1 + len(_DROPPED)  # all but GRANTED
    resources = 1 + 2 * min(gpus, GPUS_MAX)  # RAM
    return _ALONE + reasons + len(Level) + len(MODULES) + _OF_A_RESOURCE * resources + _OF_ALL_CGROUPS


class Figures:
    """A collector, as prometheus_client calls what it asks at each scrape.

    A scrape runs in a thread of its own: all that it reads is replaced whole, or is a plain number.

    Args:
        view: the newest look; None before the first.
        counters: what the lease server counts.
        books: who holds leases.
        oom_kills: how many processes the kernel has killed for want of memory; None: it does not say.
    """

    def __init__(
        self,
        view: Callable[[], View | None],
        counters: Counters,
        books: Callable[[], Books],
        oom_kills: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._view, self._counters, self._books, self._oom_kills = view, counters, books, oom_kills

    def collect(self) -> "Iterator[Metric]":
        """Every figure as it is now."""
        yield _gauge("greenboost_build_info", "The daemon's version; always 1.", {__version__: 1}, "version")
        yield from self._leases()
        view = self._view()
        if view is not None:
            yield from _resources(view)
            yield from _machine(view)
        kills = self._oom_kills()
        if kills is not None:
            yield _counter("greenboost_oom_kills", "Processes that the kernel killed for want of memory.", kills)

    def _leases(self) -> "Iterator[Metric]":
        counters, books = self._counters, self._books()
        held_bytes, pending_bytes = books.totals()
        yield _gauge("greenboost_lease_clients", "Programs that are connected.", len(books))
        yield _gauge("greenboost_lease_held_bytes", "Host memory leased to programs.", held_bytes)
        yield _gauge("greenboost_lease_pending_bytes", "Of that, granted and not taken yet.", pending_bytes)
        yield _counter("greenboost_lease_grants", "Requests that were granted.", counters.granted)
        yield _counter("greenboost_lease_granted_bytes", "Bytes of those.", counters.granted_bytes)
        refused = {verdict.name.lower(): count for verdict, count in counters.refused.items()}
        yield _counter("greenboost_lease_refusals", "Requests that were refused.", refused, "reason")
        dropped = {reason: getattr(counters, reason) for reason in _DROPPED}
        yield _counter("greenboost_lease_dropped", "Connections that were given up.", dropped, "reason")


def _resources(view: View) -> "Iterator[Metric]":
    groups = [each for each in view.assessments if _kind(each) == "cgroup"]
    others = [each for each in view.assessments if _kind(each) != "cgroup"]
    gpus = sorted({_address(each) for each in others} - {""})[:GPUS_MAX]
    shown = {each.sample.resource: each for each in others if _address(each) in {"", *gpus}}
    total = {name: each.sample.total_bytes for name, each in shown.items()}
    available = {name: each.sample.available_bytes for name, each in shown.items()}
    level = {name: int(each.level) for name, each in shown.items()}
    left = {name: each.exhausted_in_s for name, each in shown.items() if each.exhausted_in_s is not None}
    if groups:
        available[_CGROUP] = min(each.sample.available_bytes for each in groups)
        level[_CGROUP] = max(int(each.level) for each in groups)
        soonest_s = [each.exhausted_in_s for each in groups if each.exhausted_in_s is not None]
        left |= {_CGROUP: min(soonest_s)} if soonest_s else {}
    at_level = {name.name.lower(): sum(each.level is name for each in groups) for name in Level}
    yield _gauge("greenboost_resource_total_bytes", "All there is of it.", total, "resource")
    yield _gauge(
        "greenboost_resource_available_bytes", "What can still be had; of cgroups: the least.", available, "resource"
    )
    yield _gauge(
        "greenboost_resource_pressure_level",
        "0 ok, 1 notice, 2 warn, 3 critical; of cgroups: the worst.",
        level,
        "resource",
    )
    yield _gauge("greenboost_resource_exhaustion_seconds", "Time until nothing is left.", left, "resource")
    yield _gauge(
        "greenboost_cgroups", "Memory cgroups with a limit in which programs lease, by level.", at_level, "level"
    )


def _kind(assessment: Assessment) -> str:
    return assessment.sample.resource.partition(":")[0]


def _address(assessment: Assessment) -> str:
    """The GPU's; empty for RAM."""
    return assessment.sample.resource.partition(":")[2]


def _machine(view: View) -> "Iterator[Metric]":
    snapshot = view.snapshot
    yield _gauge("greenboost_gpu_host_bytes", "RAM that GPU drivers hold.", view.gpu_host_bytes)
    if snapshot.ram is not None:
        yield _gauge("greenboost_swap_total_bytes", "All swap.", snapshot.ram.swap_total_bytes)
        yield _gauge("greenboost_swap_free_bytes", "Swap that is free.", snapshot.ram.swap_free_bytes)
    if snapshot.psi is not None:
        stalled_s = snapshot.psi.some_total_us / 1e6
        yield _counter("greenboost_memory_stalled_seconds", "Time in which some task waited for memory.", stalled_s)
    limits = {each.module: each.limit_bytes for each in snapshot.ttm if each.limit_bytes is not None}
    yield _gauge("greenboost_ttm_limit_bytes", "What GPU drivers may take of RAM (pages_limit).", limits, "module")
    yield _counter("greenboost_looks", "Looks at the machine.", view.looks)
    yield _counter("greenboost_level_changes", "Changes of any resource's level.", view.changes)
    yield _gauge("greenboost_sensor_errors", "What could not be read at the last look.", len(snapshot.errors))


def _gauge(name: str, help: str, values: float | Mapping[str, float], label: str = "") -> "Metric":
    from prometheus_client.core import GaugeMetricFamily

    return _filled(GaugeMetricFamily(name, help, labels=[label] if label else []), values)


def _counter(name: str, help: str, values: float | Mapping[str, float], label: str = "") -> "Metric":
    from prometheus_client.core import CounterMetricFamily

    return _filled(CounterMetricFamily(name, help, labels=[label] if label else []), values)


def _filled(family: "GaugeMetricFamily | CounterMetricFamily", values: float | Mapping[str, float]) -> "Metric":
    """One series, or one for each value of the label."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            family.add_metric([name], value)
    else:
        family.add_metric([], values)
    return family


class MetricsServer:
    """Serves /metrics, from a thread.

    Args:
        listen: `address:port`, as the configuration has it; port 0: any.
        figures: what is served.

    Raises:
        GreenboostError: nothing can listen there.
    """

    def __init__(self, listen: str, figures: Figures) -> None:
        from prometheus_client import CollectorRegistry

        from greenboost_py.daemon import metrics_http

        match = _LISTEN.fullmatch(listen)
        assert match is not None  # the configuration has been checked
        registry = CollectorRegistry()
        registry.register(figures)
        try:
            self._server = metrics_http.open_server(match[1], int(match[2]), registry)
        except (OSError, OverflowError) as error:
            raise GreenboostError(f'[metrics] listen = {listen!r}: {error}; choose another, or "" for none') from error
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
