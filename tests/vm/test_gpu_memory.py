"""What GPU drivers hold of RAM, on a kernel that says so: GPUActive, since Linux 7.1. (On one that does not: test_innocent.)"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from harness.kernel import Kernel
from harness.system import System
from test_innocent import POOLED_MIB, SMALL

MIB = 1 << 20

HELD_MIB = 160

SCRIPT = f"""
    . ./load.sh
    until systemctl -q is-active greenboostd; do sleep 0.1; done
    cp /proc/meminfo $KEPT/before
    start hog python3 -u /mnt/test/ttm_hog.py 50 {HELD_MIB}
    until grep -q 'has {HELD_MIB} MiB' /run/hog.out; do sleep 0.1; done
    cp /proc/meminfo $KEPT/after
    pid hog >$KEPT/pid
    /opt/greenboost/bin/greenboost status --json >$KEPT/status
"""


def field(text: str, name: str) -> int | None:
    """A field of meminfo in bytes."""
    lines = dict(line.split(":") for line in text.splitlines())
    return int(lines[name].split()[0]) << 10 if name in lines else None


def test_what_drivers_hold_is_what_the_kernel_says_with_its_holder(
    installed: System, programs: Mapping[str, Path], newer_kernel: Kernel
) -> None:
    guest = replace(installed, kernel=newer_kernel)(
        SCRIPT, files=programs, modules=("qxl",), hardware=SMALL, deadline_s=300
    )

    before, after = (field(guest.text(name), "GPUActive") for name in ("before", "after"))
    assert before is not None and after is not None, "the kernel does not say what GPUs hold"
    assert (HELD_MIB - POOLED_MIB) * MIB <= after - before <= (HELD_MIB + POOLED_MIB) * MIB
    status = json.loads(guest.text("status"))["daemon"]
    assert status["ram"]["gpu_host_bytes"] == pytest.approx(after, abs=4 * MIB)
    largest = status["holders"][0]
    assert (largest["pid"], largest["program"]) == (int(guest.text("pid")), "ttm_hog")
    # Drivers that have figures of their own for each client say them in fdinfo; qxl has none to this day.
    assert largest["gpu_mapped_bytes"] + largest["gtt_bytes"] >= HELD_MIB * MIB
