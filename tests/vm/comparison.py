"""Who dies, and whether anybody is told before, when a GPU's driver fills a machine that somebody watches: the figures of
docs/reliability.md. Not a test: `make oom-comparison`, some 15 minutes.

Every watcher has the same machine, the same load and the settings of its Debian package; systemd-oomd, which watches nothing
by default, is told to watch where the load runs.
"""

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.cache import Cache
from harness.debian import get_installed_disk
from harness.kernel import get_kernel
from harness.system import System
from harness.timeline import Load, loads_of
from test_innocent import RATES, SMALL, WORDS

ROOT = Path(__file__).resolve().parents[2]

TERMINATE = (
    '[terminate]\\nlargest_holder = true\\nafter_s = 0\\n[ram]\\nnotice = "50%"\\nwarn = "45%"\\ncritical = "40%"\\n'
)

WATCHERS = {
    "nobody": ("", "greenboostd"),
    "GreenBoost": ("", ""),
    "GreenBoost, told to end the largest holder": (
        f"printf '%b' '{TERMINATE}' >/etc/greenboost/config.d/10-test.toml;"
        " /opt/greenboost/bin/greenboost service install --allow-terminate",
        "",
    ),
    "earlyoom": ("systemctl start earlyoom", "greenboostd"),
    "nohang": ("systemctl start nohang-desktop", "greenboostd"),
    "systemd-oomd": (
        "systemctl set-property --runtime system.slice ManagedOOMMemoryPressure=kill; systemctl start systemd-oomd",
        "greenboostd",
    ),
}
"""By its name: what starts it, and what is stopped for it."""

IDENTIFIERS = ("greenboost[", "earlyoom[", "nohang-desktop[", "systemd-oomd[")


def row(watcher: str, load: Load) -> dict[str, object]:
    """What came of one filling."""
    begin_s = load.events[0].at_s
    died = next((event for event in load.events if "Killed process" in event.text or "mark: gone" in event.text), None)
    warning = next(iter(load.warnings), None)
    kill = next(iter(load.kills), None)
    return {
        "watcher": watcher,
        "mib_per_s": load.mib_per_s,
        "died": None if died is None else kill.name if kill and died.at_s == kill.at_s else load.gone,
        "by_kernel": kill is not None and died is not None and kill.at_s <= died.at_s,
        "after_s": None if died is None else round(died.at_s - begin_s, 1),
        "lead_s": None if died is None or warning is None else round(died.at_s - warning.at_s, 1),
        "all_killed": [each.name for each in load.kills],
        "said": [
            f"{event.at_s - begin_s:.1f} {event.text[:160]}"
            for event in load.events
            if event.text.startswith(IDENTIFIERS)
        ],
    }


def measure(watcher: str, folder: Path) -> list[dict[str, object]]:
    """Fills one machine at each rate."""
    start, stopped = WATCHERS[watcher]
    cache = Cache(ROOT / "build/vm")
    (wheel,) = (ROOT / "build/dist").glob("greenboost-*.whl")
    log_dir = folder / str(list(WATCHERS).index(watcher))
    log_dir.mkdir(parents=True)
    script = f"""
        umask 022
        until systemctl -q is-active greenboostd; do sleep 0.1; done
        {f"systemctl stop {stopped}" if stopped else ""}
        {start}
        . ./load.sh
        for rate in {" ".join(map(str, RATES))}; do
            {"" if stopped else "systemctl restart greenboostd"}
            load $rate 120
            sleep 10
        done
        dmesg >$KEPT/dmesg
    """
    programs = {path.name: path for path in (Path(__file__).parent / "programs").iterdir()}
    system = System(get_kernel(cache), get_installed_disk(cache, wheel), log_dir)
    guest = system(script, WORDS, files=programs, modules=("qxl",), hardware=SMALL, deadline_s=900)
    return [row(watcher, load) for load in loads_of(guest.text("dmesg"))]


def report(watcher: str, folder: Path) -> None:
    """Prints a line of JSON for each filling."""
    for each in measure(watcher, folder):
        print(json.dumps(each), flush=True)


def main() -> None:
    """Measures those that are named, or all, two machines at a time."""
    folder = ROOT / "build/vm/comparison"
    shutil.rmtree(folder, ignore_errors=True)
    watchers = sys.argv[1:] or list(WATCHERS)
    with ThreadPoolExecutor(2) as pool:
        # Each prints when it is done: what fails later takes nothing with it.
        for done in [pool.submit(report, watcher, folder) for watcher in watchers]:
            done.result()


if __name__ == "__main__":
    main()
