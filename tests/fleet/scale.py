"""What a fleet's figures cost one Prometheus: `make fleet-scale`. Not a test: it measures, for some minutes.

Nodes are played: one process answers for all of them, each at a path of its own, with what the daemon's own collector
says of a node with some GPUs, from readings that change. Prometheus is a real one, with the rules of scripts/prometheus.
A daemon's own cost is measured on a real daemon.
"""

import argparse
import asyncio
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from urllib.parse import quote
from urllib.request import Request, urlopen

from prometheus_client import CollectorRegistry, generate_latest

from greenboost_py.broker.books import Books, Holding
from greenboost_py.broker.leases import Counters
from greenboost_py.daemon.metrics import Figures
from greenboost_py.daemon.view import View
from greenboost_py.pressure.levels import Assessment, Level, Sample
from greenboost_py.sensors.psi import PsiReading
from greenboost_py.sensors.ram import RamReading
from greenboost_py.sensors.snapshot import Snapshot

RULES = Path(__file__).resolve().parents[2] / "scripts/prometheus/greenboost.rules.yaml"
GIB = 1 << 30
RAM_BYTES, VRAM_BYTES = 2048 * GIB, 80 * GIB
NODES_PORT, PROMETHEUS_PORT, DAEMON_PORT = 19478, 19090, 19477
SCRAPES = 300
"""Of a real daemon, for its cost."""


class Node:
    """A node that is played.

    Args:
        number: it makes the node's values its own.
        gpus: NVIDIA's.
    """

    def __init__(self, number: int, gpus: int) -> None:
        self._random, self._gpus = Random(number), gpus
        self._counters, self._books = Counters(), Books()
        self._looks = 0
        self._registry = CollectorRegistry()
        self._registry.register(Figures(self._look, self._counters, lambda: self._books, lambda: self._looks // 50))

    def text(self) -> bytes:
        """What it exposes now; every value that can change has changed."""
        wanted = self._random.randrange(GIB)
        self._books.put(0, Holding(1, 0, (), wanted, wanted // 3))
        self._counters.granted += self._random.randrange(20)
        self._counters.granted_bytes += wanted
        return generate_latest(self._registry)

    def _look(self) -> View:
        self._looks += self._random.randrange(15, 300)
        amount = self._random.randrange
        samples = [Sample("ram", 0.0, RAM_BYTES, amount(RAM_BYTES))]
        samples += [
            Sample(f"vram:0000:{gpu + 1:02x}:00.0", 0.0, VRAM_BYTES, amount(VRAM_BYTES)) for gpu in range(self._gpus)
        ]
        samples.append(Sample("cgroup:/job", 0.0, RAM_BYTES, amount(RAM_BYTES)))
        judged = tuple(
            Assessment(sample, Level(min(3, amount(40) // 12)), None, 60.0 if amount(10) == 0 else None, 0.0, 0.0)
            for sample in samples
        )
        ram = RamReading(RAM_BYTES, amount(RAM_BYTES), amount(RAM_BYTES), 0, None, None, 0, 8 * GIB, amount(8 * GIB))
        psi = PsiReading(0.0, 0.0, 0.0, self._looks * 1000, None, None, None, None)
        return View(Snapshot(0.0, ram, psi, None, None, (), (), (), ()), judged, amount(GIB), self._looks, 0)


async def serve(nodes: Sequence[Node]) -> None:
    """Answers `GET /NUMBER` as that node, until it is ended; connections stay open, as Prometheus has them."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                number = int(request.split(b" ", 2)[1][1:])
                body = nodes[number].text()
                head = (
                    f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                writer.write(head.encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", NODES_PORT, backlog=1024)
    await server.serve_forever()


def configuration(count: int, interval_s: int) -> dict[str, object]:
    """Prometheus' own configuration: JSON is YAML."""
    nodes = [
        {"targets": [f"127.0.0.1:{NODES_PORT}"], "labels": {"instance": f"node{n:05}", "__metrics_path__": f"/{n}"}}
        for n in range(count)
    ]
    return {
        "global": {"scrape_interval": f"{interval_s}s", "evaluation_interval": f"{interval_s}s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": "greenboost", "static_configs": nodes},
            {
                "job_name": "prometheus",
                "scrape_interval": "5s",
                "static_configs": [{"targets": [f"127.0.0.1:{PROMETHEUS_PORT}"]}],
            },
        ],
    }


@contextmanager
def running(command: Sequence[str | Path], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A program in the background, until the block ends."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def fetch(url: str, **headers: str) -> bytes | None:
    """What is there; None: nobody answers yet."""
    try:
        with urlopen(Request(url, headers=headers), timeout=60) as answer:
            body: bytes = answer.read()
            return body
    except OSError:
        return None


def wait_for(url: str) -> None:
    """Waits until somebody answers."""
    until_s = time.monotonic() + 120
    while fetch(url) is None:
        if time.monotonic() > until_s:
            raise TimeoutError(url)
        time.sleep(0.2)


def ask(expression: str) -> float | None:
    """One value by Prometheus' HTTP API; None: there is none."""
    body = fetch(f"http://127.0.0.1:{PROMETHEUS_PORT}/api/v1/query?query={quote(expression)}")
    found = json.loads(body or b"{}").get("data", {}).get("result", [])
    return float(found[0]["value"][1]) if found else None


def cpu_s(pid: int) -> float:
    """What a process has used. Source: proc_pid_stat(5), utime and stime."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_daemon(folder: Path) -> dict[str, float]:
    """What a scrape costs a real daemon on this machine, over what it does anyway."""
    config = folder / "config.toml"
    config.write_text(f'[metrics]\nlisten = "127.0.0.1:{DAEMON_PORT}"\n[notify]\nwall = "off"\ndesktop = false\n')
    url = f"http://127.0.0.1:{DAEMON_PORT}/metrics"
    greenboost = [sys.executable, "-c", "from greenboost_py.cli.main import main; main()"]
    options = ["--socket", folder / "lease.sock", "--config", config]
    with running([*greenboost, "daemon", *options], folder / "daemon.log") as daemon:
        wait_for(url)
        time.sleep(2)
        start_s, before_s = time.monotonic(), cpu_s(daemon.pid)
        time.sleep(20)
        idle = (cpu_s(daemon.pid) - before_s) / (time.monotonic() - start_s)
        found = {"daemon, CPU of a second without a scrape, ms": idle * 1e3}
        for how, headers in (("plain", {}), ("gzip", {"Accept-Encoding": "gzip"})):
            start_s, before_s, body = time.monotonic(), cpu_s(daemon.pid), b""
            for _ in range(SCRAPES):
                body = fetch(url, **headers) or b""
            used_s = cpu_s(daemon.pid) - before_s - idle * (time.monotonic() - start_s)
            found[f"daemon, CPU of a scrape ({how}), ms"] = used_s / SCRAPES * 1e3
            found[f"daemon, bytes of a scrape ({how})"] = len(body)
        text = gzip.decompress(body).decode()
        found["daemon, series of a scrape"] = sum(1 for line in text.splitlines() if not line.startswith("#"))
    return found


def measure_prometheus(folder: Path, count: int, gpus: int, interval_s: int, minutes: float) -> dict[str, float]:
    """What Prometheus needs for that many nodes."""
    (folder / "prometheus.yml").write_text(json.dumps(configuration(count, interval_s)))
    nodes = [sys.executable, __file__, "--serve", "--nodes", str(count), "--gpus", str(gpus)]
    prometheus = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    prometheus.append(f"--web.listen-address=127.0.0.1:{PROMETHEUS_PORT}")
    with running(nodes, folder / "nodes.log") as played:
        wait_for(f"http://127.0.0.1:{NODES_PORT}/0")
        with running(prometheus, folder / "prometheus.log") as process:
            wait_for(f"http://127.0.0.1:{PROMETHEUS_PORT}/-/ready")
            time.sleep(2 * interval_s + 10)  # every node twice; new series cost more than new samples
            start_s, before_s, played_s = time.monotonic(), cpu_s(process.pid), cpu_s(played.pid)
            time.sleep(minutes * 60)
            took_s = time.monotonic() - start_s
            window = f"{max(1, round(minutes * 60))}s"
            found = {
                "nodes up": ask('sum(up{job="greenboost"})'),
                "most series of a node": ask('max(scrape_samples_post_metric_relabeling{job="greenboost"})'),
                "series in all": ask("prometheus_tsdb_head_series"),
                "samples a second": ask(f"rate(prometheus_tsdb_head_samples_appended_total[{window}])"),
                "scrape, median s": ask('quantile(0.5, scrape_duration_seconds{job="greenboost"})'),
                "scrape, 99th percentile s": ask('quantile(0.99, scrape_duration_seconds{job="greenboost"})'),
                "rules, s each time": ask("sum(prometheus_rule_group_last_duration_seconds)"),
                "rules missed": ask("sum(prometheus_rule_group_iterations_missed_total)"),
                "resident GiB": (ask("process_resident_memory_bytes") or 0) / GIB,
                "query of the fleet's dashboard, s": seconds_of(
                    "bottomk(10, instance:greenboost_ram_available:ratio)", "level:greenboost_nodes:count"
                ),
            }
            found["CPU of a second, s"] = (cpu_s(process.pid) - before_s) / took_s
            found["CPU of the played nodes of a second, s"] = (cpu_s(played.pid) - played_s) / took_s
    return {f"prometheus, {name}": value for name, value in found.items() if value is not None}


def seconds_of(*expressions: str) -> float:
    """How long Prometheus takes for some queries, one after the other."""
    start_s = time.monotonic()
    for expression in expressions:
        ask(expression)
    return time.monotonic() - start_s


def main() -> None:
    """Measures, and prints a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--interval", type=int, default=120, help="seconds between two scrapes of a node")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--serve", action="store_true", help="play the nodes, and nothing else")
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve([Node(number, given.gpus) for number in range(given.nodes)]))
        return
    if shutil.which("prometheus") is None:
        sys.exit("scale.py: prometheus is not installed (Debian: apt-get install prometheus)")
    with TemporaryDirectory(prefix="greenboost-scale-") as folder:
        found = measure_daemon(Path(folder))
        found |= measure_prometheus(Path(folder), given.nodes, given.gpus, given.interval, given.minutes)
    print(f"{given.nodes} nodes with {given.gpus} GPUs, each scraped every {given.interval} s, for {given.minutes} min")
    for name, value in found.items():
        print(f"{name:<46} {value:,.4g}" if value < 1000 else f"{name:<46} {value:,.0f}")


if __name__ == "__main__":
    main()
