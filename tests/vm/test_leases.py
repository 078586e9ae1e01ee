"""CUDA programs under the shim want more host memory than there is: they are refused, nobody is killed, and what they have is
whole. The daemon is the installed one, the memory cgroups are version 2, the driver is the simulated one.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from harness.guest import Guest
from harness.system import System

MIB = 1 << 20
VRAM_MIB, GROUP_MIB, PROGRAMS = 16, 192, 3

SCRIPT = f"""
    . ./takers.sh
    until systemctl -q is-active greenboostd; do sleep 0.1; done
    takers group 1 --property=MemoryMax={GROUP_MIB}M --property=MemorySwapMax=0
    takers machine {PROGRAMS}
    systemctl stop greenboostd
    takers alone 1 --property=MemoryMax={GROUP_MIB}M --property=MemorySwapMax=0
    dmesg >$KEPT/dmesg
"""


def taken_bytes(guest: Guest, case: str, count: int) -> int:
    """What the programs of a case got, each of which was told when there was no more, and was not killed."""
    seen = [json.loads(guest.text(f"{case}-{number + 1}.json")) for number in range(count)]
    said = [line for number in range(count) for line in guest.text(f"{case}-{number + 1}.err").splitlines()]
    assert len([line for line in said if " admission: refused " in line]) >= count, said
    # A daemon on a slow machine may miss its time for an answer.
    assert all(" admission: refused " in line or " lease: the daemon at " in line for line in said), said
    assert all("oom_kill 0" in each["group_events"] for each in seen)
    return sum(each["taken_bytes"] for each in seen)


def test_programs_that_want_more_than_there_is_are_refused_and_live(
    installed: System, cuda_files: Mapping[str, Path]
) -> None:
    guest = installed(SCRIPT, files=cuda_files, deadline_s=400)

    assert "Out of memory" not in guest.text("dmesg") and "oom-kill" not in guest.text("dmesg")
    group, machine = (json.loads(guest.text(f"{case}.status"))["daemon"] for case in ("group", "machine"))

    in_group = taken_bytes(guest, "group", 1)
    assert GROUP_MIB * MIB // 4 < in_group < GROUP_MIB * MIB
    assert group["leases"]["refused"].get("cgroup", 0) >= 1
    # All but what fits into VRAM.
    assert in_group - VRAM_MIB * MIB <= group["leases"]["held_bytes"] <= in_group + 4 * MIB
    assert group["leases"]["pending_bytes"] == 0

    on_machine, total_bytes = taken_bytes(guest, "machine", PROGRAMS), machine["ram"]["total_bytes"]
    assert machine["leases"]["clients"] == PROGRAMS
    assert total_bytes // 4 < on_machine < total_bytes
    assert machine["ram"]["effective_available_bytes"] > total_bytes // 32

    assert GROUP_MIB * MIB // 4 < taken_bytes(guest, "alone", 1) < GROUP_MIB * MIB
