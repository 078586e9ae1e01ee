"""`make gpu-test`: the shim on a real card. README.md beside this file says what it shows.

usage: gpu_test.py [--out FOLDER] [--shim LIBRARY] [--limit BYTES] [--minutes 8] [--only TEXT]... [--list]

Exit status: 0 everything that could run is as it should be; 1 something is not; 2 wrong usage, or the library is not
built; 77 there is no NVIDIA GPU here, and nothing was run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from card import available_memory, find_card
from checks import ROOT, Check, build_clients, build_forms, client_checks, framework_checks, runtime_checks
from running import Run, difference, judge_chunks, judge_pages, run

GIB = 1 << 30
MIB = 1 << 20
NO_GPU = 77
LIMIT_BYTES = 2 * GIB


def environment(check: Check, shim: Path | None) -> dict[str, str]:
    """The child's environment: this one's, without what would steer the shim, and what the check wants."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("GREENBOOST_") and k != "LD_PRELOAD"}
    env |= {"PYTHONUNBUFFERED": "1", **check.env}
    preload = [check.preload] if check.preload else []
    if shim:
        preload.insert(0, str(shim))
        env |= {"GREENBOOST_VRAM_LIMIT": str(check.limit), "GREENBOOST_LOG": "info", **check.shim_env}
    if preload:
        env["LD_PRELOAD"] = ":".join(preload)
    return env


def judge(check: Check, plain: Run | None, shimmed: Run) -> tuple[str, str]:
    """("pass" | "FAIL" | "skip", why)."""
    if plain and plain.failure:
        return ("FAIL" if check.ours else "skip"), f"without GreenBoost: {plain.failure}"
    if shimmed.failure:
        return "FAIL", shimmed.failure
    if not shimmed.results:
        return "FAIL", "it said nothing"
    if check.page is None:
        if any(shimmed.pages.values()):
            return "FAIL", "switched off, and yet it shows a page"
    elif wrong := judge_pages(shimmed, check.limit, check.spills) or judge_chunks(shimmed, check.splits, check.moves):
        return "FAIL", wrong
    if plain and (wrong := difference(plain, shimmed)):
        return "FAIL", wrong
    return "pass", "; ".join(dict.fromkeys(shimmed.infos))


def run_check(check: Check, shim: Path, together: bool, deadline: float) -> dict[str, Any]:
    """One check: its row of the table."""
    row: dict[str, Any] = {"check": check.name, "limit_bytes": check.limit, "result": "skip", "note": check.skip}
    left = deadline - time.monotonic()
    if check.skip:
        return row
    if left < 5:
        return {**row, "result": "FAIL", "note": "not run: time is up"}
    seconds = min(check.seconds_max, left)
    plain_command = check.plain_command or check.command
    with ThreadPoolExecutor(2 if together and not check.alone else 1) as pool:
        first = pool.submit(run, plain_command, environment(check, None), seconds) if check.plain else None
        second = pool.submit(run, check.command, environment(check, shim), seconds)
        plain = first.result() if first else None
        shimmed = second.result()
    row["result"], row["note"] = judge(check, plain, shimmed)
    pages = [page for page in shimmed.pages.values() if page]
    row |= {
        "plain_s": round(plain.seconds, 1) if plain else None,
        "shim_s": round(shimmed.seconds, 1),
        "spilled_bytes": max((page["spilled_bytes"] for page in pages), default=None),
        "results": shimmed.results,
        "pages": shimmed.pages,
        "infos": shimmed.infos,
        "errors": shimmed.errors,
        "plain_errors": plain.errors if plain else "",
    }
    return row


def killed_check(client: Path, limit: int, shim: Path, seconds: float) -> dict[str, Any]:
    """A client that is killed while it holds its memory leaves nothing behind that hinders the next one."""
    command = [str(client), "--vram", str(limit), "--times", "2", "--slack", str(512 * MIB), "malloc"]
    check = Check("C: after another was killed", limit, command)
    row: dict[str, Any] = {"check": check.name, "limit_bytes": limit, "result": "skip", "note": "not built"}
    if not client.exists():
        return row
    env = environment(check, shim)
    start = time.monotonic()
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen([*command, "--hold"], env=env, stdin=pipe, stdout=pipe, stderr=nothing, text=True) as victim:
        timer = threading.Timer(seconds, victim.kill)
        timer.start()
        assert victim.stdout
        held = victim.stdout.readline().strip() == "holding"
        victim.kill()
        timer.cancel()
    after = run(command, env, seconds)
    note = after.failure or ("" if held else "the one to be killed did not get its memory")
    return row | {"result": "FAIL" if note else "pass", "note": note, "shim_s": round(time.monotonic() - start, 1)}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| check | result | limit, MiB | without, s | with, s | spilled, MiB | note |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        spilled = row.get("spilled_bytes")
        cells = [
            row["check"],
            row["result"],
            str(row["limit_bytes"] // MIB),
            str(row.get("plain_s") or ""),
            str(row.get("shim_s") or ""),
            "" if spilled is None else str(spilled // MIB),
            row["note"].replace("|", "\\|")[:160],
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def choose_limit(card: dict[str, Any], asked: int | None) -> int:
    """2 GiB; less where the card or the machine is small: both runs may be on the card at once, one may be in RAM."""
    if asked:
        return asked
    room = min(card["free"] // 3, max(available_memory() - 2 * GIB, 0) // 3)
    return int(max(min(LIMIT_BYTES, room // (64 * MIB) * 64 * MIB), 128 * MIB))


def main() -> int:
    """Find the card, build, run, report."""
    parser = argparse.ArgumentParser(description="GreenBoost's shim on a real NVIDIA GPU.")
    parser.add_argument("--out", type=Path, help="write gpu_test.json and gpu_test.md to this folder")
    parser.add_argument("--shim", type=Path, default=ROOT / "build" / "libgreenboost.so", help="the library to test")
    parser.add_argument(
        "--limit", type=int, help="GREENBOOST_VRAM_LIMIT in bytes (default: 2 GiB, less on a small card)"
    )
    parser.add_argument("--minutes", type=float, default=8, help="time for all of it (default: 8)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="TEXT", help="only checks whose name has TEXT in it"
    )
    parser.add_argument("--list", action="store_true", help="print the checks' names, run nothing")
    arguments = parser.parse_args()
    start = time.monotonic()
    deadline = start + arguments.minutes * 60
    shim = arguments.shim.resolve()
    if not shim.is_file():
        print(f"gpu-test: {shim} is not built: make build", file=sys.stderr)
        return 2
    card = find_card()
    if card is None:
        print("gpu-test: no NVIDIA GPU here: skipped, nothing was run")
        return NO_GPU
    limit = choose_limit(card, arguments.limit)
    together = card["free"] >= 6 * limit and available_memory() >= 8 * limit
    title = f"{card['name']}, driver {card['driver']}, {card['free'] // MIB} MiB free; limit {limit // MIB} MiB"
    print(title, flush=True)

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        with ThreadPoolExecutor(2) as pool:
            clients, forms = pool.submit(build_clients, work, card), pool.submit(build_forms, work)
            checks = [
                *client_checks(work, limit, clients.result()),
                *runtime_checks(work, limit, card, forms.result()),
                *framework_checks(limit),
            ]
        print(f"built in {time.monotonic() - start:.0f} s", flush=True)
        for check in checks:
            if arguments.only and not any(text in check.name for text in arguments.only):
                continue
            if arguments.list:
                print(check.name + (f" (skip: {check.skip})" if check.skip else ""))
                continue
            rows.append(run_check(check, shim, together, deadline))
            print(f"  {rows[-1]['result']:4}  {check.name}  {rows[-1]['note']}"[:200], flush=True)
        if not arguments.list and (not arguments.only or any("killed" in text for text in arguments.only)):
            rows.append(killed_check(work / "linked", limit // 4, shim, 60))
    if arguments.list:
        return 0

    count = {word: sum(row["result"] == word for row in rows) for word in ("pass", "FAIL", "skip")}
    summary = f"{count['pass']} passed, {count['FAIL']} failed, {count['skip']} skipped"
    text = f"{table(rows)}\n\n{title}; {time.monotonic() - start:.0f} s\n\n{summary}\n"
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        report = {
            "card": card,
            "limit_bytes": limit,
            "seconds": round(time.monotonic() - start),
            **count,
            "checks": rows,
        }
        (arguments.out / "gpu_test.json").write_text(json.dumps(report, indent=1) + "\n")
        (arguments.out / "gpu_test.md").write_text(text)
    print("\n" + text, end="")
    return 1 if count["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
