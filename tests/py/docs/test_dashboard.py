"""The Grafana dashboards against what a daemon really exposes, and the rules that record more of it."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from greenboost_py.base.config import Config
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.broker.books import Books
from greenboost_py.broker.leases import Counters
from greenboost_py.daemon.metrics import Figures
from greenboost_py.daemon.watch import Watch
from greenboost_py.pressure.levels import Level

FILE = "docs/grafana/greenboost.json"
FLEET = "docs/grafana/greenboost-fleet.json"
RULES = "scripts/prometheus/greenboost.rules.yaml"
OF_PROMETHEUS = {"up"}
"""What Prometheus itself knows of each machine that it asks."""

MACHINE = "machine:9123"
METRIC = re.compile(r"\b((?:\w+:)?greenboost_\w+(?::\w+)?|up)\b")
"""A metric, or one that a rule records."""

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian, Ubuntu: apt-get install prometheus)"
)


def panels_of(file: Path) -> list[dict[str, Any]]:
    """The panels, without the rows' titles."""
    return [panel for panel in json.loads(file.read_text())["panels"] if panel["type"] != "row"]


def queries_of(panels: list[dict[str, Any]]) -> list[str]:
    """Every query, as Grafana sends it."""
    values = {"$instance": MACHINE, "$__rate_interval": "4m", "$__range": "1h"}
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    for name, value in values.items():
        found = [query.replace(name, value) for query in found]
    return found


@pytest.fixture(scope="module")
def panels(repository: Path) -> list[dict[str, Any]]:
    """Those of a machine."""
    return panels_of(repository / FILE)


@pytest.fixture(scope="module")
def queries(panels: list[dict[str, Any]]) -> list[str]:
    """Those of a machine."""
    return queries_of(panels)


@pytest.fixture(scope="module")
def fleet_queries(repository: Path) -> list[str]:
    """Those of all nodes."""
    return queries_of(panels_of(repository / FLEET))


@pytest.fixture(scope="module")
def recorded(repository: Path) -> set[str]:
    """The metrics that rules record."""
    return set(re.findall(r"- record: (\S+)", (repository / RULES).read_text()))


@pytest.fixture(scope="module")
def exposition(repository: Path) -> str:
    """What a daemon exposes of a machine with VRAM, GTT, swap, a memory cgroup and a trend."""
    watch = Watch(SysRoot(repository / "tests/sysroots/strix-halo"), Config(), None, lambda: ())
    view = watch.look(1.0)
    ram = replace(view.assessments[0], level=Level.WARN, exhausted_in_s=42.0)
    group = replace(ram, sample=replace(ram.sample, resource="cgroup:/sys/fs/cgroup/job"))
    view = replace(view, assessments=(ram, *view.assessments[1:], group))
    registry = CollectorRegistry()
    registry.register(Figures(lambda: view, Counters(), Books, lambda: 2))
    return generate_latest(registry).decode()


def metrics_of(exposition: str) -> set[str]:
    return set(re.findall(r"^# TYPE (\w+) ", exposition, re.MULTILINE))


def test_dashboard_asks_for_metrics_that_there_are(queries: list[str], exposition: str) -> None:
    asked = {name for query in queries for name in METRIC.findall(query)}
    assert asked - OF_PROMETHEUS <= metrics_of(exposition)


def test_fleet_dashboard_asks_for_metrics_that_there_are_or_that_rules_record(
    fleet_queries: list[str], exposition: str, recorded: set[str]
) -> None:
    asked = {name for query in fleet_queries for name in METRIC.findall(query)}
    assert asked - recorded <= metrics_of(exposition)


def test_rules_ask_for_metrics_that_there_are(repository: Path, exposition: str, recorded: set[str]) -> None:
    text = re.sub(r"#.*|(summary|description|alert|name): .*", "", (repository / RULES).read_text())
    asked = set(METRIC.findall(text))
    assert asked - recorded - OF_PROMETHEUS <= metrics_of(exposition)
    assert len(asked - recorded) > 8


def test_each_recorded_metric_is_used(repository: Path, fleet_queries: list[str], recorded: set[str]) -> None:
    text = (repository / RULES).read_text()
    used = {name for name in recorded if text.count(name) > 1}
    assert recorded - used <= {name for query in fleet_queries for name in METRIC.findall(query)}


def test_dashboard_shows_every_metric(queries: list[str], exposition: str) -> None:
    asked = {name for query in queries for name in METRIC.findall(query)}
    assert metrics_of(exposition) - asked == set()


def test_dashboard_asks_of_the_chosen_machine_alone(panels: list[dict[str, Any]]) -> None:
    for target in (target for panel in panels for target in panel["targets"]):
        assert target["expr"].count('{instance="$instance"') == len(METRIC.findall(target["expr"])) > 0


@pytest.mark.parametrize("file", [FILE, FLEET])
def test_each_panel_says_what_it_shows(repository: Path, file: str) -> None:
    panels = panels_of(repository / file)
    for panel in panels:
        assert panel["title"] and panel["description"].endswith(".") and panel["fieldConfig"]["defaults"]["unit"]
        assert all(target["legendFormat"] for target in panel["targets"])
    titles = [panel["title"] for panel in panels]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("file", [FILE, FLEET])
def test_panels_are_beside_each_other_and_within_the_page(repository: Path, file: str) -> None:
    model = json.loads((repository / file).read_text())
    places = [panel["gridPos"] for panel in model["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        is_below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert is_beside or is_below
    numbers = [panel["id"] for panel in model["panels"]]
    assert sorted(set(numbers)) == numbers


@pytest.mark.parametrize(
    ("file", "variables"), [(FILE, ["datasource", "instance"]), (FLEET, ["datasource"])], ids=["machine", "fleet"]
)
def test_dashboard_brings_its_variables_and_nobody_elses_data_source(
    repository: Path, file: str, variables: list[str]
) -> None:
    text = (repository / file).read_text()
    model = json.loads(text)
    assert [each["name"] for each in model["templating"]["list"]] == variables
    assert set(re.findall(r'"uid": "([^"]*)"', text)) == {"${datasource}", Path(file).stem}
    assert [link["url"] for link in model["links"]] == [
        f"/d/{Path(each).stem}" for each in (FILE, FLEET) if each != file
    ]
    assert text == json.dumps(model, indent=2, sort_keys=True) + "\n"


@needs_promtool
def test_each_query_is_one_that_prometheus_understands(
    queries: list[str], fleet_queries: list[str], tmp_path: Path
) -> None:
    queries = [*queries, *fleet_queries]
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"SUCCESS: {len(queries)} rules found" in done.stdout


def series_of(exposition: str) -> list[dict[str, str]]:
    """The exposition as promtool wants it: as the machine's, each value growing by 1 a minute."""
    series = [{"series": f'up{{instance="{MACHINE}", job="greenboost"}}', "values": "1+0x20"}]
    for line in exposition.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            metric, _, labels = name.partition("{")
            with_instance = f'{metric}{{instance="{MACHINE}"{", " if labels else "}"}{labels}'
            series.append({"series": with_instance, "values": f"{float(value):.0f}+1x20"})
    return series


@needs_promtool
def test_each_query_has_an_answer_from_what_the_daemon_exposes(
    queries: list[str], fleet_queries: list[str], exposition: str, repository: Path, tmp_path: Path
) -> None:
    # The three parts of RAM are all of it. (+ 10, + 10: each value has grown by as much.)
    parts = [query for query in queries if "clamp_min" in query]
    total = f'greenboost_resource_total_bytes{{instance="{MACHINE}", resource="ram"}}'
    left = f'greenboost_resource_available_bytes{{instance="{MACHINE}", resource="ram"}}'
    held = f'greenboost_gpu_host_bytes{{instance="{MACHINE}"}}'
    whole = f"sum({parts[0]}) + sum({left}) + sum({held}) == bool sum({total})"
    # A level that no node has is no series: the panel says what that means.
    known = [query for query in fleet_queries if 'level="3"' not in query]
    assert len(known) == len(fleet_queries) - 1
    tests = [
        {"expr": expression, "eval_time": "10m", "exp_samples": [{"labels": "{}", "value": 1}]}
        for expression in (*(f"count({query}) > bool 0" for query in (*queries, *known)), whole)
    ]
    group = {"interval": "1m", "input_series": series_of(exposition), "promql_expr_test": tests}
    file = tmp_path / "test.json"
    file.write_text(
        json.dumps({"evaluation_interval": "1m", "rule_files": [str(repository / RULES)], "tests": [group]})
    )
    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@needs_promtool
def test_promtool_has_nothing_to_say_about_the_metrics(exposition: str) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=exposition, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def snippet(repository: Path) -> str:
    """What docs/grafana.md tells people to write into Prometheus' configuration."""
    found = re.search(r"```yaml\n(.*?)```", (repository / "docs/grafana.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_scrape_snippet_asks_where_the_daemon_listens(repository: Path) -> None:
    assert f'targets: ["{Config().metrics.listen}"]' in snippet(repository)


@needs_promtool
def test_the_scrape_snippet_is_one_that_prometheus_takes(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text(snippet(repository))
    words = ["promtool", "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs_promtool
def test_rules_are_ones_that_prometheus_takes(repository: Path) -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", repository / RULES], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_promtool
def test_each_alert_fires_when_it_should_and_not_when_it_should_not(repository: Path) -> None:
    file = repository / RULES.replace(".rules.", ".rules.test.")
    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_each_alert_is_tested_both_ways(repository: Path) -> None:
    alerts = re.findall(r"- alert: (\w+)", (repository / RULES).read_text())
    tests = (repository / RULES.replace(".rules.", ".rules.test.")).read_text()
    assert len(alerts) == 10
    for alert in alerts:
        assert re.search(rf"\{{alertname: {alert}, eval_time: \w+\}}", tests), f"{alert}: where it does not fire"
        assert re.search(rf"- alertname: {alert}\n +eval_time: \w+\n +exp_alerts:", tests), f"{alert}: where it fires"
