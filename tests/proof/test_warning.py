"""The warning comes before the kill: real programs fill a real memory cgroup at several rates until the kernel ends them."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import MIB, Group, NoGroupError, daemon, hog, memory_group

LIMIT = 1024 * MIB


@pytest.fixture
def group() -> Iterator[Group]:
    try:
        with memory_group(LIMIT, "warning") as made:
            yield made
    except NoGroupError as error:
        pytest.skip(str(error))


def lines_with_times(log: Path, seen: list[tuple[float, str]]) -> None:
    """Notes the lines that have come since."""
    for line in log.read_text().splitlines()[len(seen) :]:
        seen.append((time.monotonic(), line))


# From a fifth of the group left it is half a second at 400 MiB/s; at the rates beyond, what else the machine does decides.
@pytest.mark.parametrize("mib_per_s", [100, 200, 400, *(pytest.param(r, marks=pytest.mark.soak) for r in (800, 1600))])
def test_warning_of_a_group_that_fills_up_comes_before_the_kill(tmp_path: Path, group: Group, mib_per_s: int) -> None:
    with daemon(tmp_path / "daemon", group=group) as watching:
        seen: list[tuple[float, str]] = []
        process = hog(mib_per_s * MIB, group)
        watching.wait_until_watching(group)
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()
        while process.poll() is None:
            lines_with_times(tmp_path / "daemon/daemon.log", seen)
            time.sleep(0.005)
        killed_at_s = time.monotonic()
        assert process.returncode == -9 and group.kills() >= 1
        assert watching.process.poll() is None, "the daemon was killed in its place"
    warnings = [(at_s, line) for at_s, line in seen if group.folder.name in line and "left" in line]
    assert warnings, f"no warning at {mib_per_s} MiB/s: {seen}"
    assert f"(pid {process.pid})" in warnings[0][1], warnings
    lead_s = killed_at_s - warnings[0][0]
    assert lead_s > 0
    if path := os.environ.get("GREENBOOST_LEAD_TIMES"):
        with Path(path).open("a") as file:
            file.write(json.dumps({"mib_per_s": mib_per_s, "lead_s": round(lead_s, 3)}) + "\n")
