"""Leases turn a kill into an error that a program survives: CUDA programs that want more than their memory cgroup holds."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import SANITIZER_RUNTIME, environment
from machine import MIB, Daemon, Group, NoGroupError, daemon, memory_group, until_equal

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.programs import read_programs

LIMIT = 1024 * MIB
BLOCK = 16 * MIB
PROGRAMS = 4

pytestmark = pytest.mark.skipif(bool(SANITIZER_RUNTIME), reason="a sanitizer's own memory would fill the group")

TAKE = f"""
import sys
from cuda_program import *
init()
print("ready", flush=True)
sys.stdin.readline()
blocks = []
while True:
    try:
        pointer = alloc({BLOCK})
    except CudaError as error:
        assert error.code == 2, error
        break
    fill(pointer, {BLOCK}, len(blocks) % 251)
    blocks.append(pointer)
print(len(blocks), flush=True)
sys.stdin.readline()
for number, pointer in enumerate(blocks):
    check(pointer, 4096, number % 251)  # what a program takes for itself is not leased
    free(pointer)
print("whole", flush=True)
sys.stdin.readline()
"""
"""Takes blocks until it is told that there is no memory, then shows that what it has is whole, and gives it back."""


@pytest.fixture
def group() -> Iterator[Group]:
    try:
        with memory_group(LIMIT, "leases") as made:
            yield made
    except NoGroupError as error:
        pytest.skip(str(error))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Daemon]:
    with daemon(tmp_path / "daemon") as running:
        yield running


def start(group: Group, broker: Daemon, **settings: str) -> subprocess.Popen[str]:
    env = environment(FAKECUDA_VRAM="64MiB", socket=str(broker.socket), **settings)
    return subprocess.Popen(
        [sys.executable, "-c", TAKE],
        env=env,
        preexec_fn=group.enter,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def tell(program: subprocess.Popen[str]) -> None:
    assert program.stdin is not None
    program.stdin.write("\n")
    program.stdin.flush()


def hear(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None and program.stderr is not None
    line = program.stdout.readline().strip()
    assert line, f"it ended with {program.wait()}: {program.stderr.read()}"
    return line


@pytest.mark.parametrize("fallback", ["split", "host", "managed"])
def test_programs_that_want_more_than_their_group_has_are_refused_not_killed(
    group: Group, broker: Daemon, fallback: str
) -> None:
    programs = [start(group, broker, fallback=fallback) for _ in range(PROGRAMS)]
    try:
        for program in programs:
            assert hear(program) == "ready"
        for program in programs:
            tell(program)  # all at once: each would find room for itself alone
        counts = [int(hear(program)) for program in programs]
        assert group.kills() == 0
        # Something was refused, and what was granted was a good part of what there is.
        assert LIMIT // 4 < sum(counts) * BLOCK < LIMIT
        held = sum(host_bytes(program) for program in programs)
        until_equal((PROGRAMS, held, 0), lambda: sums(broker))
        assert broker.status()["leases"]["refused"]["cgroup"] >= PROGRAMS
        for program in programs:
            tell(program)
        assert [hear(program) for program in programs] == ["whole"] * PROGRAMS
        until_equal((PROGRAMS, 0, 0), lambda: sums(broker))
    finally:
        for program in programs:
            program.communicate("\n" * 3)
    assert [program.returncode for program in programs] == [0] * PROGRAMS
    until_equal((0, 0, 0), lambda: sums(broker))


def sums(broker: Daemon) -> tuple[int, ...]:
    leases = broker.status()["leases"]
    return tuple(leases[name] for name in ("clients", "held_bytes", "pending_bytes"))


def host_bytes(program: subprocess.Popen[str]) -> int:
    """What a program's own counters say."""
    (found,) = read_programs(SysRoot(), os.geteuid(), program.pid).programs
    return found.page.host_bytes


def test_a_killed_programs_lease_is_another_ones_at_once(group: Group, broker: Daemon) -> None:
    first = start(group, broker)
    second = start(group, broker)
    try:
        for program in (first, second):
            assert hear(program) == "ready"
        tell(first)
        had = int(hear(first))
        first.kill()
        first.wait()
        tell(second)
        assert int(hear(second)) >= had - 1
        tell(second)
        assert hear(second) == "whole"
    finally:
        for program in (first, second):
            program.communicate("\n" * 3)
    assert second.returncode == 0
    assert group.kills() == 0
