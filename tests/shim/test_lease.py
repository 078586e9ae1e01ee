"""Host memory that the daemon grants: what it is told is what is held, to the byte, whatever happens to either end."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import stand_in
from harness import CLIENTS, FAKE_DRIVER, compile_c, environment, run, run_program, succeed
from stand_in import ACQUIRE, GRANTED, HELLO, UPDATE, StandIn, reply

from greenboost_py.base.abi import parse_page

MIB = 1 << 20
CARD = {"FAKECUDA_VRAM": "64MiB"}
TIERS = ("split", "host", "managed")
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


@pytest.mark.parametrize("fallback", TIERS)
def test_lease_figures_follow_every_block_and_end_at_zero(tmp_path, fallback):
    with StandIn(tmp_path / "s") as daemon:
        ended = succeed(BLOCKS, tmp_path, fallback=fallback, socket=str(tmp_path / "s"), log="info", **CARD)
    check_sequences(daemon)
    assert len(daemon.clients) == 1
    held = int(ended.out)
    assert max(request.held for request in daemon.requests) == held
    whole = next(request for request in daemon.requests if request.held == held and request.pending == 0)
    assert whole.uncharged == (held if fallback == "split" else 0)
    assert sum(request.bytes for request in daemon.requests) >= held
    assert all(request.kind == ACQUIRE for request in daemon.requests if request.bytes)
    assert daemon.requests[-1].figures == (0, 0, 0)
    assert [line.split("lease: ")[1] for line in ended.said if "lease" in line] == [
        f"the daemon at {tmp_path / 's'} grants host memory"
    ]


@pytest.mark.parametrize("fallback", TIERS)
def test_lease_is_granted_before_it_is_taken(tmp_path, fallback):
    """What is asked for is not held yet; what was granted is pending until it is taken."""
    with StandIn(tmp_path / "s") as daemon:
        source = "init()\np = alloc(96 * MIB)\nfree(p)"
        succeed(source, tmp_path, fallback=fallback, socket=str(tmp_path / "s"), **CARD)
    asked = [request for request in daemon.requests if request.kind == ACQUIRE]
    assert asked[0].figures == (0, 0, 0) and asked[0].bytes > 0 and asked[0].reserve == 0
    assert all(request.pending == 0 for request in asked)


def test_lease_hello_shows_the_page_read_only(tmp_path):
    shown = []

    def answer(request, client):
        if request.kind == HELLO:
            page = parse_page(os.pread(client.page_fd, 1 << 16, 0), "test")
            with pytest.raises(OSError):
                os.pwrite(client.page_fd, b"x", 0)
            with pytest.raises(OSError):
                os.ftruncate(client.page_fd, 0)
            shown.append((page.pid, client.pid))
        return reply(request)

    with StandIn(tmp_path / "s", answer):
        ended = succeed(BLOCKS + "import os\nprint(os.getpid())", tmp_path, socket=str(tmp_path / "s"), **CARD)
    pid = int(ended.out.split()[-1])
    assert shown == [(pid, pid)]


def test_lease_of_a_program_that_fits_is_nothing_at_all(tmp_path):
    with StandIn(tmp_path / "s") as daemon:
        source = "init()\np = alloc(8 * MIB)\nfill(p, MIB, 1)\nsynchronize()\nfree(p)"
        succeed(source, tmp_path, socket=str(tmp_path / "s"), **CARD)
    assert daemon.clients == []


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (stand_in.PRESSURE, "critically short"),
        (stand_in.PROCESS_CAP, "lease.per_process"),
        (stand_in.USER_CAP, "lease.per_user"),
        (stand_in.CGROUP, "memory cgroup"),
        (stand_in.MACHINE, "lease.reserve"),
    ],
)
def test_lease_refused_is_out_of_memory_and_the_program_goes_on(tmp_path, verdict, words):
    def answer(request, _client):
        return reply(request, verdict if request.bytes > 64 * MIB else GRANTED, budget=64 * MIB)

    source = """
from books import host_bytes
init()
full = alloc(64 * MIB)
assert alloc_code(96 * MIB) == 2 and alloc_code(96 * MIB) == 2
assert host_bytes() == 0
p = alloc(48 * MIB)
fill(p, 48 * MIB, 3); check(p, 48 * MIB, 3)
free(p); free(full)
"""
    with StandIn(tmp_path / "s", answer) as daemon:
        ended = succeed(source, tmp_path, socket=str(tmp_path / "s"), **CARD)
    check_sequences(daemon)
    assert daemon.requests[-1].figures == (0, 0, 0)
    assert len(ended.said) == 1
    assert f"refused {96 * MIB} bytes of host memory: the daemon can spare {64 * MIB}; " in ended.said[0]
    assert words in ended.said[0]


@pytest.mark.parametrize(
    ("option", "least", "most"),
    [
        ({}, 0, 0),
        ({"host_reserve": "128MiB"}, 128 * MIB, 128 * MIB),
        ({"host_reserve": "1%"}, 1, 1 << 50),
        ({"host_reserve": "16000000T"}, 2**63 - 1, 2**63 - 1),
    ],
)
def test_lease_asks_with_the_reserve_that_the_user_set(tmp_path, option, least, most):
    with StandIn(tmp_path / "s") as daemon:
        succeed("init()\nfree(alloc(96 * MIB))", tmp_path, socket=str(tmp_path / "s"), **option, **CARD)
    asked = [request for request in daemon.requests if request.kind == ACQUIRE]
    assert asked and all(least <= request.reserve <= most for request in asked)


def test_lease_of_more_than_a_message_holds_is_not_asked_for(tmp_path):
    source = "init()\nfor size in (2**63, 2**64 - 4096, 2**62): assert alloc_code(size) == 2\nfree(alloc(96 * MIB))"
    with StandIn(tmp_path / "s") as daemon:
        run_program(source, tmp_path, fallback="host", socket=str(tmp_path / "s"), **CARD)
    assert max(request.bytes + request.held for request in daemon.requests) < 2**63, daemon.requests
    assert len(daemon.clients) == 1


def test_advertised_memory_is_what_the_daemon_can_spare(tmp_path):
    def answer(request, _client):
        budget = 300 * MIB - request.held
        return reply(request, GRANTED if request.bytes <= budget else stand_in.MACHINE, budget=budget)

    source = """
init()
assert memory_info() == (364 * MIB, 364 * MIB), memory_info()
p = alloc(100 * MIB)
assert memory_info() == (264 * MIB, 364 * MIB), memory_info()
free(p)
assert memory_info() == (364 * MIB, 364 * MIB), memory_info()
"""
    with StandIn(tmp_path / "s", answer) as daemon:
        succeed(source, tmp_path, advertise="on", fallback="host", socket=str(tmp_path / "s"), **CARD)
    assert any(request.kind == ACQUIRE and not request.bytes for request in daemon.requests)


def test_lease_follows_chunks_that_move(tmp_path):
    source = """
from books import books, host_bytes
init()
first = alloc(40 * MIB)
big = alloc(96 * MIB)
free(first)
synchronize()
assert books()["split"][0] == 32 * MIB
small = alloc(5 * MIB)
print(host_bytes())
free(small)
free(big)
assert host_bytes() == 0
"""
    with StandIn(tmp_path / "s") as daemon:
        ended = succeed(source, tmp_path, vram_reserve="0", socket=str(tmp_path / "s"), **CARD)
    held = int(ended.out)
    assert held == 38 * MIB
    assert (held, 0, held) in [request.figures for request in daemon.requests]
    assert daemon.requests[-1].figures == (0, 0, 0)


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_lease_of_chunks_that_could_not_move_comes_back(tmp_path, nth):
    source = """
from books import host_bytes
init()
big = alloc(96 * MIB)
small = [alloc(5 * MIB) for _ in range(3)]
for p in [*small, big]: free(p)
assert host_bytes() == 0
"""
    failing = {"FAKECUDA_FAIL": f"cuMemcpyDtoDAsync_v2:{nth}:2"}
    with StandIn(tmp_path / "s") as daemon:
        succeed(source, tmp_path, vram_reserve="0", socket=str(tmp_path / "s"), **failing, **CARD)
    check_sequences(daemon)
    assert daemon.requests[-1].figures == (0, 0, 0)


def test_lease_of_handles_counts_as_any(tmp_path):
    source = """
from vmm_program import create, release
from books import host_bytes
init()
handles = [create(8 * MIB) for _ in range(12)]
print(host_bytes())
for handle in handles: release(handle)
"""
    with StandIn(tmp_path / "s") as daemon:
        ended = succeed(source, tmp_path, socket=str(tmp_path / "s"), **CARD)
    held = int(ended.out)
    assert held == 32 * MIB
    assert (held, 0, held) in [request.figures for request in daemon.requests]
    assert daemon.requests[-1].figures == (0, 0, 0)


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


def test_killed_program_gives_its_lease_back_by_dying(tmp_path):
    with (
        StandIn(tmp_path / "s") as daemon,
        started("init()\nalloc(96 * MIB)\nprint('holding', flush=True)\ninput()", tmp_path / "s") as program,
    ):
        assert program.stdout.readline() == "holding\n"
        program.kill()
        daemon.wait(lambda: daemon.clients[0].is_closed)


def test_forked_child_does_not_keep_the_lease_alive(tmp_path):
    source = """
import os, time
init()
alloc(96 * MIB)
child = os.fork()
if not child:
    time.sleep(1000)
print(child, flush=True)
input()
"""
    with StandIn(tmp_path / "s") as daemon, started(source, tmp_path / "s") as program:
        child = int(program.stdout.readline())
        try:
            program.kill()
            daemon.wait(lambda: daemon.clients[0].is_closed)
            os.kill(child, 0)
        finally:
            os.kill(child, signal.SIGKILL)


def test_forked_child_with_cuda_of_its_own_has_a_lease_of_its_own(tmp_path):
    source = """
import os
pid = os.fork()
init()
p = alloc(96 * MIB)
free(p)
if pid:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    print('parent')
"""
    with StandIn(tmp_path / "s") as daemon:
        ended = run_program(source, tmp_path, socket=str(tmp_path / "s"), **CARD)
    assert (ended.code, ended.out) == (0, "parent\n"), ended.err
    assert len({client.pid for client in daemon.clients}) == 2
    assert {client.requests[-1].figures for client in daemon.clients} == {(0, 0, 0)}


@pytest.mark.parametrize("mode", ["after", "busy", "exec"])
def test_lease_survives_forks_at_any_moment(tmp_path, mode):
    with StandIn(tmp_path / "s") as daemon:
        ended = run([str(CLIENTS / "forks"), mode], tmp_path, socket=str(tmp_path / "s"), FAKECUDA_VRAM="8MiB")
        assert ended.code == 0, ended.err
        daemon.wait(lambda: all(client.is_closed for client in daemon.clients))
    check_sequences(daemon)
    assert {client.requests[-1].figures for client in daemon.clients} == {(0, 0, 0)}


def test_threads_that_overflow_at_once_leave_the_books_balanced(tmp_path):
    """A thread that has waited for too long decides alone, and a daemon that was late is left: then the lease has ended with
    the connection. How many ask is the clock's, and that is what the repetitions are for."""
    command = [str(CLIENTS / "threads"), "--threads", "8", "--times", "4", "--count", "80"]
    asked = []
    while len(asked) < 5 and max(asked, default=0) <= 20:
        path = tmp_path / f"s{len(asked)}"
        with StandIn(path) as daemon:
            ended = run(command, tmp_path, socket=str(path), log="info", FAKECUDA_VRAM="4MiB")
            assert ended.code == 0, ended.err
            daemon.wait(lambda daemon=daemon: all(client.is_closed for client in daemon.clients))
        check_sequences(daemon)
        was_late = any("does not answer" in line for line in ended.said)
        assert was_late or (len(daemon.clients), daemon.requests[-1].figures) == (1, (0, 0, 0))
        asked.append(0 if was_late else sum(r.kind == ACQUIRE and r.bytes > 0 for r in daemon.requests))
    assert max(asked) > 20


def test_daemon_that_answers_many_threads_one_after_the_other_is_not_thought_silent(tmp_path):
    """The last in the queue would have nothing left to wait for the answer with. On a busy machine an answer may be late after
    all, and that is what the repetitions are for."""
    source = """
import threading
context = init()
barrier = threading.Barrier(8)
def overflow():
    call("cuCtxSetCurrent", context)
    barrier.wait()
    free(alloc(96 * MIB))
free(alloc(96 * MIB))
threads = [threading.Thread(target=overflow) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""

    def answer(request, _client):
        time.sleep(0.03)
        return reply(request)

    said = []
    while len(said) < 5 and not (said and len(said[-1]) == 1):
        path = tmp_path / f"s{len(said)}"
        with StandIn(path, answer) as daemon:
            ended = succeed(source, tmp_path, fallback="host", socket=str(path), log="info", **CARD)
            daemon.wait(lambda daemon=daemon: all(client.is_closed for client in daemon.clients))
        said.append([line.split("lease: ")[1] for line in ended.said if "lease: " in line])
    assert said[-1] == [f"the daemon at {path} grants host memory"], said


def test_threads_that_overflow_first_at_once_all_ask_the_daemon(tmp_path):
    """Nobody decides alone while another thread is still being welcomed. A thread that has waited for too long may: that is
    what the repetitions are for."""
    source = """
import threading
context = init()
codes = []
barrier = threading.Barrier(6)
def overflow():
    call("cuCtxSetCurrent", context)
    barrier.wait()
    codes.append(alloc_code(96 * MIB))
threads = [threading.Thread(target=overflow) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(*codes)
"""

    def answer(request, _client):
        if request.kind == HELLO:
            time.sleep(0.05)
            return reply(request)
        return reply(request, stand_in.MACHINE)

    heard = []
    while len(heard) < 5 and "2 2 2 2 2 2\n" not in heard:
        path = tmp_path / f"s{len(heard)}"
        with StandIn(path, answer):
            heard.append(run_program(source, tmp_path, fallback="host", socket=str(path), **CARD).out)
    assert heard[-1] == "2 2 2 2 2 2\n", heard


FIND = """
import os
def descriptors():
    found = {}
    for name in os.listdir('/proc/self/fd'):
        try: found[int(name)] = os.readlink('/proc/self/fd/' + name)
        except FileNotFoundError: pass
    return found
def connection():
    [fd] = [fd for fd, what in descriptors().items() if what.startswith('socket:')]
    return fd
"""


def test_program_that_closes_all_descriptors_connects_anew_and_shows_no_page(tmp_path):
    """And puts files of its own at the numbers that were ours, which are neither used nor closed."""
    source = (
        FIND
        + """
import time
init()
p = alloc(96 * MIB)
before = descriptors()
os.closerange(3, max(before) + 1)
own = os.open('/dev/null', os.O_RDWR)
for fd in range(own + 1, max(before) + 1): os.dup2(own, fd)
time.sleep(1.1)
q = alloc(96 * MIB)
free(p); free(q)
after = descriptors()
assert all(after[fd] == '/dev/null' for fd in range(own, max(before) + 1) if fd in after and fd in range(3, max(before) + 1)), after
"""
    )
    with StandIn(tmp_path / "s") as daemon:
        ended = run_program(source, tmp_path, fallback="host", socket=str(tmp_path / "s"), **CARD)
        assert ended.code == 0, ended.err
        daemon.wait(lambda: len(daemon.clients) == 2 and daemon.clients[1].is_closed)
    first, second = daemon.clients
    assert (first.page_fd >= 0, second.page_fd >= 0) == (True, False)
    assert first.requests[-1].figures == second.requests[0].figures == (96 * MIB, 0, 0)
    assert second.requests[-1].figures == (0, 0, 0)


@pytest.mark.parametrize("next_calls", ["free(r)", "free(alloc(96 * MIB))", "time.sleep(1.1); synchronize()"])
def test_program_that_puts_its_own_socket_at_our_number_gets_nothing_through_it(tmp_path, next_calls):
    source = (
        FIND
        + f"""
import socket, time
init()
p, r = alloc(96 * MIB), alloc(96 * MIB)
mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
at = [fd for fd, what in descriptors().items() if what.startswith('socket:') and fd not in (mine.fileno(), other.fileno())]
os.dup2(mine.fileno(), at[0])
{next_calls}
other.setblocking(False)
try: raise SystemExit(repr(other.recv(4096)))
except BlockingIOError: pass
socket.socket(fileno=at[0]).send(b'x')
assert other.recv(4096) == b'x'
"""
    )
    with StandIn(tmp_path / "s"):
        ended = run_program(source, tmp_path, fallback="host", socket=str(tmp_path / "s"), **CARD)
    assert ended.code == 0, ended.err


def test_descriptor_of_the_connection_is_out_of_the_programs_way_and_not_inherited(tmp_path):
    source = (
        FIND
        + "init()\np = alloc(96 * MIB)\nfd = connection()\nassert fd >= 512\nassert not os.get_inheritable(fd)\nfree(p)"
    )
    with StandIn(tmp_path / "s"):
        succeed(source, tmp_path, socket=str(tmp_path / "s"), **CARD)


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


def test_socket_of_the_user_is_found_in_the_runtime_directory(tmp_path):
    """Unless a daemon of the system's is there, which would be asked first."""
    if os.path.exists("/run/greenboost/lease.sock"):
        pytest.skip("a daemon of the system's is there")
    (tmp_path / "greenboost").mkdir()
    with StandIn(tmp_path / "greenboost" / "lease.sock") as daemon:
        succeed(BLOCKS, tmp_path, socket="", XDG_RUNTIME_DIR=str(tmp_path), **CARD)
    assert daemon.requests[-1].figures == (0, 0, 0)


def test_cancelled_thread_does_not_keep_the_turn(tmp_path):
    """A thread that is cancelled while it waits for the daemon finishes that first."""
    main = compile_c(
        tmp_path,
        """
#include <pthread.h>
#include <stdio.h>
int cuInit(unsigned), cuCtxCreate_v2(void **, unsigned, int), cuCtxSetCurrent(void *);
int cuMemAlloc_v2(unsigned long long *, unsigned long), cuMemFree_v2(unsigned long long);
static void *context;
static void *wait_for_ever(void *unused)
{
	unsigned long long p;
	cuCtxSetCurrent(context);
	for (;;) { cuMemAlloc_v2(&p, 96 << 20); cuMemFree_v2(p); pthread_testcancel(); }
	return unused;
}
int main(void)
{
	unsigned long long p;
	if (cuInit(0) || cuCtxCreate_v2(&context, 0, 0)) return 1;
	for (int i = 0; i < 5; i++) {
		pthread_t thread;
		pthread_create(&thread, NULL, wait_for_ever, NULL);
		if (cuMemAlloc_v2(&p, 96 << 20) || cuMemFree_v2(p)) return 2;
		pthread_cancel(thread);
		pthread_join(thread, NULL);
	}
	if (cuMemAlloc_v2(&p, 96 << 20) || cuMemFree_v2(p)) return 3;
	return 0;
}
""",
        *(f"-L{FAKE_DRIVER}", "-lcuda", "-pthread"),
    )
    with StandIn(tmp_path / "s") as daemon:
        ended = run([str(main)], tmp_path, fallback="host", socket=str(tmp_path / "s"), **CARD)
    assert ended.code == 0, ended.err
    assert ended.err == ""
    assert daemon.requests[-1].figures == (0, 0, 0)
