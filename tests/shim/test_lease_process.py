"""What becomes of a lease when the program is killed, forks, or does as it likes with the descriptors."""

import os
import signal

import pytest
from harness import CLIENTS, run, run_program, succeed
from leasing import CARD, MIB, check_sequences, started
from stand_in import StandIn

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
