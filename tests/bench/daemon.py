"""What the daemon costs: idle beside its peers, and a grant's round trip with 64 clients.

usage: daemon.py [--seconds S] [--rounds N]

Idle: greenboost, earlyoom and nohang (where their packages are installed) run at once, with their own defaults, on the same
otherwise quiet machine; CPU time is the kernel's (/proc/PID/schedstat, all threads), memory is VmRSS and what of it is private.

Grants: 64 connected clients, each with a lease. They ask in turn, one at a time, for 1 MiB and give it back; the figure is
the time from the request to its answer, with the machine's and the cgroup's real figures read on the way.

A missed target is marked MISSED and is no failure: exit 0. Exit 1: something did not run.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from greenboost_py.broker.client import LeaseClient
from greenboost_py.broker.protocol import Verdict

CLIENTS = 64
CPU_PERCENT_MAX = 0.3
RESIDENT_MIB_MAX = 40.0
ROUND_TRIP_MS_MAX = 1.0
MIB = 1 << 20


class Idle(NamedTuple):
    """One daemon that has nothing to do."""

    name: str
    cpu_percent: float
    resident_mib: float
    private_mib: float


def cpu_ns(pid: int) -> int:
    """CPU time of all threads of a process, in nanoseconds. Source: Documentation/scheduler/sched-stats.rst."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


def memory_mib(pid: int) -> tuple[float, float]:
    """Resident memory of a process, and what of it is private."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:] if ":" in line
    )
    kib = {name: int(fields[name].split()[0]) for name in ("Rss", "Private_Clean", "Private_Dirty")}
    return kib["Rss"] / 1024, (kib["Private_Clean"] + kib["Private_Dirty"]) / 1024


def peers() -> list[tuple[str, list[str]]]:
    """The other daemons that are installed, with the command that runs each in the foreground."""
    found = []
    if path := shutil.which("earlyoom"):
        found.append(("earlyoom", [path, "-r", "0"]))
    if path := shutil.which("nohang", path=f"{os.environ['PATH']}:/usr/sbin:/sbin"):
        found.append(("nohang", [path, "--monitor", "--config", "/etc/nohang/nohang.conf"]))
    for name in {"earlyoom", "nohang"} - {name for name, _ in found}:
        print(f"{name} is not installed: left out (Debian, Ubuntu: apt-get install {name})")
    return found


def start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Starts a daemon in the foreground, its output in a file."""
    with log.open("wb") as out:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)


def wait_for(socket: Path, daemon: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until the daemon listens."""
    for _ in range(200):
        if socket.exists():
            return
        if daemon.poll() is not None:
            break
        time.sleep(0.05)
    sys.exit(f"bench: the daemon did not start: {log.read_text()}")


def measure_idle(daemons: dict[str, subprocess.Popen[bytes]], seconds: float) -> list[Idle]:
    """Lets them settle, then counts."""
    time.sleep(5)
    before = {name: cpu_ns(daemon.pid) for name, daemon in daemons.items()}
    begin = time.monotonic_ns()
    time.sleep(seconds)
    elapsed = time.monotonic_ns() - begin
    figures = []
    for name, daemon in daemons.items():
        if daemon.poll() is not None:
            print(f"{name} ended by itself with {daemon.returncode}: left out")
            continue
        cpu = 100 * (cpu_ns(daemon.pid) - before[name]) / elapsed
        figures.append(Idle(name, cpu, *memory_mib(daemon.pid)))
    return figures


def round_trips_ms(socket: Path, rounds: int) -> list[float]:
    """The time of each grant, with all clients connected."""
    clients = [LeaseClient(socket) for _ in range(CLIENTS)]
    times = []
    try:
        for client in clients:
            client.hello()
            if client.acquire(MIB).verdict is not Verdict.GRANTED:
                sys.exit("bench: the daemon refused 1 MiB: the machine has too little memory for this")
        for _ in range(rounds):
            for client in clients:
                begin = time.perf_counter_ns()
                client.acquire(MIB, held_bytes=MIB)
                times.append((time.perf_counter_ns() - begin) / 1e6)
                client.update(held_bytes=MIB)
    finally:
        for client in clients:
            client.close()
    return times


def verdict(text: str, got: float, limit: float, unit: str) -> None:
    """One line on a target."""
    mark = "met" if got <= limit else "MISSED"
    print(f"{mark:6}  {text}: {got:.3f}{unit}, at most {limit:g}{unit}")


def main() -> None:
    """Runs it all and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--build", type=Path, default=Path("build"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "lease.sock"
        logs = Path(folder)
        configuration = logs / "config.toml"
        configuration.write_text('[metrics]\nlisten = ""\n')  # its port may be another daemon's
        command = [str(Path(sys.executable).parent / "greenboost"), "daemon"]
        command += ["--socket", str(socket), "--config", str(configuration)]
        daemons = {"greenboost": start(command, logs / "greenboost")}
        try:
            wait_for(socket, daemons["greenboost"], logs / "greenboost")
            daemons |= {name: start(argv, logs / name) for name, argv in peers()}
            idle = measure_idle(daemons, options.seconds)
            trips = round_trips_ms(socket, options.rounds)
        finally:
            for daemon in daemons.values():
                daemon.terminate()
            for daemon in daemons.values():
                daemon.wait()
    report(idle, trips, options.build)


def report(idle: list[Idle], trips: list[float], build: Path) -> None:
    """Prints and keeps the figures."""
    ours = idle[0]
    print(f"\n{'idle':12}{'CPU, % of a core':>18}{'ratio':>8}{'resident, MiB':>15}{'private, MiB':>14}")
    for each in idle:
        ratio = f"{each.cpu_percent / ours.cpu_percent:.2f}" if ours.cpu_percent else "-"
        print(f"{each.name:12}{each.cpu_percent:>18.3f}{ratio:>8}{each.resident_mib:>15.1f}{each.private_mib:>14.1f}")
    p99 = quantiles(trips, n=100)[98]
    print(
        f"\na grant's round trip with {CLIENTS} clients, ms: median {median(trips):.3f}, 99 of 100 within {p99:.3f}\n"
    )
    verdict("idle, CPU", ours.cpu_percent, CPU_PERCENT_MAX, " %")
    verdict("idle, resident memory", ours.resident_mib, RESIDENT_MIB_MAX, " MiB")
    verdict("a grant, median", median(trips), ROUND_TRIP_MS_MAX, " ms")
    (build / "bench").mkdir(parents=True, exist_ok=True)
    figures = {"idle": [each._asdict() for each in idle], "grant_ms": {"median": median(trips), "p99": p99}}
    (build / "bench" / "daemon.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
