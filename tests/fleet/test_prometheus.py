"""Prometheus, a real one, that asks three nodes' daemons, by the page's steps: rules, alerts, and a node that dies."""

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest
import scale
from bed.installed import OPT
from bed.place import Place, new_place, new_switch
from bed.steps import step
from bed.wait import wait_until

from greenboost_py import __version__
from greenboost_py.daemon.metrics import series_max

NODES = ("node1", "node2", "node3")
PROGRAMS = Path(__file__).parent / "programs"
VRAM_MIB, TAKEN_MIB = 64, 192

QUICK = r"""
sed -i -E 's/^( *(scrape|evaluation)_interval:) .*/\1 1s/; s/^( *scrape_timeout:) .*/\1 1s/' /etc/prometheus/prometheus.yml
sed -i -E '/alert: GreenboostNodeDown/,/for:/ s/for: .*/for: 10s/' /etc/prometheus/greenboost.rules.yaml
"""
"""Seconds instead of minutes; all else stays as the steps have it."""

PROMETHEUS = "prometheus --config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=/tmp/prometheus"


FETCH = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=30).read().decode())"


def fetch(place: Place, url: str) -> str:
    """What is there, asked from a place; empty: nobody answers."""
    return place.run(f"python3 -c '{FETCH}' '{url}'", check=False).stdout


class Fleet:
    """Nodes with a daemon each, and one place with Prometheus.

    Attributes:
        nodes: by name.
    """

    def __init__(self, nodes: Mapping[str, Place], prometheus: Place) -> None:
        self.nodes, self._prometheus = nodes, prometheus

    def ask(self, expression: str) -> dict[str, float]:
        """What Prometheus' HTTP API answers: by what the series' labels say, without the metric's name and the job."""
        url = f"http://localhost:9090/api/v1/query?query={quote(expression)}"
        answer = json.loads(fetch(self._prometheus, url))
        assert answer["status"] == "success", answer
        found = {}
        for series in answer["data"]["result"]:
            labels = {name: value for name, value in series["metric"].items() if name not in ("__name__", "job")}
            found["/".join(labels[name] for name in sorted(labels))] = float(series["value"][1])
        return found

    def run(self, script: str) -> str:
        """What a script says beside Prometheus."""
        return self._prometheus.run(script).stdout


@contextmanager
def running(place: Place, script: str) -> Iterator[None]:
    """A program in a place, in the background; what it says is in its place's /tmp/log."""
    process = place.start(f"exec >>/tmp/log 2>&1; {script}")
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def fleet(installed: Path) -> Iterator[Fleet]:
    """One for all tests of this file; the last one takes a node away."""
    for tool in ("prometheus", "promtool"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (Debian: apt-get install prometheus)")
    with ExitStack() as stack:
        switch = stack.enter_context(new_switch())
        places = {
            name: stack.enter_context(new_place(name, folders={OPT: installed}, switch=switch))
            for name in (*NODES, "prometheus")
        }
        names = "\n".join(f"10.77.0.{number} {name}" for number, name in enumerate(places, start=1))
        for place in places.values():
            place.run(step("link"))
            place.run(f"cat >>/etc/hosts <<'END'\n{names}\nEND")
        prometheus = places.pop("prometheus")
        for node in places.values():
            node.run(step("metrics-listen"))
            stack.enter_context(running(node, "greenboost daemon"))
        prometheus.run(step("prometheus-configure"))
        prometheus.run(QUICK)
        stack.enter_context(running(prometheus, PROMETHEUS))
        made = Fleet(places, prometheus)
        wait_until(lambda: fetch(prometheus, "http://localhost:9090/-/ready"), "Prometheus answers")
        wait_until(lambda: made.ask('up{job="greenboost"}') == dict.fromkeys(NODES, 1.0), "all nodes are up")
        yield made


def job(repository: Path) -> str:
    """A program that needs more than its card has."""
    driver = f"LD_LIBRARY_PATH={repository / 'build/fake_driver'} FAKECUDA_VRAM={VRAM_MIB}MiB"
    return f"{driver} greenboost run -- python3 {PROGRAMS / 'fill.py'} {TAKEN_MIB}"


def test_steps_of_the_page_show_every_node_its_level_and_what_it_leases(fleet: Fleet) -> None:
    wait_until(lambda: fleet.ask("level:greenboost_nodes:count"), "the rules have values")
    said = fleet.run(step("prometheus-ask"))
    for node in NODES:
        assert f'up{{instance="{node}", job="greenboost"}} => 1 @' in said
        assert f'{{instance="{node}"}} => 0 @' in said
    assert "level:greenboost_nodes:count{level=" in said


def test_program_on_one_node_is_in_that_nodes_figures_and_in_the_fleets(fleet: Fleet, repository: Path) -> None:
    program = f"sleep 600 | {job(repository)} wait"
    leased = (TAKEN_MIB - VRAM_MIB) << 20
    with running(fleet.nodes["node2"], program):
        wait_until(lambda: fleet.ask("greenboost_lease_held_bytes").get("node2") == leased, "node2 leases")
        assert fleet.ask("greenboost_lease_clients") == {"node1": 0, "node2": 1, "node3": 0}
        wait_until(lambda: fleet.ask("job:greenboost_lease_held_bytes:sum") == {"": leased}, "the fleet does")
        series = fleet.ask('count by (instance) ({instance=~"node.", job="greenboost", __name__=~"greenboost_.+"})')
    wait_until(lambda: not any(fleet.ask("greenboost_lease_held_bytes").values()), "all is given back")
    for count in series.values():
        assert 20 < count <= series_max(gpus=64)


def test_series_that_prometheus_has_seen_are_as_many_after_many_jobs(fleet: Fleet, repository: Path) -> None:
    seen = 'count by (instance) (last_over_time({instance="node1", __name__=~"greenboost_.+"}[1h]))'
    wait_until(lambda: fleet.ask("greenboost_looks_total > 10").keys() >= {"node1"}, "node1 has looked")
    before = fleet.ask(seen)["node1"]
    granted = fleet.ask("greenboost_lease_grants_total")["node1"]
    for _ in range(10):
        assert f"got {TAKEN_MIB} MiB" in fleet.nodes["node1"].run(job(repository)).stdout
    wait_until(lambda: fleet.ask("greenboost_lease_grants_total")["node1"] >= granted + 10, "the jobs are seen")
    after = fleet.ask(seen)["node1"]
    assert before <= after <= series_max(gpus=64)
    assert not fleet.ask('{__name__=~"greenboost_.+", resource=~".*/.*"}')


def test_node_that_make_fleet_scale_plays_exposes_what_a_real_one_does(fleet: Fleet) -> None:
    real = fetch(fleet.nodes["node1"], "http://localhost:9477/metrics")
    played = scale.Node(7, gpus=8).text().decode()
    types = re.compile("^# TYPE .*", re.MULTILINE)
    assert set(types.findall(real)) <= set(types.findall(played))
    assert len(re.findall("^[^#]", played, re.MULTILINE)) <= series_max(gpus=8)


def test_recording_rules_have_values_for_all_nodes(fleet: Fleet) -> None:
    def is_there() -> bool:
        ratios = fleet.ask("instance:greenboost_ram_available:ratio")
        levels = fleet.ask("level:greenboost_nodes:count")
        rates = fleet.ask("instance:greenboost_lease_refusals:rate5m")
        return ratios.keys() == rates.keys() == set(NODES) and sum(levels.values()) == len(NODES)

    wait_until(is_there, "all rules have values")
    assert all(0 < ratio <= 1 for ratio in fleet.ask("instance:greenboost_ram_available:ratio").values())
    assert fleet.ask("version:greenboost_nodes:count") == {__version__: 3}
    assert fleet.ask("job:greenboost_nodes_up:ratio") == {"": 1}


def test_node_that_dies_is_down_and_its_alert_is_pending_then_fires(fleet: Fleet) -> None:
    def alerts(state: str) -> set[str]:
        return set(fleet.ask(f'ALERTS{{alertname="GreenboostNodeDown", alertstate="{state}"}}'))

    assert not alerts("pending") | alerts("firing")
    os.kill(fleet.nodes["node3"].pid, signal.SIGKILL)
    expected = {"node1": 1, "node2": 1, "node3": 0}
    wait_until(lambda: fleet.ask('up{job="greenboost"}') == expected, "node3 is down")
    wait_until(lambda: alerts("pending"), "the alert is pending")
    assert not alerts("firing")
    wait_until(lambda: alerts("firing"), "the alert fires")
    assert alerts("firing") == {"GreenboostNodeDown/firing/node3/warning"}
    wait_until(lambda: fleet.ask("sum(version:greenboost_nodes:count)") == {"": 2}, "two nodes are left")
