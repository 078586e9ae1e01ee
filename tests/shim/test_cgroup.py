"""(41) A memory cgroup whose headroom is below what the machine has: a real one, made for the test where that is allowed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness import SANITIZER_RUNTIME, environment

MIB = 1 << 20
LIMIT = 512 * MIB
pytestmark = pytest.mark.skipif(bool(SANITIZER_RUNTIME), reason="a sanitizer's own memory would fill the group")
V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")


@pytest.fixture
def group():
    """A cgroup of LIMIT bytes, as (its folder, the file that its processes are written to)."""
    root, limit = (V1, "memory.limit_in_bytes") if (V1 / "memory.limit_in_bytes").exists() else (V2, "memory.max")
    folder = root / f"greenboost-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / limit).write_text(str(LIMIT))
    except OSError as error:
        if folder.exists():
            folder.rmdir()
        pytest.skip(f"no memory cgroup can be made here: {error}")
    yield folder
    folder.rmdir()


def run_in(group, source, **settings):
    def enter():
        (group / "cgroup.procs").write_text(str(os.getpid()))

    command = [sys.executable, "-c", "from cuda_program import *\n" + source]
    env = environment(FAKECUDA_VRAM="64MiB", **settings)
    return subprocess.run(command, env=env, preexec_fn=enter, capture_output=True, text=True)


@pytest.mark.parametrize("fallback", ["split", "host", "managed"])
def test_allocation_over_the_cgroups_headroom_is_refused_not_killed(group, fallback):
    source = f"""
init()
p = alloc(96 * MIB)
fill(p, 96 * MIB, 1)
assert alloc_code({2 * LIMIT}) == 2
blocks = []
while alloc_code(64 * MIB) == 0:
    blocks.append(1)
    assert len(blocks) < 8, "more was granted than the cgroup holds"
check(p, 4096, 1)
print(len(blocks))
"""
    done = run_in(group, source, fallback=fallback, host_reserve="128MiB")
    assert done.returncode == 0, done.stderr
    assert 1 <= int(done.stdout) <= (LIMIT - 128 * MIB) // (64 * MIB)


def test_advertised_memory_is_within_the_cgroup(group):
    done = run_in(group, "init()\nprint(memory_info()[0])", advertise="on", host_reserve="128MiB")
    assert done.returncode == 0, done.stderr
    assert 64 * MIB < int(done.stdout) <= LIMIT - 128 * MIB + 64 * MIB


def test_group_smaller_than_the_machines_reserve_lends_all_but_a_share_of_it(group):
    # By default up to 4 GiB of the machine stay free, of which this group has none: of it 1/16 stays.
    (group / "memory.limit_in_bytes" if group.is_relative_to(V1) else group / "memory.max").write_text(str(200 * MIB))
    done = run_in(group, "init()\nprint(memory_info()[0])", advertise="on")
    assert done.returncode == 0, done.stderr
    assert 64 * MIB + 100 * MIB < int(done.stdout) <= 64 * MIB + 200 * MIB * 15 // 16
