"""Figures for Prometheus, and the small server that shows them."""

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from greenboost_py.base.config import Config
from greenboost_py.base.errors import GreenboostError, SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.broker.books import Books, Holding
from greenboost_py.broker.leases import Counters
from greenboost_py.broker.protocol import Verdict
from greenboost_py.daemon import metrics_http
from greenboost_py.daemon.metrics import GPUS_MAX, Figures, MetricsServer, series_max
from greenboost_py.daemon.view import View
from greenboost_py.daemon.watch import Watch
from greenboost_py.pressure.levels import Assessment, Level, Sample
from greenboost_py.sensors.psi import PsiReading
from greenboost_py.sensors.snapshot import Snapshot
from greenboost_py.sensors.ttm import MODULES, TtmReading

MakeView = Callable[..., View]
GIB = 1 << 30


def figures(view: View | None, books: Books | None = None, counters: Counters | None = None) -> Figures:
    return Figures(lambda: view, counters or Counters(), lambda: books or Books())


def series(of: Figures) -> dict[str, float]:
    """Every series in Prometheus' own text, and its value."""
    registry = CollectorRegistry()
    registry.register(of)
    lines = [line for line in generate_latest(registry).decode().split("\n") if line and not line.startswith("#")]
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


def test_figures_of_many_clients_and_cgroups_are_counts_and_the_worst(make_view: MakeView) -> None:
    groups = [f"cgroup:/sys/fs/cgroup/job_{number}" for number in range(100)]
    view = make_view({"ram": Level.OK, **dict.fromkeys(groups, Level.OK), groups[7]: Level.CRITICAL})
    assessments = [
        replace(each, exhausted_in_s=5.0 + number, sample=replace(each.sample, available_bytes=GIB - number))
        for number, each in enumerate(view.assessments)
    ]
    view = replace(view, assessments=tuple(assessments))
    books = Books()
    for client in range(200):
        books.put(client, Holding(client + 4_000_000, client, (f"/sys/fs/cgroup/job_{client}",), 5, 2))
    found = series(figures(view, books))
    assert {name: value for name, value in found.items() if "cgroup" in name and "reason" not in name} == {
        'greenboost_resource_available_bytes{resource="cgroup"}': GIB - 100,
        'greenboost_resource_pressure_level{resource="cgroup"}': 3,
        'greenboost_resource_exhaustion_seconds{resource="cgroup"}': 6,
        'greenboost_cgroups{level="ok"}': 99,
        'greenboost_cgroups{level="notice"}': 0,
        'greenboost_cgroups{level="warn"}': 0,
        'greenboost_cgroups{level="critical"}': 1,
    }
    assert (found["greenboost_lease_clients"], found["greenboost_lease_held_bytes"]) == (200, 1000)
    assert found["greenboost_lease_pending_bytes"] == 400
    assert not [name for name in found if "400000" in name or "job_" in name]


def full_view(make_view: MakeView, gpus: int, groups: Iterable[str]) -> View:
    """A machine with all there can be: GPUs that have GTT and VRAM, trends of everything, swap, PSI, both TTMs."""
    addresses = [f"{number:04x}:01:00.0" for number in range(gpus)]
    names = ["ram", *(f"{kind}:{address}" for kind in ("gtt", "vram") for address in addresses)]
    view = make_view(
        dict.fromkeys([*names, *(f"cgroup:{group}" for group in groups)], Level.OK),
        psi=PsiReading(0.0, 0.0, 0.0, 7, None, None, None, None),
        ttm=tuple(TtmReading(module, 1, None) for module in MODULES),
    )
    return replace(view, assessments=tuple(replace(each, exhausted_in_s=1.0) for each in view.assessments))


@pytest.mark.parametrize("gpus", [0, 1, 8, GPUS_MAX, GPUS_MAX + 100])
def test_series_max_is_reached_and_no_more(make_view: MakeView, gpus: int) -> None:
    view = full_view(make_view, gpus, [f"/sys/fs/cgroup/{number}" for number in range(3000)])
    assert len(series(Figures(lambda: view, Counters(), Books, lambda: 0))) == series_max(gpus)


def test_series_max_of_usual_machines_is_as_the_documents_say(repository: Path) -> None:
    text = (repository / "docs/fleet-scale.md").read_text()
    assert f"A node with 8 GPUs has at most {series_max(8)} series" in text


_NAMES = st.text(max_size=40) | st.sampled_from(
    ["a", "a:b", ":", "ram", "cgroup", "gtt:0000:00:00.0", "\n# TYPE x gauge"]
)


@given(
    resources=st.lists(st.tuples(st.sampled_from(["ram", "gtt", "vram", "cgroup"]), _NAMES), max_size=60),
    levels=st.lists(st.sampled_from(Level), min_size=60, max_size=60),
)
def test_figures_of_whatever_there_is_are_no_more_series_than_the_most(
    resources: list[tuple[str, str]], levels: list[Level]
) -> None:
    assessments = tuple(
        Assessment(Sample(kind if kind == "ram" else f"{kind}:{name}", 0.0, 2, 1), level, None, None, 0.0, float(level))
        for (kind, name), level in zip(resources, levels, strict=False)
    )
    snapshot = Snapshot(0.0, None, None, None, None, (), (), (), ())
    view = View(snapshot, assessments, 0, 1, 0)
    gpus = {name for kind, name in resources if kind in ("gtt", "vram")}
    found = series(figures(view))
    assert len(found) <= series_max(len(gpus))
    assert all(line.startswith("greenboost_") for line in found)


def test_figures_of_jobs_one_after_the_other_are_never_new_series(make_view: MakeView) -> None:
    seen: set[str] = set()
    counters, books = Counters(), Books()
    machine = full_view(make_view, 8, ["/job"])
    *others, group = machine.assessments
    assert group.sample.resource == "cgroup:/job"
    for job in range(10_000):
        path = f"/sys/fs/cgroup/slurm/job_{job}/{'x' * (job % 7)}"
        books.put(job, Holding(job + 1, job % 90, (path,), job, 0))
        of_job = replace(group, level=Level(job % 4), sample=replace(group.sample, resource=f"cgroup:{path}"))
        view = replace(machine, assessments=(*others, of_job))
        of = Figures(lambda view=view: view, counters, lambda: books, lambda job=job: job)  # type: ignore[misc]
        # What prometheus_client would write, without the writing: ten thousand of those take a minute.
        seen |= {f"{each.name}{each.labels}" for family in of.collect() for each in family.samples}
        if job >= 50:
            books.remove(job - 50)
    assert len(seen) == series_max(8)


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
    view = make_view({"ram": Level.OK, 'vram:a"b\nc\\d} 1': Level.OK})
    found = series(figures(view))
    assert found['greenboost_resource_total_bytes{resource="vram:a\\"b\\nc\\\\d} 1"}'] == 32 * GIB


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


def visitor(port: int, host: str = "127.0.0.1") -> socket.socket:
    connection = socket.create_connection((host, port), source_address=(host, 0))
    connection.settimeout(60)
    return connection


def test_server_cuts_off_who_sends_a_byte_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_http, "DEADLINE_S", 0.5)
    with serving() as server, visitor(server.port) as connection:
        connection.settimeout(0.1)
        answer = b"waiting"
        for _ in range(600):  # each byte is in time for TIMEOUT_S
            try:
                connection.send(b"G")
                answer = connection.recv(1)
                break
            except TimeoutError:
                continue
            except ConnectionError:
                answer = b""
                break
        assert answer == b""


def test_server_cuts_off_who_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_http, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(metrics_http._Handler, "timeout", 0.2)
    with serving() as server:
        deaf = []
        for _ in range(metrics_http.VISITOR_CONNECTIONS_MAX):
            connection = visitor(server.port)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            connection.sendall(b"GET /metrics HTTP/1.0\r\n")  # and no end of it
            deaf.append(connection)
        for connection in deaf:
            with connection:
                assert connection.recv(1) == b""
        with urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=30) as answer:
            assert answer.status == 200


def test_server_lets_in_only_so_many_visitors_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_http, "PAUSE_S", 0.1)
    with serving() as server:
        start_s = time.monotonic()
        for _ in range(6):
            with urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=30) as answer:
                assert answer.status == 200
        assert time.monotonic() - start_s >= 5 * 0.1


def test_server_keeps_places_for_others_than_the_one_who_takes_all() -> None:
    with serving("0.0.0.0:0") as server:
        greedy = [visitor(server.port, "127.0.0.66") for _ in range(40)]
        try:
            with visitor(server.port, "127.0.0.1") as scraper:
                scraper.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                assert scraper.recv(12) == b"HTTP/1.0 200"
        finally:
            for connection in greedy:
                connection.close()


def test_server_on_all_addresses_of_both_families_answers_either() -> None:
    try:
        with serving("[::]:0") as server:
            for address in ("127.0.0.1", "[::1]"):
                with urlopen(f"http://{address}:{server.port}/metrics", timeout=30) as answer:
                    assert answer.status == 200
    except GreenboostError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
