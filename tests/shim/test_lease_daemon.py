"""A daemon that is away, comes back, is stopped or reads nothing: a program that leases from it goes on."""

import os
import signal
import socket
import subprocess
import sys

import stand_in
from harness import succeed
from leasing import BLOCKS, CARD, check_sequences, ended_well, say, started
from stand_in import HELLO, UPDATE, StandIn

HOLD = """
import select, sys, time
init()
p = alloc(96 * MIB)
print(host_bytes(), flush=True)
while not select.select([sys.stdin], [], [], 0.02)[0]:
    synchronize()
sys.stdin.readline()
"""


def test_lease_of_an_idle_program_is_told_to_a_daemon_that_comes_back(tmp_path):
    first = StandIn(tmp_path / "s")
    with started(HOLD + "free(p)", tmp_path / "s", log="info") as program:
        held = int(program.stdout.readline())
        first.close()
        (tmp_path / "s").unlink()
        with StandIn(tmp_path / "s") as second:
            second.wait(lambda: second.clients and second.clients[0].requests)
            assert second.requests[0].kind == HELLO
            assert second.requests[0].figures == (held, 0, held)
            _, err = ended_well(program)
            second.wait(lambda: second.clients[0].is_closed)
            assert second.requests[-1].figures == (0, 0, 0)
    said = [line.split("/s ")[1] for line in err.splitlines() if " lease: " in line]
    assert said in (
        ["grants host memory", "is back, and grants host memory again"],
        ["grants host memory", "is gone; this process decides for itself", "is back, and grants host memory again"],
    )


def test_lease_of_an_idle_program_is_told_to_a_daemon_that_comes_late(tmp_path):
    with started(HOLD + "free(p)", tmp_path / "s") as program:
        held = int(program.stdout.readline())
        with StandIn(tmp_path / "s") as daemon:
            daemon.wait(lambda: daemon.clients and daemon.clients[0].requests)
            assert daemon.requests[0].figures == (held, 0, held)
            assert ended_well(program)[1] == ""
            daemon.wait(lambda: daemon.clients[0].is_closed)
    assert daemon.requests[-1].figures == (0, 0, 0)


def test_program_goes_on_alone_while_the_daemon_is_gone(tmp_path):
    source = "init()\np = alloc(96 * MIB)\nprint('holding', flush=True)\ninput()\nq = alloc(96 * MIB)\nfree(p); free(q)"
    daemon = StandIn(tmp_path / "s")
    with started(source, tmp_path / "s") as program:
        assert program.stdout.readline() == "holding\n"
        daemon.close()
        _, err = ended_well(program)
    assert err.count("\n") == 1 and "is gone; this process decides for itself" in err


def test_program_goes_on_alone_while_the_daemon_is_stopped(tmp_path):
    source = """
init()
p = alloc(96 * MIB)
print('holding', flush=True)
input()
for _ in range(5):
    q = alloc(96 * MIB)
    synchronize()
    free(q)
assert host_bytes() > 0
free(p)
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, stand_in.__file__, str(tmp_path / "s")], **pipes) as daemon:
        try:
            assert daemon.stdout.readline() == "ready\n"
            with started(source, tmp_path / "s") as program:
                assert program.stdout.readline() == "holding\n"
                daemon.send_signal(signal.SIGSTOP)
                os.waitpid(daemon.pid, os.WUNTRACED)  # all of its threads: the one that got the signal stops the others
                _, err = ended_well(program)
            assert err.count("\n") == 1 and "does not answer; this process decides for itself" in err
        finally:
            daemon.kill()


def test_daemon_that_reads_nothing_holds_nobody_up_and_hears_the_end_of_it(tmp_path):
    """What finds no room in the socket is told at the next opportunity."""
    source = """
import time
init()
full = alloc(2 * MIB)
blocks = [alloc(65536) for _ in range(600)]
print(host_bytes(), flush=True)
input()
for p in blocks: free(p)
print(host_bytes(), flush=True)
input()
time.sleep(1.1)
synchronize()
free(full)
input()
"""
    with (
        StandIn(tmp_path / "s") as daemon,
        started(source, tmp_path / "s", fallback="host", FAKECUDA_VRAM="2MiB") as program,
    ):
        held = int(program.stdout.readline())
        daemon.wait(lambda: daemon.requests[-1].figures == (held, 0, 0))
        daemon.set_deaf(True)
        say(program)
        assert program.stdout.readline() == "0\n"
        daemon.set_deaf(False)
        daemon.wait(lambda: daemon.requests[-1].kind == UPDATE and 0 < daemon.requests[-1].held < held)
        say(program)
        daemon.wait(lambda: daemon.requests[-1].figures == (0, 0, 0))
        assert ended_well(program)[1] == ""
        check_sequences(daemon)


def test_full_backlog_is_nobody_to_ask(tmp_path):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    waiting = []
    try:
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        while True:
            waiting.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            waiting[-1].setblocking(False)
            if waiting[-1].connect_ex(str(tmp_path / "s")):
                break
        succeed(BLOCKS, tmp_path, socket=str(tmp_path / "s"), **CARD)
    finally:
        for one in [listener, *waiting]:
            one.close()
