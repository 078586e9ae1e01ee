"""Failure cases of other interposers, seen in the wild, by their numbers: the lives of processes and contexts."""

import signal
import subprocess
import sys

import pytest
from harness import FAKE_DRIVER, compile_c, environment, run, succeed

CARD = {"FAKECUDA_VRAM": "64MiB"}


def test_fork_before_and_after_initialisation(tmp_path):
    """(35): a child begins anew; its parent's blocks are its parent's."""
    source = """
import os
def child(body):
    pid = os.fork()
    if pid == 0:
        os._exit(body() or 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
def fresh():
    init(); p = alloc(96 * MIB); fill(p, 96 * MIB, 2); check(p, 96 * MIB, 2); free(p)
child(fresh)
init()
p = alloc(96 * MIB)
fill(p, 96 * MIB, 6)
def stale():
    assert alloc_code(MIB) == 3 and code_of("cuMemFree_v2", p) == 3 and code_of("cuMemGetInfo_v2", c.byref(c.c_size_t()), c.byref(c.c_size_t())) == 3
child(stale)
check(p, 96 * MIB, 6)
free(p)
"""
    succeed(source, tmp_path, **CARD)


def test_killed_client_leaves_the_others_working(tmp_path):
    """(36)"""
    source = "init()\np = alloc(96 * MIB)\nprint('holding', flush=True)\ninput()\nfree(p)"
    command = [sys.executable, "-c", "from cuda_program import *\n" + source]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    clients = [subprocess.Popen(command, env=environment(**CARD), **pipes) for _ in range(6)]
    for client in clients:
        assert client.stdout.readline() == "holding\n"
    clients[2].kill()
    assert clients[2].wait() == -signal.SIGKILL
    clients[2].communicate()
    for client in (*clients[:2], *clients[3:]):
        client.communicate("\n")
        assert client.returncode == 0


def test_exit_with_live_blocks_and_calls_after_teardown_is_quiet(tmp_path):
    """(37)"""
    main = compile_c(
        tmp_path,
        """
#include <stdio.h>
#include <stdlib.h>
int cuInit(unsigned), cuCtxCreate_v2(void **, unsigned, int), cuMemAlloc_v2(unsigned long long *, unsigned long), cuMemFree_v2(unsigned long long);
static unsigned long long p;
static void late(void) { fprintf(stderr, "late %d\\n", cuMemFree_v2(p)); }
int main(void) { void *c; atexit(late); if (cuInit(0) || cuCtxCreate_v2(&c, 0, 0) || cuMemAlloc_v2(&p, 96 << 20)) return 1; return 0; }
""",
        *(f"-L{FAKE_DRIVER}", "-lcuda"),
    )
    ended = run([str(main)], tmp_path, **CARD)
    assert ended.code == 0, ended.err
    assert ended.err.startswith("late ")
    assert ended.said == []


@pytest.mark.parametrize("end", ["destroy", "reset", "release"])
@pytest.mark.parametrize("fallback", ["host", "managed"])
def test_context_ended_with_live_blocks_starts_afresh(tmp_path, end, fallback):
    """(38)"""
    ends = {
        "destroy": 'call("cuCtxDestroy_v2", context)',
        "reset": 'call("cuDevicePrimaryCtxReset_v2", c.c_int(0))',
        "release": 'call("cuDevicePrimaryCtxRelease_v2", c.c_int(0))',
    }
    source = f"""
for round in range(3):
    context = init(primary={end != "destroy"})
    blocks = [alloc(40 * MIB) for _ in range(4)]
    assert memory_info()[0] == 24 * MIB
    {ends[end]}
context = init(primary={end != "destroy"})
assert memory_info()[0] == 64 * MIB, memory_info()
{ends[end]}
"""
    succeed(source, tmp_path, fallback=fallback, host_limit="130MiB", **CARD)


def test_free_memory_reported_is_granted(tmp_path):
    """(39)"""
    source = """
init()
for _ in range(3):
    reported = memory_info()[0]
    p = alloc(reported - 64 * MIB)
    q = alloc(64 * MIB)
    free(p); free(q)
"""
    succeed(source, tmp_path, advertise="300MiB", host_limit="300MiB", **CARD)


def test_two_hundred_processes_at_once_all_run(tmp_path):
    """(40)"""
    main = compile_c(
        tmp_path,
        """
int cuInit(unsigned), cuCtxCreate_v2(void **, unsigned, int), cuMemAlloc_v2(unsigned long long *, unsigned long), cuMemFree_v2(unsigned long long);
int main(void) { void *c; unsigned long long p; return cuInit(0) || cuCtxCreate_v2(&c, 0, 0) || cuMemAlloc_v2(&p, 3 << 20) || cuMemFree_v2(p); }
""",
        *(f"-L{FAKE_DRIVER}", "-lcuda"),
    )
    env = environment(FAKECUDA_VRAM="2MiB")
    clients = [subprocess.Popen([main], env=env, stderr=subprocess.PIPE, text=True) for _ in range(200)]
    assert {(client.communicate()[1], client.returncode) for client in clients} == {("", 0)}
