"""Figures for Prometheus on loopback: base units, no process ids, and series bounded by devices and cgroups in use.

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
from greenboost_py.daemon.view import View

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_LISTEN = re.compile(r"\[?([^\]]*)\]?:(\d+)")

CGROUPS_MAX = 32
"""So many cgroups have series, those with the least room first."""


class Figures:
    """A collector, as prometheus_client calls what it asks at each scrape.

    A scrape runs in a thread of its own: all that it reads is replaced whole, or is a plain number.

    Args:
        view: the newest look; None before the first.
        counters: what the lease server counts.
        books: who holds leases.
    """

    def __init__(self, view: Callable[[], View | None], counters: Counters, books: Callable[[], Books]) -> None:
        self._view, self._counters, self._books = view, counters, books

    def collect(self) -> "Iterator[Metric]":
        """Every figure as it is now."""
        yield _gauge("greenboost_build_info", "The daemon's version; always 1.", {__version__: 1}, "version")
        yield from self._leases()
        view = self._view()
        if view is not None:
            yield from _resources(view)
            yield from _machine(view)

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
        dropped = {"unread": counters.unread, "silent": counters.silent}
        yield _counter("greenboost_lease_dropped", "Connections that were given up.", dropped, "reason")


def _resources(view: View) -> "Iterator[Metric]":
    groups = [each for each in view.assessments if each.sample.resource.startswith("cgroup:")]
    groups.sort(key=lambda each: each.sample.available_bytes)
    shown = {each.sample.resource: each for each in view.assessments if each not in groups[CGROUPS_MAX:]}
    total = {name: each.sample.total_bytes for name, each in shown.items()}
    available = {name: each.sample.available_bytes for name, each in shown.items()}
    level = {name: int(each.level) for name, each in shown.items()}
    left = {name: each.exhausted_in_s for name, each in shown.items() if each.exhausted_in_s is not None}
    yield _gauge("greenboost_resource_total_bytes", "All there is of it.", total, "resource")
    yield _gauge("greenboost_resource_available_bytes", "What can still be had.", available, "resource")
    yield _gauge("greenboost_resource_pressure_level", "0 ok, 1 notice, 2 warn, 3 critical.", level, "resource")
    yield _gauge("greenboost_resource_exhaustion_seconds", "Time until nothing is left.", left, "resource")


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
