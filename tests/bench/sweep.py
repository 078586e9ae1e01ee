"""What an overflow costs, by where the bytes lie: the performance model of the simulated driver, with the real shim.

usage: sweep.py [--build FOLDER] [--svg FILE]

A model of 4 GiB in eight blocks is read once, block after block, on a card that has room for all but a share of it: the
overflow. The memory is never touched; what a pass takes is arithmetic (tests/shim/fake_driver/README.md), so every run
gives the same figures. The bound is what the two memories need at least, both busy all the time: the longer of
VRAM / its bandwidth and host memory / the link's; the sum is both, one after the other.

The table goes to the terminal, everything to FOLDER/bench/sweep.json, the picture to FOLDER/bench/placement.svg and to
--svg. FAKECUDA_MODEL_... come through from the environment. A missed target is marked MISSED and is no failure: exit 0.
Exit 1: something did not run.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench import Target
from chart import Axis, Line, draw

MIB, GIB = 1 << 20, 1 << 30
GRANULE_BYTES = 2 * MIB
TOTAL_BYTES = 4 * GIB
BLOCK_BYTES = 512 * MIB
SMALLER_BLOCKS = (64 * MIB, 16 * MIB)
OVERFLOWS = (1, 3, 10, 30, 60)  # per cent
MODEL = {"DEVICE_GBPS": "500", "LINK_GBPS": "25", "FAULT_GBPS": "5", "WINDOW": "32MiB"}
INTERLEAVE_TO_BOUND = 1.05
FRONT_OFF_SUM_PERCENT = 1.0
CHILD_SECONDS_MAX = 120


class Policy(NamedTuple):
    """One way of placing what does not fit.

    Attributes:
        settings: the child's variables on a card with room for so many bytes.
        program: how the program asks for memory: malloc, or managed (then without the shim).
    """

    name: str
    label: str
    colour: str
    settings: Callable[[int], dict[str, str]]
    program: str = "malloc"


def _limited(limit_bytes: int, **more: str) -> dict[str, str]:
    return {"GREENBOOST_VRAM_LIMIT": str(limit_bytes), **more}


POLICIES = (
    Policy("managed", "managed memory", "#cf4a3f", lambda limit: {"FAKECUDA_VRAM": str(limit)}, "managed"),
    Policy("host", "all in host memory", "#b7791f", lambda _: _limited(0)),
    Policy("front", "VRAM first, then host", "#3b82d6", lambda limit: _limited(limit, GREENBOOST_PLACEMENT="front")),
    Policy(
        "interleave",
        "interleaved",
        "#2f9e5f",
        lambda limit: _limited(limit, GREENBOOST_PLACEMENT="interleave", GREENBOOST_EXPECT=str(TOTAL_BYTES)),
    ),
)


class Point(NamedTuple):
    """One overflow: what would be ideal, and what each policy took, in milliseconds."""

    percent: int
    block_bytes: int
    vram_bytes: int
    host_bytes: int
    bound_ms: float
    sum_ms: float
    all_vram_ms: float
    passes: dict[str, dict[str, Any]]

    def ms(self, policy: str) -> float:
        """One pass under a policy."""
        return float(self.passes[policy]["ns"]) / 1e6

    @property
    def to_bound(self) -> float:
        """One pass, interleaved, as a multiple of the bound."""
        return self.ms("interleave") / self.bound_ms


def environment(build: Path, policy: Policy, limit_bytes: int) -> dict[str, str]:
    """The child's environment: of ours, everything but what steers the shim."""
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD" and not k.startswith("GREENBOOST_")}
    env |= {f"FAKECUDA_MODEL_{key}": rate(key) for key in MODEL}
    env |= {"LD_LIBRARY_PATH": str(build / "fake_driver"), "FAKECUDA_VRAM": str(2 * TOTAL_BYTES)}
    if policy.program == "malloc":
        env |= {
            "LD_PRELOAD": str(build / "libgreenboost.so"),
            "GREENBOOST_HOST_RESERVE": "0",
            "GREENBOOST_VRAM_RESERVE": "0",
            # The same chunks for every policy, so that nothing but their order differs.
            "GREENBOOST_CHUNK": str(GRANULE_BYTES),
        }
    return env | policy.settings(limit_bytes)


def rate(key: str) -> str:
    """A setting of the model: the environment's, or the one meant here."""
    return os.environ.get(f"FAKECUDA_MODEL_{key}") or MODEL[key]


def sensible(gbps: str) -> bool:
    """Whether the simulated driver takes this for a bandwidth (tests/shim/fake_driver/config.c)."""
    try:
        return 0.001 <= float(gbps) <= 1e6
    except ValueError:
        return False


def one_pass(build: Path, policy: Policy, limit_bytes: int, block_bytes: int) -> dict[str, Any]:
    """Run the program once under a policy."""
    program = Path(__file__).resolve().with_name("one_pass.py")
    command = [sys.executable, str(program), str(TOTAL_BYTES // block_bytes), str(block_bytes), policy.program]
    env = environment(build, policy, limit_bytes)
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=CHILD_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        sys.exit(f"sweep: {policy.name} did not end within {CHILD_SECONDS_MAX} s")
    if done.returncode != 0:
        sys.exit(f"sweep: {policy.name} with {limit_bytes} bytes of VRAM exited {done.returncode}\n{done.stderr}")
    print(done.stderr, file=sys.stderr, end="")
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def measure(build: Path, percent: int, block_bytes: int, policies: tuple[Policy, ...]) -> Point:
    """One overflow, with these policies."""
    vram = TOTAL_BYTES * (100 - percent) // 100 // GRANULE_BYTES * GRANULE_BYTES
    host = TOTAL_BYTES - vram
    # 1 GB/s is 10^6 bytes a millisecond.
    vram_ms, host_ms = (b / float(rate(key)) / 1e6 for b, key in ((vram, "DEVICE_GBPS"), (host, "LINK_GBPS")))
    return Point(
        percent,
        block_bytes,
        vram,
        host,
        max(vram_ms, host_ms),
        vram_ms + host_ms,
        TOTAL_BYTES / float(rate("DEVICE_GBPS")) / 1e6,
        {policy.name: one_pass(build, policy, vram, block_bytes) for policy in policies},
    )


def targets(points: list[Point]) -> list[Target]:
    """Interleaving reaches the bound; VRAM first costs the sum, which shows that the model is not simply kind."""
    found = []
    for p in points:
        found.append(Target(f"interleaved at {p.percent} %, to the bound", p.to_bound, INTERLEAVE_TO_BOUND, " x"))
    for p in points:
        off = abs(p.ms("front") / p.sum_ms - 1) * 100
        found.append(Target(f"VRAM first at {p.percent} %, off the sum", off, FRONT_OFF_SUM_PERCENT, " %"))
    return found


def table(points: list[Point]) -> str:
    """Markdown, within 100 columns."""
    lines = [
        "| overflow | in VRAM, MiB | bound | interleaved | to bound | VRAM first | sum | all host | managed |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for p in points:
        lines.append(
            f"| {p.percent} % | {p.vram_bytes // MIB} | {p.bound_ms:.2f} | {p.ms('interleave'):.2f} "
            f"| {p.to_bound:.3f} | {p.ms('front'):.2f} | {p.sum_ms:.2f} "
            f"| {p.ms('host'):.2f} | {p.ms('managed'):.2f} |"
        )
    return "\n".join(lines)


def smaller_table(points: list[Point]) -> str:
    """Markdown: interleaved to the bound, by the size of the blocks."""
    lines = [
        "| interleaved to bound | " + " | ".join(f"{percent} %" for percent in OVERFLOWS) + " |",
        "| --- |" + " ---: |" * len(OVERFLOWS),
    ]
    for size in SMALLER_BLOCKS:
        cells = [f"{p.to_bound:.3f}" for p in points if p.block_bytes == size]
        lines.append(f"| in blocks of {size // MIB} MiB | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def picture(points: list[Point]) -> str:
    """The chart: time of a pass, as a multiple of everything in VRAM, against the overflow."""
    lines = [
        Line(policy.label, policy.colour, [(p.percent, p.ms(policy.name) / p.all_vram_ms) for p in points])
        for policy in POLICIES
    ]
    bound = [(float(p.percent), p.bound_ms / p.all_vram_ms) for p in points]
    lines.append(Line("bound", "currentColor", bound, dashed=True))
    top = max(value for line in lines for _, value in line.points)
    steps = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    last = next((i for i, step in enumerate(steps) if step >= top), len(steps) - 1)
    return draw(
        f"One pass over {TOTAL_BYTES // GIB} GiB, by where the bytes lie (simulated)",
        f"VRAM {rate('DEVICE_GBPS')} GB/s, link {rate('LINK_GBPS')} GB/s, page migration {rate('FAULT_GBPS')} GB/s, "
        f"{rate('WINDOW')} in flight",
        Axis("share of the model that VRAM cannot hold", [(p.percent, f"{p.percent} %") for p in points]),
        Axis("time of a pass, all in VRAM = 1", [(step, f"{step:g} x") for step in steps[: last + 1]]),
        lines,
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="What an overflow costs, by where the bytes lie. Simulated.")
    parser.add_argument("--build", type=Path, default=Path("build"), help="the build folder (default: build)")
    parser.add_argument("--svg", type=Path, help="write the picture to this file as well")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    for needed in (build / "libgreenboost.so", build / "fake_driver" / "libcuda.so.1"):
        if not needed.exists():
            sys.exit(f"sweep: {needed} is missing: make build")
    for key in ("DEVICE_GBPS", "LINK_GBPS"):
        if not sensible(rate(key)):
            sys.exit(f"sweep: FAKECUDA_MODEL_{key}={rate(key)} is not a bandwidth in GB/s, 0.001 to 1000000")

    points = [measure(build, percent, BLOCK_BYTES, POLICIES) for percent in OVERFLOWS]
    interleave = tuple(policy for policy in POLICIES if policy.name == "interleave")
    smaller = [measure(build, percent, size, interleave) for size in SMALLER_BLOCKS for percent in OVERFLOWS]
    reached = targets(points)
    print(table(points))
    print(
        f"\nMilliseconds of one pass over {TOTAL_BYTES // GIB} GiB in blocks of {BLOCK_BYTES // MIB} MiB, simulated: "
        f"VRAM {rate('DEVICE_GBPS')} GB/s, link {rate('LINK_GBPS')} GB/s,\npage migration {rate('FAULT_GBPS')} GB/s, "
        f"{rate('WINDOW')} in flight. VRAM first is not the sum to the last digit: at the one\nplace where VRAM ends, "
        "one window's bytes of both memories overlap.\n\nA small block cannot be in proportion: one granule of host "
        "memory is more than its share, and the\nblock's kernel waits for it.\n"
    )
    print(smaller_table(smaller) + "\n")
    print("\n".join(str(target) for target in reached))
    result = {
        "model": {key.lower(): rate(key) for key in MODEL},
        "total_bytes": TOTAL_BYTES,
        "points": [p._asdict() for p in points],
        "smaller_blocks": [p._asdict() for p in smaller],
        "targets": [{**t._asdict(), "met": t.got <= t.limit} for t in reached],
    }
    folder = build / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.json").write_text(json.dumps(result, indent=1) + "\n")
    for file in (folder / "placement.svg", arguments.svg):
        if file:
            file.write_text(picture(points))


if __name__ == "__main__":
    main()
