"""Figures for Prometheus, and the small server that shows them."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from greenboost_py.base.config import Config
from greenboost_py.base.errors import GreenboostError, SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.broker.books import Books, Holding
from greenboost_py.broker.leases import Counters
from greenboost_py.broker.protocol import Verdict
from greenboost_py.daemon.metrics import CGROUPS_MAX, Figures, MetricsServer
from greenboost_py.daemon.view import View
from greenboost_py.daemon.watch import Watch
from greenboost_py.pressure.levels import Level

MakeView = Callable[..., View]
GIB = 1 << 30


def figures(view: View | None, books: Books | None = None, counters: Counters | None = None) -> Figures:
    return Figures(lambda: view, counters or Counters(), lambda: books or Books())


def series(of: Figures) -> dict[str, float]:
    """Every series in Prometheus' own text, and its value."""
    registry = CollectorRegistry()
    registry.register(of)
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_figures_before_the_first_look_are_those_of_leases() -> None:
    names = {name.partition("{")[0] for name in series(figures(None))}
    assert names == {
        "greenboost_build_info",
        "greenboost_lease_clients",
        "greenboost_lease_held_bytes",
        "greenboost_lease_pending_bytes",
        "greenboost_lease_grants_total",
        "greenboost_lease_granted_bytes_total",
        "greenboost_lease_refusals_total",
        "greenboost_lease_dropped_total",
    }


def test_figures_of_a_machine_are_its_own(repository: Path) -> None:
    watch = Watch(SysRoot(repository / "tests/sysroots/strix-halo"), Config(), None, lambda: ())
    found = series(figures(watch.look(1.0)))
    assert found['greenboost_resource_total_bytes{resource="gtt:0000:c4:00.0"}'] == 96 * GIB
    assert found['greenboost_resource_available_bytes{resource="gtt:0000:c4:00.0"}'] == 56 * GIB
    assert found["greenboost_gpu_host_bytes"] == 40 * GIB
    assert found['greenboost_ttm_limit_bytes{module="ttm"}'] == 96 * GIB
    assert found["greenboost_looks_total"] == 1
    assert found["greenboost_sensor_errors"] == 0
    assert found["greenboost_memory_stalled_seconds_total"] > 0
    assert not [name for name in found if "exhaustion" in name]


def test_figures_show_levels_trends_and_errors(make_view: MakeView) -> None:
    view = make_view({"ram": Level.CRITICAL, "vram:0000:01:00.0": Level.OK}, 1.0, (SensorError("/proc/swaps", "odd"),))
    view = replace(
        view, changes=3, assessments=(replace(view.assessments[0], exhausted_in_s=7.5), *view.assessments[1:])
    )
    found = series(figures(view))
    assert found['greenboost_resource_pressure_level{resource="ram"}'] == 3
    assert found['greenboost_resource_pressure_level{resource="vram:0000:01:00.0"}'] == 0
    assert found['greenboost_resource_exhaustion_seconds{resource="ram"}'] == 7.5
    assert (found["greenboost_sensor_errors"], found["greenboost_level_changes_total"]) == (1, 3)


def test_figures_of_many_clients_and_cgroups_are_a_bounded_number_of_series(make_view: MakeView) -> None:
    groups = [f"cgroup:/sys/fs/cgroup/job_{number}" for number in range(100)]
    view = make_view({"ram": Level.OK, **dict.fromkeys(groups, Level.OK)})
    # The last ones have the least room.
    assessments = [
        replace(each, exhausted_in_s=5.0, sample=replace(each.sample, available_bytes=GIB - number))
        for number, each in enumerate(view.assessments)
    ]
    view = replace(view, assessments=tuple(assessments))
    books = Books()
    for client in range(200):
        books.put(client, Holding(client + 4_000_000, client, (f"/sys/fs/cgroup/job_{client}",), 5, 2))
    found = series(figures(view, books))
    shown = [name for name in found if name.startswith("greenboost_resource_total_bytes")]
    assert shown[0] == 'greenboost_resource_total_bytes{resource="ram"}'
    assert shown[1:] == [f'greenboost_resource_total_bytes{{resource="{name}"}}' for name in groups[-CGROUPS_MAX:]]
    assert len(found) < 4 * (CGROUPS_MAX + 1) + 40
    assert (found["greenboost_lease_clients"], found["greenboost_lease_held_bytes"]) == (200, 1000)
    assert found["greenboost_lease_pending_bytes"] == 400
    assert not [name for name in found if "400000" in name]


def test_figures_of_refusals_have_every_reason_from_the_start() -> None:
    counters = Counters()
    before = series(figures(None, counters=counters))
    counters.refused[Verdict.PRESSURE] += 2
    counters.silent += 1
    after = series(figures(None, counters=counters))
    assert set(before) == set(after)
    assert after['greenboost_lease_refusals_total{reason="pressure"}'] == 2
    assert after['greenboost_lease_dropped_total{reason="silent"}'] == 1
    assert {name for name in before if "refusals" in name} == {
        f'greenboost_lease_refusals_total{{reason="{verdict.name.lower()}"}}' for verdict in list(Verdict)[1:]
    }


def test_figures_with_a_hostile_name_are_still_one_line_each(make_view: MakeView) -> None:
    view = make_view({"ram": Level.OK, 'cgroup:/sys/fs/cgroup/a"b\nc\\d} 1': Level.OK})
    found = series(figures(view))
    assert found['greenboost_resource_total_bytes{resource="cgroup:/sys/fs/cgroup/a\\"b\\nc\\\\d} 1"}'] == 32 * GIB


@contextmanager
def serving(listen: str = "127.0.0.1:0") -> Iterator[MetricsServer]:
    server = MetricsServer(listen, figures(None))
    try:
        yield server
    finally:
        server.close()


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/metrics", 200), ("GET", "/?x", 200), ("POST", "/metrics", 405)]
)
def test_server_answers_get_alone(method: str, path: str, status: int) -> None:
    with serving() as server:
        request = Request(f"http://127.0.0.1:{server.port}{path}", method=method)
        try:
            with urlopen(request, timeout=30) as answer:
                assert (answer.status, b"greenboost_build_info" in answer.read()) == (status, True)
        except HTTPError as error:
            with error:
                assert error.code == status


@pytest.mark.parametrize(
    "said", [b"", b"\0\xff\r\n\r\n", b"GET", b"GET /" + b"x" * 70000 + b"\r\n", b"GET / HTTP/9\r\n\r\n"]
)
def test_server_hears_nonsense_and_goes_on_without_a_word(said: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with serving() as server:
        with socket.create_connection(("127.0.0.1", server.port)) as visitor:
            visitor.sendall(said)
            visitor.shutdown(socket.SHUT_WR)
            visitor.settimeout(30)
            try:
                while visitor.recv(4096):
                    pass
            except ConnectionResetError:
                pass  # it did not want to read all of it
        with urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=30) as answer:
            assert answer.status == 200
    assert capfd.readouterr() == ("", "")


def test_server_that_is_closed_leaves_its_port() -> None:
    with serving() as server:
        listen = f"127.0.0.1:{server.port}"
    with serving(listen):
        pass


def test_server_where_nothing_can_listen_says_what_to_do() -> None:
    with (
        serving() as server,
        pytest.raises(GreenboostError, match=r'Address already in use; choose another, or "" for'),
    ):
        MetricsServer(f"127.0.0.1:{server.port}", figures(None))
    with pytest.raises(GreenboostError, match=r"listen = '127\.0\.0\.1:99999'"):
        MetricsServer("127.0.0.1:99999", figures(None))
