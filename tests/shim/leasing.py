"""Programs that lease host memory from a stand-in for the daemon: started, talked to, and what they told it."""

import subprocess
import sys
from contextlib import contextmanager

from harness import environment
from stand_in import HELLO

MIB = 1 << 20
CARD = {"FAKECUDA_VRAM": "64MiB"}
BLOCKS = """
from books import host_bytes
init()
blocks = [alloc(size * MIB) for size in (40, 96, 10, 30, 16)]
print(host_bytes())
for pointer in blocks:
    free(pointer)
assert host_bytes() == 0
"""


@contextmanager
def started(source, path, **settings):
    """The program, running, with pipes; killed if the test left it alive."""
    command = [sys.executable, "-c", "from cuda_program import *\nfrom books import host_bytes\n" + source]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment(socket=str(path), **(CARD | settings)), **pipes) as program:
        try:
            yield program
        finally:
            program.kill()


def say(program, line="\n"):
    program.stdin.write(line)
    program.stdin.flush()


def ended_well(program):
    out, err = program.communicate("\n", timeout=120)
    assert program.returncode == 0, err
    return out, err


def check_sequences(daemon):
    """Hello first, then one up each, and never more in a part than in the whole."""
    for client in daemon.clients:
        assert [request.sequence for request in client.requests] == list(range(1, len(client.requests) + 1))
        assert [request.kind == HELLO for request in client.requests] == [True] + [False] * (len(client.requests) - 1)
        assert all(max(r.pending, r.uncharged) <= r.held for r in client.requests)
