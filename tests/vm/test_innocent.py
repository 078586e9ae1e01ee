"""A GPU's driver takes all RAM, real TTM pages on a real kernel: who holds it is named before the kernel kills somebody, and
with the actions that can be asked for nobody who has done nothing dies.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from harness.qemu import Hardware
from harness.system import System
from harness.timeline import Load, loads_of, mib

RATES = (20, 60, 200)
"""In MiB/s. What is left of RAM lasts for 15 s, 5 s and 1.5 s."""

SMALL = Hardware(memory_mib=512, cpus=2, arguments=("-vga", "qxl", "-icount", "shift=1,sleep=off"))
"""A machine with a card whose driver is TTM's, and needs no hardware. Its clock counts its own instructions, 2 ns each: what
else this machine has to do makes nothing there slower. Source: QEMU's documentation, devel/tcg-icount.
"""

WORDS = (
    "ttm.pages_limit=10000000 printk.devkmsg=on systemd.journald.forward_to_kmsg=1 systemd.journald.max_level_kmsg=info"
)
"""No limit on what the driver takes; and all that is said goes to the kernel's log, whose clock is the one for all."""

POOLED_MIB = 32
"""What TTM keeps at hand, and the hog notes late."""

LATE_S = 1
"""What is told was true when the daemon looked, and then it looked at every process, on a slow machine."""


def fill(installed: System, programs: Mapping[str, Path], configuration: str = "", rights: str = "") -> list[Load]:
    """Fills the machine at each rate, each time with a daemon that has just started.

    Args:
        installed: the machine.
        programs: what runs there.
        configuration: the daemon's.
        rights: what it may do beyond the usual.
    """
    script = f"""
        umask 022
        until systemctl -q is-active greenboostd; do sleep 0.1; done
        printf '%s' '{configuration}' >/etc/greenboost/config.d/10-test.toml
        {f"/opt/greenboost/bin/greenboost service install {rights}" if rights else ""}
        . ./load.sh
        for rate in {" ".join(map(str, RATES))}; do
            systemctl restart greenboostd
            load $rate 60
        done
        dmesg >$KEPT/dmesg
    """
    guest = installed(script, WORDS, files=programs, modules=("qxl",), hardware=SMALL, deadline_s=580)
    loads = loads_of(guest.text("dmesg"))
    assert [load.mib_per_s for load in loads] == list(RATES)
    return loads


def note_lead(load: Load, lead_s: float) -> None:
    """For docs/reliability.md."""
    if path := os.environ.get("GREENBOOST_LEAD_TIMES"):
        with Path(path).open("a") as file:
            file.write(json.dumps({"ttm_mib_per_s": load.mib_per_s, "lead_s": round(lead_s, 3)}) + "\n")


def test_warning_names_the_holder_and_its_memory_before_the_kernel_kills(
    installed: System, programs: Mapping[str, Path]
) -> None:
    for load in fill(installed, programs):
        assert load.kills, f"at {load.mib_per_s} MiB/s nobody was killed: {load.events}"
        before = [warning for warning in load.warnings if warning.at_s < load.kills[0].at_s]
        assert before, f"at {load.mib_per_s} MiB/s there was no warning: {load.events}"
        note_lead(load, load.kills[0].at_s - before[0].at_s)
        # Before the hog has taken more than the work that goes on, that is what holds most.
        last = before[-1]
        assert f" by ttm_hog (pid {load.hog}), of it up to " in last.text.partition("; ")[0], last
        drivers_mib = mib(last.text.partition("GPU drivers hold ")[2])
        had_mib, has_mib = (load.hog_mib_at(at_s) for at_s in (last.at_s - LATE_S, last.at_s))
        assert had_mib - POOLED_MIB <= drivers_mib <= has_mib + POOLED_MIB, last


def test_nobody_innocent_dies_where_an_action_is_asked_for(installed: System, programs: Mapping[str, Path]) -> None:
    loads = fill(
        installed,
        programs,
        '[terminate]\nlargest_holder = true\nafter_s = 0\n[ram]\nnotice = "50%"\nwarn = "45%"\ncritical = "40%"\n',
        rights="--allow-terminate",
    )

    for load in loads:
        assert load.kills == [], load.events
        assert load.gone == "hog", load.events
