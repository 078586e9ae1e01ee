"""What the shim costs per call, with it and without it in the same run, on a driver with nothing behind its calls.

usage: bench.py [--build FOLDER] [--quick]

Each figure comes from child processes that take turns, one without the shim and one with it; a child repeats every
measurement and its median counts. The table shows the median over the rounds, the spread (the lowest and the highest
round), what the shim adds (the median of the differences within a round) and the ratio. The same goes to
FOLDER/bench/results.json. Options of the shim (GREENBOOST_...) come through from the environment.

A missed target is marked MISSED and is no failure: exit 0. Exit 1: something did not run.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

LIVE = (0, 10_000, 1_000_000)
THREADS = (1, 8)
NAMES = {
    "allocate_free": "allocate+free",
    "allocate_free_random": "allocate+free, any of the live",
    "info": "cuMemGetInfo",
    "attributes": "cuPointerGetAttributes",
    "submit": "cuLaunchKernel",
    "look_up": "cuGetProcAddress",
    "dlsym": "a foreign dlsym",
}
ALLOCATE_FREE_ADDS_NS = 100.0
FLAT_RATIO = 1.5
SUBMIT_ADDS_NS = 20.0
START_LOOK_UPS = 450  # NVIDIA's runtime asks for the whole driver API when it is first used
START_LOOK_UPS_ADD_US = 100.0
DLSYM_ADDS_NS = 10.0
START_ADDS_MS = 0.5


class Figure(NamedTuple):
    """One row of the table: medians of the rounds, in nanoseconds."""

    call: str
    live: int
    threads: int
    without: list[float]
    shimmed: list[float]

    @property
    def adds(self) -> float:
        """What the shim adds: the median difference within a round."""
        return median(b - a for a, b in zip(self.without, self.shimmed, strict=True))

    @property
    def ratio(self) -> float:
        """With the shim, as a multiple of without."""
        return median(self.shimmed) / max(median(self.without), 0.01)


class Target(NamedTuple):
    """A figure to reach."""

    text: str
    got: float
    limit: float
    unit: str

    def __str__(self) -> str:
        mark = "met" if self.got <= self.limit else "MISSED"
        return f"{mark:6}  {self.text}: {self.got:.2f}{self.unit}, at most {self.limit:g}{self.unit}"


def child(command: list[str], build: Path, shim: Path | None) -> Any:
    """Run a program on the null driver and read the JSON it prints."""
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    env["LD_LIBRARY_PATH"] = str(build / "null_driver")
    if shim:
        env["LD_PRELOAD"] = str(shim)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"bench: {' '.join(command)} exited {done.returncode}\n{done.stderr}")
    if done.stderr:
        print(done.stderr, file=sys.stderr, end="")
    return json.loads(done.stdout)


def measure_calls(build: Path, shim: Path, rounds: int, calls: int, repetitions: int) -> list[Figure]:
    """All calls at every number of live blocks and of threads."""
    figures = []
    for threads in THREADS:
        for live in LIVE:
            command = [
                str(build / "bench" / "calls"),
                str(live),
                str(threads),
                str(max(calls // threads, calls // 4)),
                str(repetitions),
            ]
            rows: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in NAMES}
            for number in range(rounds):
                # A B, B A, A B: what drifts over the run weighs on both.
                for side in (0, 1) if number % 2 == 0 else (1, 0):
                    said = child(command, build, shim if side else None)
                    for name, ns in said.items():
                        rows[name][side].append(median(ns))
            for name, (without, shimmed) in rows.items():
                if name != "allocate_free_random" or live:
                    figures.append(Figure(name, live, threads, without, shimmed))
    return figures


def measure_starts(build: Path, shim: Path, rounds: int, count: int) -> Figure:
    """The start and end of a program without CUDA."""
    rows: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        said = child([str(build / "bench" / "starts"), str(shim), str(count), "/bin/true"], build, None)
        rows[0].append(median(said["without"]))
        rows[1].append(median(said["with"]))
    return Figure("start", 0, 1, *rows)


def targets(figures: list[Figure], start: Figure) -> list[Target]:
    """What issue and README promise, judged on one thread; what passes the gate, on many too."""
    one = {(f.call, f.live): f for f in figures if f.threads == 1}
    found = []
    for live in LIVE:
        adds = one["allocate_free", live].adds
        found.append(Target(f"allocate+free adds, at {live:,} live blocks", adds, ALLOCATE_FREE_ADDS_NS, " ns"))
    flat = median(one["allocate_free", LIVE[-1]].shimmed) / median(one["allocate_free", 0].shimmed)
    found.append(Target(f"allocate+free at {LIVE[-1]:,} live blocks against none", flat, FLAT_RATIO, " x"))
    for figure in figures:
        if figure.call == "submit" and figure.live == 0:
            text = f"a call that passes the gate adds, threads: {figure.threads}"
            found.append(Target(text, figure.adds, SUBMIT_ADDS_NS, " ns"))
    look_ups = one["look_up", 0].adds * START_LOOK_UPS / 1e3
    found.append(Target(f"{START_LOOK_UPS} look-ups of one program add", look_ups, START_LOOK_UPS_ADD_US, " µs"))
    found.append(Target("a foreign dlsym adds", one["dlsym", 0].adds, DLSYM_ADDS_NS, " ns"))
    found.append(Target("a process without CUDA starts later by", start.adds / 1e6, START_ADDS_MS, " ms"))
    return found


def table(figures: list[Figure], start: Figure) -> str:
    """Markdown."""
    lines = [
        "| call | threads | live blocks | without, ns | with, ns | lowest-highest with | adds, ns | ratio |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in NAMES:
        for f in figures:
            if f.call == name:
                lines.append(
                    f"| {NAMES[name]} | {f.threads} | {f.live:,} | {median(f.without):.1f} | {median(f.shimmed):.1f} "
                    f"| {min(f.shimmed):.1f}-{max(f.shimmed):.1f} | {f.adds:+.1f} | {f.ratio:.2f} |"
                )
    us = [value / 1e3 for value in (median(start.without), median(start.shimmed), start.adds)]
    lines += ["", f"Start and end of /bin/true: {us[0]:.0f} µs without, {us[1]:.0f} µs with, {us[2]:+.0f} µs."]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="What the shim costs per call, in nanoseconds.")
    parser.add_argument("--build", type=Path, default=Path("build"), help="the build folder (default: build)")
    parser.add_argument("--quick", action="store_true", help="few repetitions: shows that it runs, measures little")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    shim = build / "libgreenboost.so"
    for needed in (shim, build / "null_driver" / "libcuda.so.1", build / "bench" / "calls", build / "bench" / "starts"):
        if not needed.exists():
            sys.exit(f"bench: {needed} is missing: make build bench-build")

    busy = os.getloadavg()[0]
    rounds, calls, repetitions, starts = (2, 8_000, 3, 20) if arguments.quick else (5, 160_000, 7, 150)
    figures = measure_calls(build, shim, rounds, calls, repetitions)
    start = measure_starts(build, shim, rounds, starts)
    reached = targets(figures, start)

    print(table(figures, start))
    print(
        "\nns: what one processor spends on one call; medians of",
        rounds,
        "rounds. Judged on one thread, but for the gate:\n",
    )
    print("\n".join(str(target) for target in reached))
    if busy > 1:
        print(f"\nThe machine was busy (load {busy:.1f} at the start): the lowest rounds say more than the medians.")
    result = {
        "machine": {"processor": platform.machine(), "processors": os.cpu_count(), "kernel": platform.release()},
        "load_at_start": busy,
        "rounds": rounds,
        "calls": [{**f._asdict(), "adds": f.adds, "ratio": f.ratio} for f in figures],
        "start": {**start._asdict(), "adds": start.adds},
        "targets": [{**t._asdict(), "met": t.got <= t.limit} for t in reached],
    }
    (build / "bench" / "results.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
