"""`make gpu-bench`: what each kind of memory gives on a real card. README.md beside this file says what it measures.

usage: gpu_bench.py [--out FOLDER] [--shim LIBRARY] [--limit BYTES] [--minutes 8]

Exit status: 0 everything was measured; 1 something was not, and its row says why; 2 wrong usage, or the library is not
built; 77 there is no NVIDIA GPU here, or no nvcc, and nothing was run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from card import find_card
from checks import HERE, ROOT, find_nvcc
from gpu_test import NO_GPU, choose_limit
from running import build, run

GIB, MIB = 1 << 30, 1 << 20
GRANULE = 2 * MIB
BLOCKS = 8  # of the model in the sweep
OVERFLOWS = (1, 3, 10, 30, 60)  # per cent
CHUNKS = (2 * MIB, 16 * MIB, 64 * MIB)
PLACEMENTS = ("interleave", "front")
RUN_SECONDS_MAX = 60
SHIM_ENV = {"GREENBOOST_VRAM_RESERVE": "0", "GREENBOOST_LOG": "warn"}


@dataclass(frozen=True, slots=True)
class Job:
    """One run of programs/sweep.cu.

    Attributes:
        words: its arguments.
        shim_env: the shim's options; None: without the shim.
        skip: why it cannot be run here.
    """

    name: str
    words: tuple[str, ...]
    shim_env: dict[str, str] | None
    skip: str = ""


@dataclass(slots=True)
class Row:
    """What a run said.

    Attributes:
        result: ok, FAIL or skip.
        figures: by the program's names; times in milliseconds.
        tiers: bytes by tier while it held its memory, by the shim's own page.
    """

    name: str
    result: str
    note: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    tiers: dict[str, int] = field(default_factory=dict)

    def gbps(self, size: int, name: str) -> float | None:
        """Bandwidth in GB/s (10^9 bytes a second) of a pass over so many bytes; None: not measured."""
        ms = self.figures.get(f"{name}_ms", 0.0)
        return size / ms / 1e6 if ms > 0 else None


@dataclass(frozen=True, slots=True)
class Shape:
    """A model on the small card: so many per cent of it do not fit. Bytes."""

    percent: int
    block: int
    limit: int

    @property
    def total(self) -> int:
        """All blocks."""
        return self.block * BLOCKS

    @property
    def host(self) -> int:
        """What does not fit."""
        return self.total - self.limit


def shape_of(card_bytes: int, percent: int) -> Shape:
    """The model whose overflow is `percent` on a card of about `card_bytes`: whole granules, the limit adapted."""
    block = round(card_bytes * 100 / (100 - percent) / BLOCKS / GRANULE) * GRANULE
    return Shape(percent, block, round(block * BLOCKS * (100 - percent) / 100 / GRANULE) * GRANULE)


def base_jobs(limit: int) -> Iterator[Job]:
    """The card's own figures, without the shim: what the bounds are computed from."""
    yield Job("device, no GreenBoost", ("malloc", str(BLOCKS), str(limit // BLOCKS), "again", "write", "copy"), None)
    yield Job("pinned, no GreenBoost", ("pinned", str(BLOCKS), str(limit // BLOCKS), "again", "write"), None)


def mechanism_jobs(limit: int, card: dict[str, Any]) -> Iterator[Job]:
    """A GiB (less on a small card) in four blocks, by each mechanism."""
    size = min(GIB, limit)

    def job(name: str, vram: int | None, skip: str = "", total: int = size, **options: str) -> Job:
        env = {**SHIM_ENV, **{f"GREENBOOST_{key.upper()}": value for key, value in options.items()}}
        if vram is not None:
            env["GREENBOOST_VRAM_LIMIT"] = str(vram)
        return Job(name, ("malloc", "4", str(total // 4), "again", "write", "copy"), env, skip)

    yield job("device", None)
    half = size // 2
    yield job("split, front, half in VRAM", half, fallback="split", placement="front", expect=str(size))
    yield job("split, interleave, half in VRAM", half, fallback="split", placement="interleave", expect=str(size))
    yield job("split, none in VRAM", 0, fallback="split")
    yield job("host_mapped", 0, fallback="host")
    # More managed memory than is free has hung cards: stay far below.
    managed = min(size, card["free"] // 4 // (64 * MIB) * (64 * MIB))
    skip = "" if card["concurrent_managed"] else "the card has no concurrent managed access"
    skip = skip or ("" if managed else "too little free memory")
    yield job("managed", 0, skip=skip, total=managed, fallback="managed")


def sweep_jobs(limit: int) -> Iterator[tuple[Shape, str, int, Job]]:
    """The overflow sweep: shape, placement, chunk in bytes, run. Granules come first, as interleaving's default."""
    for chunk in CHUNKS:
        for percent in OVERFLOWS:
            shape = shape_of(limit, percent)
            for placement in PLACEMENTS:
                env = {
                    **SHIM_ENV,
                    "GREENBOOST_VRAM_LIMIT": str(shape.limit),
                    "GREENBOOST_PLACEMENT": placement,
                    "GREENBOOST_EXPECT": str(shape.total),
                    "GREENBOOST_CHUNK": str(chunk),
                }
                name = f"{percent} %, {placement}, {chunk // MIB} MiB"
                yield shape, placement, chunk, Job(name, ("malloc", str(BLOCKS), str(shape.block)), env)


class Bench:
    """Runs jobs until the time is up, and keeps their rows."""

    def __init__(self, program: Path, shim: Path, deadline: float) -> None:
        """Nothing is run yet.

        Args:
            program: programs/sweep.cu, compiled.
            shim: the library.
            deadline: by time.monotonic().
        """
        self.program, self.shim, self.deadline = program, shim, deadline
        self.rows: list[Row] = []

    def measure(self, job: Job) -> Row:
        """One job's row, which is said as well."""
        row = self._row(job)
        self.rows.append(row)
        print(f"  {row.result:4}  {row.name}  {row.note}"[:200], flush=True)
        return row

    def _row(self, job: Job) -> Row:
        left = self.deadline - time.monotonic()
        if job.skip:
            return Row(job.name, "skip", job.skip)
        if left < 5:
            return Row(job.name, "FAIL", "not run: time is up")
        env = {k: v for k, v in os.environ.items() if not k.startswith("GREENBOOST_") and k != "LD_PRELOAD"}
        if job.shim_env is not None:
            env |= {"LD_PRELOAD": str(self.shim), **job.shim_env}
        said = run([str(self.program), *job.words], env, min(RUN_SECONDS_MAX, left))
        figures = {}
        for line in said.results:
            name, _, value = line.partition(" ")
            try:
                figures[name] = float(value)
            except ValueError:
                return Row(job.name, "FAIL", f"it said '{line[:80]}'", figures)
        pages = [page["tiers"] for page in said.pages.values() if page]
        if not said.failure and not figures.pop("done", 0):
            return Row(job.name, "FAIL", "it said too little", figures)
        return Row(job.name, "FAIL" if said.failure else "ok", said.failure, figures, pages[0] if pages else {})


def number(value: float | None, digits: int = 1) -> str:
    """For a cell; empty: not measured."""
    return "" if value is None else f"{value:.{digits}f}"


def memory_table(sizes: dict[str, int], rows: list[Row]) -> str:
    """Markdown: bandwidths, and what allocating costs."""
    lines = [
        "| memory | read, GB/s | write, GB/s | copy to, GB/s | copy from, GB/s | allocate, ms/GiB | free, ms/GiB | note |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        size = sizes[row.name]
        cells = [row.name, *(number(row.gbps(size, name)) for name in ("read", "write", "to", "from"))]
        for name in ("allocate_ms", "free_ms"):
            ms = row.figures.get(name)
            cells.append(number(None if ms is None else ms * GIB / size, 2))
        held = ", ".join(f"{name} {count // MIB} MiB" for name, count in row.tiers.items())
        cells.append(
            (row.note if row.result == "ok" else f"{row.result}: {row.note}").replace("|", "\\|")[:160] or held
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def times(shape: Shape, device: float, link: float) -> tuple[float, float]:
    """Milliseconds of a pass: the bound, both memories busy all the time; and the sum, one after the other.

    Args:
        shape: the model.
        device: bandwidth of VRAM in GB/s.
        link: of reading host memory in place.
    """
    parts = shape.limit / device / 1e6, shape.host / link / 1e6
    return max(parts), sum(parts)


def sweep_points(bench: Bench, limit: int, device: float | None, link: float | None) -> list[dict[str, Any]]:
    """Run the sweep; for each run where the bytes lay, what it took, and against which bound."""
    points = []
    for shape, placement, chunk, job in sweep_jobs(limit):
        row = bench.measure(job)
        bound, both = times(shape, device, link) if device and link else (None, None)
        ms = row.figures.get("read_ms") if row.result == "ok" else None
        point = {"percent": shape.percent, "placement": placement, "chunk_bytes": chunk}
        point |= {"vram_bytes": shape.limit, "host_bytes": shape.host, "bound_ms": bound, "sum_ms": both, "ms": ms}
        point["to_bound"] = ms / bound if ms and bound else None
        points.append(point)
    return points


def sweep_table(points: list[dict[str, Any]]) -> str:
    """Markdown: each placement and chunk as a multiple of the bound."""
    columns = [(placement, chunk) for placement in PLACEMENTS for chunk in CHUNKS]
    names = [f"{placement} {chunk // MIB} MiB" for placement, chunk in columns]
    lines = [
        "| overflow | in VRAM, MiB | in host, MiB | bound, ms | sum | " + " | ".join(names) + " |",
        "| ---: |" + " ---: |" * (4 + len(columns)),
    ]
    for percent in OVERFLOWS:
        mine = {(p["placement"], p["chunk_bytes"]): p for p in points if p["percent"] == percent}
        any_point = next(iter(mine.values()))
        bound, both = any_point["bound_ms"], any_point["sum_ms"]
        cells = [f"{percent} %", str(any_point["vram_bytes"] // MIB), str(any_point["host_bytes"] // MIB)]
        cells += [number(bound, 2), number(both / bound if bound else None, 2)]
        cells += [number(mine[column]["to_bound"], 2) or ("?" if mine[column]["ms"] else "FAIL") for column in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def commit() -> str:
    """Which sources these are; "unknown" where there is no repository, or no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
        )
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def kernel_driver() -> str:
    """The driver's own version, as its module says; empty: it does not."""
    try:
        first = Path("/proc/driver/nvidia/version").read_text().splitlines()[0]
    except (OSError, IndexError):
        return ""
    return next((word for word in first.split() if word[0].isdigit() and "." in word), "")


def compile_program(nvcc: str, card: dict[str, Any], made: Path) -> str:
    """Compile programs/sweep.cu for the card, or for any where this nvcc does not know it; why not, or nothing."""
    command = [nvcc, "-O3", "-std=c++17", "-o", str(made), str(HERE / "programs" / "sweep.cu")]
    major, minor = card["capability"]
    return build([*command, f"-arch=sm_{major}{minor}"], made) and build(command, made)


def everything(bench: Bench, limit: int, card: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """All measurements; Markdown, and what goes into the JSON."""
    jobs = [*base_jobs(limit), *mechanism_jobs(limit, card)]
    sizes = {job.name: int(job.words[1]) * int(job.words[2]) for job in jobs}
    rows = [bench.measure(job) for job in jobs]
    device, link = (row.gbps(limit // BLOCKS * BLOCKS, "read") for row in rows[:2])
    points = sweep_points(bench, limit, device, link)
    window = rows[0].figures.get("window_bytes")
    text = [memory_table(sizes, rows), ""]
    text.append(f"A pass over a model in {BLOCKS} blocks, each read once, as a multiple of the bound: what VRAM")
    text.append(
        f"({number(device) or '?'} GB/s) and the link ({number(link) or '?'} GB/s, in place) need, both busy all the time."
    )
    text.append(f"A kernel has {number(window / MIB if window else None, 0)} MiB in flight.")
    text += ["", sweep_table(points)]
    failed = [row for row in bench.rows if row.result == "FAIL"]
    text += ["", *(f"- FAIL {row.name}: {row.note}" for row in failed)] if failed else []
    result = {
        "device_gbps": device,
        "link_gbps": link,
        "memory": [{**asdict(row), "bytes": sizes[row.name]} for row in rows],
        "sweep": points,
        "runs": [asdict(row) for row in bench.rows[len(rows) :]],
    }
    return "\n".join(text), result


def main() -> int:
    """Find the card, build, measure, report."""
    parser = argparse.ArgumentParser(description="What each kind of memory gives on a real NVIDIA GPU.")
    parser.add_argument("--out", type=Path, help="write gpu_bench.json and gpu_bench.md to this folder")
    parser.add_argument("--shim", type=Path, default=ROOT / "build" / "libgreenboost.so", help="the library to measure")
    parser.add_argument("--limit", type=int, help="the small card, in bytes (default: 2 GiB, less on a small card)")
    parser.add_argument("--minutes", type=float, default=8, help="time for all of it (default: 8)")
    arguments = parser.parse_args()
    start = time.monotonic()
    shim = arguments.shim.resolve()
    if not shim.is_file():
        print(f"gpu-bench: {shim} is not built: make build", file=sys.stderr)
        return 2
    card, nvcc = find_card(), find_nvcc()
    if card is None:
        print("gpu-bench: no NVIDIA GPU here: skipped, nothing was run")
        return NO_GPU
    if nvcc is None:
        print("gpu-bench: no nvcc here, which compiles the program that measures: skipped, nothing was run")
        return NO_GPU
    limit = max(choose_limit(card, arguments.limit) // (64 * MIB), 1) * 64 * MIB
    driver = f"driver {kernel_driver() or '?'} (CUDA {card['driver'] // 1000}.{card['driver'] % 1000 // 10})"
    date = time.strftime("%Y-%m-%d", time.gmtime())
    title = f"{card['name']}, {driver}, {date}, commit {commit()}; a card of {limit // MIB} MiB"
    print(title, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "sweep"
        if problem := compile_program(nvcc, card, program):
            print(f"gpu-bench: programs/sweep.cu {problem}", file=sys.stderr)
            return 1
        bench = Bench(program, shim, start + arguments.minutes * 60)
        body, result = everything(bench, limit, card)

    seconds = round(time.monotonic() - start)
    count = {word: sum(row.result == word for row in bench.rows) for word in ("ok", "FAIL", "skip")}
    summary = f"{count['ok']} measured, {count['FAIL']} failed, {count['skip']} skipped"
    text = f"{title}; {seconds} s\n\n{body}\n\n{summary}\n"
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        report = {"title": title, "card": card, "limit_bytes": limit, "seconds": seconds, **count, **result}
        (arguments.out / "gpu_bench.json").write_text(json.dumps(report, indent=1) + "\n")
        (arguments.out / "gpu_bench.md").write_text(text)
    print("\n" + text, end="")
    return 1 if count["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
