"""What split allocations cost: in time, against the same driver calls made by hand; in memory of the shim's own; and
whether small blocks notice that there are some.

usage: split.py [--build FOLDER]

Time and memory on the simulated driver, half of each block in VRAM; small blocks on the driver with nothing behind its
calls. Programs take turns; medians count. Writes FOLDER/bench/split.json. A missed target is marked MISSED and is no
failure: exit 0. Exit 1: something did not run.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from bench import Target

MIB = 1 << 20
ROUNDS = 7
COST_RATIO = 1.2
BLOCK_BYTES_MAX, CHUNK_BYTES_MAX = 200, 64
BESIDE_RATIO = 1.1
LIVE = 1_000_000
LARGE = 10


def child(build: Path, driver: str, program: str, *arguments: object, shim: bool, **settings: str) -> Any:
    """Run a program and read the JSON it prints; `settings` are environment variables."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LD_", "GREENBOOST_", "FAKECUDA_"))}
    env |= {"LD_LIBRARY_PATH": str(build / driver), **settings}
    if shim:
        env["LD_PRELOAD"] = str(build / "libgreenboost.so")
    command = [str(build / "bench" / program), *map(str, arguments)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"split: {' '.join(command)} exited {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def split(build: Path, by: str, block: int, chunk: int, blocks: int) -> tuple[float, int]:
    """Nanoseconds of one allocation and free, and heap bytes of `blocks` of them."""
    settings = {
        "FAKECUDA_VRAM": "64GiB",
        "GREENBOOST_VRAM_LIMIT": str(block // 2 * blocks),
        "GREENBOOST_VRAM_RESERVE": "0",
        "GREENBOOST_HOST_RESERVE": "0",
        "GREENBOOST_CHUNK": str(chunk),
        "GREENBOOST_EXPECT": str(block * blocks) if blocks > 1 else "0",
    }
    said = child(build, "fake_driver", "split", by, block, chunk, blocks, 15, shim=by == "shim", **settings)
    return median(said["allocate_free"]), said["heap_bytes"]


def cost_ratio(build: Path) -> tuple[float, float]:
    """Microseconds of a block of 256 MiB in 128 chunks, and that against the calls alone."""
    pairs = []
    for number in range(ROUNDS):
        sides = ("own", "shim") if number % 2 else ("shim", "own")
        ns = {by: split(build, by, 256 * MIB, 2 * MIB, 1)[0] for by in sides}
        pairs.append((ns["shim"], ns["own"]))
    return median(shim for shim, _ in pairs) / 1e3, median(shim / own for shim, own in pairs)


def shim_heap(build: Path, chunks: int, blocks: int) -> float:
    """Bytes of heap a block that are the shim's own."""
    heap = {by: split(build, by, chunks * 2 * MIB, 2 * MIB, blocks)[1] for by in ("own", "shim")}
    return (heap["shim"] - heap["own"]) / blocks


def beside_ratio(build: Path) -> float:
    """Allocating and freeing small blocks with a million of them live, ten split blocks beside them against none."""
    ratios = []
    for number in range(ROUNDS):
        ns = {}
        for large in (0, LARGE) if number % 2 else (LARGE, 0):
            arguments = (LIVE, 1, 100_000, 7, large)
            said = child(build, "null_driver", "calls", *arguments, shim=True, GREENBOOST_MOVABLE="1")
            ns[large] = min(said["allocate_free"])
        ratios.append(ns[LARGE] / ns[0])
    return median(ratios)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="What split allocations cost.")
    parser.add_argument("--build", type=Path, default=Path("build"), help="the build folder (default: build)")
    build = parser.parse_args().build.resolve()

    microseconds, ratio = cost_ratio(build)
    few, many = (shim_heap(build, chunks, 20) for chunks in (8, 136))
    per_chunk = max(0.0, (many - few) / 128)
    reached = [
        Target("a split allocation and its free, against its driver calls", ratio, COST_RATIO, " x"),
        Target("the shim's memory for a split block of 8 chunks", few, BLOCK_BYTES_MAX, " bytes"),
        Target("and for each further chunk", per_chunk, CHUNK_BYTES_MAX, " bytes"),
        Target(f"small blocks, {LIVE:,} live, beside {LARGE} split ones", beside_ratio(build), BESIDE_RATIO, " x"),
    ]
    print(f"\nA block of 256 MiB in 128 chunks: {microseconds:.0f} µs to allocate and free, simulated driver.\n")
    print("\n".join(str(target) for target in reached))
    result = {"allocate_free_us": microseconds, "targets": [{**t._asdict(), "met": t.got <= t.limit} for t in reached]}
    (build / "bench" / "split.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
