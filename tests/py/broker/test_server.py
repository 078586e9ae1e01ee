import contextlib
import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from greenboost_py.base.abi import PageError
from greenboost_py.base.config import LeaseConfig
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.base.units import Size, parse_size
from greenboost_py.broker import server as server_module
from greenboost_py.broker import sockets
from greenboost_py.broker.client import LeaseClient, ask_status
from greenboost_py.broker.protocol import Verdict
from greenboost_py.broker.readings import Sources
from greenboost_py.pressure.levels import Level
from greenboost_py.sensors.cgroup import read_levels
from greenboost_py.sensors.cgroup_place import locate_cgroup
from greenboost_py.sensors.ram import read_ram

if TYPE_CHECKING:
    from tests.py.broker.conftest import Daemon

Serve = Callable[..., "Daemon"]
MakePage = Callable[..., bytes]
GIB = 1 << 30
OTHER_USERS = (54321, 54322)

CLIENT = """
import sys
from pathlib import Path
from greenboost_py.broker.client import LeaseClient
path, wanted_bytes = sys.argv[1:]
with LeaseClient(Path(path)) as client:
    client.hello()
    print(client.acquire(int(wanted_bytes)).verdict.name, flush=True)
    sys.stdin.read()
"""

FORKING_CLIENT = """
import os, sys
from pathlib import Path
from greenboost_py.broker.client import LeaseClient
with LeaseClient(Path(sys.argv[1])) as client:
    client.hello(held_bytes=1)
    if os.fork() == 0:
        print("forked", flush=True)
        sys.stdin.read()
        os._exit(0)
    sys.stdin.read()
"""

OTHER_USER = """
import os, sys
from pathlib import Path
from greenboost_py.broker.client import LeaseClient, ask_status
from greenboost_py.broker.protocol import request_size
path, uid, wanted_bytes = sys.argv[1:]
request_size()  # what is read from files is read as root
os.setgroups([])
os.setresgid(int(uid), int(uid), int(uid))
os.setresuid(int(uid), int(uid), int(uid))
with LeaseClient(Path(path)) as client:
    client.hello()
    print(client.acquire(int(wanted_bytes)).verdict.name, (ask_status(Path(path)) or b"").decode(), end="")
"""


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


@contextlib.contextmanager
def memfd(data: bytes) -> Iterator[int]:
    fd = os.memfd_create("greenboost")
    try:
        os.write(fd, data)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def process(path: Path, wanted_bytes: int) -> Iterator["subprocess.Popen[str]"]:
    """A program that has been answered, and keeps what it has until its end."""
    command = [sys.executable, "-c", CLIENT, str(path), str(wanted_bytes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def as_user(uid: int, path: Path, wanted_bytes: int) -> tuple[str, str]:
    """What another user is answered, and its status."""
    command = [sys.executable, "-c", OTHER_USER, str(path), str(uid), str(wanted_bytes)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    verdict, _, status = answer.partition(" ")
    return verdict, status


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as two other users")


@pytest.fixture
def open_path(tmp_path: Path) -> Iterator[Path]:
    """A socket's path that other users can reach: pytest's own folders are for one user."""
    with tempfile.TemporaryDirectory(prefix="gb-") as name:
        os.chmod(name, 0o755)
        yield Path(name) / "lease.sock"


def test_a_client_leases_reports_and_leases_again(serve: Serve) -> None:
    daemon = serve(LeaseConfig(reserve=parse_size("2GiB")))
    with LeaseClient(daemon.path) as client:
        assert client.hello().budget_bytes == 30 * GIB
        assert client.acquire(20 * GIB).granted_bytes == 20 * GIB
        refused = client.acquire(20 * GIB, held_bytes=20 * GIB, pending_bytes=20 * GIB)
        assert (refused.verdict, refused.granted_bytes) == (Verdict.MACHINE, 0)
        assert (refused.budget_bytes, refused.leased_bytes) == (10 * GIB, 20 * GIB)
        client.update(held_bytes=5 * GIB, pending_bytes=5 * GIB)
        assert client.acquire(20 * GIB, held_bytes=5 * GIB, pending_bytes=5 * GIB).leased_bytes == 25 * GIB
        assert daemon.held_bytes() == [25 * GIB]
        (lease,) = daemon.call(lambda: daemon.server.leases(os.geteuid()))
        assert (lease.holding.pid, lease.holding.uid) == (os.getpid(), os.geteuid())
        assert (lease.page, lease.error) == (None, None)
        assert daemon.call(lambda: daemon.server.leases(os.geteuid() + 1)) == ()


def test_leases_of_too_many_are_those_that_hold_most(serve: Serve) -> None:
    daemon = serve()
    with contextlib.ExitStack() as stack:
        for held_bytes in (3, 9, 1, 7):
            stack.enter_context(LeaseClient(daemon.path)).hello(held_bytes)
        for at_most, held in ((None, [3, 9, 1, 7]), (9, [3, 9, 1, 7]), (2, [9, 7]), (0, [])):
            leases = daemon.call(daemon.server.leases, None, at_most)
            assert [lease.holding.held_bytes for lease in leases] == held


def test_two_clients_share_what_there_is(serve: Serve) -> None:
    daemon = serve(LeaseConfig(reserve=parse_size("2GiB")))
    with LeaseClient(daemon.path) as one, LeaseClient(daemon.path) as two:
        one.hello()
        two.hello()
        assert one.acquire(25 * GIB).verdict is Verdict.GRANTED
        assert two.acquire(6 * GIB).verdict is Verdict.MACHINE
        one.close()
        daemon.wait_for(lambda: len(daemon.server.books) == 1)
        assert two.acquire(30 * GIB).verdict is Verdict.GRANTED


def test_a_killed_client_gives_back_at_once(serve: Serve) -> None:
    daemon = serve()
    with process(daemon.path, 7 * GIB) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "GRANTED\n"
        assert daemon.held_bytes() == [7 * GIB]
        child.send_signal(signal.SIGKILL)
        daemon.wait_for(lambda: not len(daemon.server.books))


def test_a_lease_ends_with_its_process_though_a_child_keeps_the_socket(serve: Serve) -> None:
    daemon = serve()
    command = [sys.executable, "-c", FORKING_CLIENT, str(daemon.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "forked\n"
        assert daemon.held_bytes() == [1]
        child.kill()
        daemon.wait_for(lambda: not len(daemon.server.books))
        # The child's child has the socket still, and ends with its input, which is closed now.


def test_a_kernel_without_pidfds_still_sees_the_connection_end(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "open_process", lambda pid: None)
    daemon = serve()
    with LeaseClient(daemon.path) as client:
        client.hello(held_bytes=1)
        assert daemon.held_bytes() == [1]
    daemon.wait_for(lambda: not len(daemon.server.books))


def test_a_client_that_ended_before_it_was_let_in_holds_nothing(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(pid: int) -> int | None:
        raise ProcessLookupError

    monkeypatch.setattr(sockets, "open_process", ended)
    daemon = serve()
    with LeaseClient(daemon.path) as client, pytest.raises(Exception, match="closed the connection"):
        client.hello(held_bytes=1)
    assert daemon.held_bytes() == []


def test_a_restarted_daemon_learns_what_is_held(serve: Serve, tmp_path: Path) -> None:
    config = LeaseConfig(reserve=parse_size("2GiB"), per_process=parse_size("8GiB"))
    first = serve(config)
    clients = [LeaseClient(first.path) for _ in range(10)]
    for held, client in enumerate(clients):
        client.hello()
        client.acquire(held * GIB // 4)
    first.close()
    assert not first.path.exists()
    second = serve(config)
    for held, client in enumerate(clients):
        client.close()
        clients[held] = LeaseClient(second.path)
        clients[held].hello(held_bytes=held * GIB // 4, pending_bytes=held * GIB // 4)
    assert second.held_bytes() == [held * GIB // 4 for held in range(10)]
    with LeaseClient(second.path) as over:
        assert over.hello(held_bytes=9 * GIB).leased_bytes == 9 * GIB
        assert over.acquire(1, held_bytes=9 * GIB).verdict is Verdict.PROCESS_CAP
        assert over.acquire(19 * GIB).verdict is Verdict.PROCESS_CAP
    for client in clients:
        client.close()


def test_the_page_is_read_when_it_is_asked_for(serve: Serve, make_page: MakePage) -> None:
    daemon = serve()
    with LeaseClient(daemon.path) as client, memfd(make_page({(0, 2): 7})) as fd:
        client.hello(page_fd=fd)

        def page() -> object:
            (lease,) = daemon.server.leases()
            return lease.error if lease.page is None else lease.page.host_bytes

        assert daemon.call(page) == 0
        os.pwrite(fd, make_page(host_bytes=5), 0)
        assert daemon.call(page) == 5
        for size in (100, 0):
            os.ftruncate(fd, size)
            error = daemon.call(page)
            assert isinstance(error, PageError)
            assert f"the page of process {os.getpid()}: not a page" in str(error)
        assert client.acquire(1).verdict is Verdict.GRANTED


def test_reading_the_page_of_a_file_that_fails_is_an_error_of_that_client(
    serve: Serve, make_page: MakePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = serve()
    with LeaseClient(daemon.path) as one, LeaseClient(daemon.path) as two, memfd(make_page()) as fd:
        one.hello(page_fd=fd)
        two.hello()

        def failing(fd: int, count: int, offset: int) -> bytes:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "pread", failing)
        leases = daemon.call(lambda: daemon.server.leases())
        assert [str(lease.error) for lease in leases if lease.error] == [
            f"the page of process {os.getpid()}: Input/output error"
        ]


@needs_root
def test_users_have_caps_of_their_own_and_see_their_own(serve: Serve, open_path: Path) -> None:
    daemon = serve(LeaseConfig(parse_size("0"), per_user=parse_size("4GiB")), path=open_path)
    with LeaseClient(daemon.path) as root:
        root.hello()
        assert root.acquire(4 * GIB).verdict is Verdict.GRANTED
        one, two = OTHER_USERS
        assert as_user(one, daemon.path, 4 * GIB) == ("GRANTED", f'{{"uid": {one}}}')
        assert as_user(two, daemon.path, 4 * GIB + 1) == ("USER_CAP", f'{{"uid": {two}}}')
        assert root.acquire(1, held_bytes=4 * GIB).verdict is Verdict.USER_CAP
        daemon.wait_for(lambda: len(daemon.server.books) == 1)


@needs_root
def test_false_figures_cost_the_other_user_no_more_than_a_cap(serve: Serve, open_path: Path) -> None:
    daemon = serve(LeaseConfig(Size(0), per_user=parse_size("16GiB")), path=open_path)
    with LeaseClient(daemon.path) as liar:
        liar.hello(held_bytes=2**62, pending_bytes=2**62)
        assert as_user(OTHER_USERS[0], daemon.path, 16 * GIB)[0] == "GRANTED"


def test_status_is_the_askers_in_a_sealed_file(serve: Serve) -> None:
    asked: list[int] = []
    text = b'{"programs": []}' * 100_000

    def status(uid: int) -> bytes:
        asked.append(uid)
        return text

    daemon = serve(status=status)
    before = open_fds()
    assert ask_status(daemon.path) == text
    assert asked == [os.geteuid()]
    daemon.wait_for(lambda: open_fds() == before)
    assert sum(daemon.server.counters.refused.values()) == 0


def test_status_without_descriptors_left_ends_that_connection_only(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(data: bytes) -> int:
        raise OSError(24, "Too many open files")

    daemon = serve()
    with LeaseClient(daemon.path) as client:
        client.hello()
        with monkeypatch.context() as patch:
            patch.setattr(sockets, "sealed_memfd", none_left)
            with pytest.raises(Exception, match="closed the connection"):
                ask_status(daemon.path)
        assert ask_status(daemon.path) is not None
        assert client.acquire(1).verdict is Verdict.GRANTED


def test_a_user_with_too_many_clients_is_told_and_the_others_stay(serve: Serve) -> None:
    daemon = serve(LeaseConfig(clients_per_user=3))
    clients = [LeaseClient(daemon.path) for _ in range(3)]
    for client in clients:
        assert client.hello().verdict is Verdict.GRANTED
    with LeaseClient(daemon.path) as late:
        assert late.hello(held_bytes=9).verdict is Verdict.CLIENTS
        with pytest.raises(Exception, match=r"does not answer|closed the connection"):
            late.acquire(1)
    assert ask_status(daemon.path) is not None
    assert daemon.held_bytes() == [0, 0, 0]
    assert daemon.server.counters.refused[Verdict.CLIENTS] == 1
    clients.pop().close()
    daemon.wait_for(lambda: len(daemon.server.books) == 2)
    with LeaseClient(daemon.path) as next_one:
        assert next_one.hello().verdict is Verdict.GRANTED
    for client in clients:
        client.close()


def test_silent_connections_of_a_user_are_bounded_and_end(serve: Serve) -> None:
    daemon = serve(LeaseConfig(clients_per_user=40))
    before = open_fds()
    with contextlib.ExitStack() as stack, LeaseClient(daemon.path) as client:
        client.hello()
        daemon.server.hello_deadline_s = 0.05  # from here on
        for _ in range(300):
            silent = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            silent.connect(str(daemon.path))
        assert client.acquire(1).verdict is Verdict.GRANTED
        counters = daemon.server.counters
        daemon.wait_for(lambda: counters.silent + counters.refused[Verdict.CLIENTS] == 300)
        assert counters.silent >= 40
        assert client.acquire(1).verdict is Verdict.GRANTED
    daemon.wait_for(lambda: open_fds() == before)


def test_one_user_cannot_have_more_than_half_of_all_connections(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_CONNECTIONS_MAX", 8)
    daemon = serve()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(LeaseClient(daemon.path)) for _ in range(6)]
        verdicts = [client.hello().verdict for client in clients]
    assert verdicts == [Verdict.GRANTED] * 4 + [Verdict.CLIENTS] * 2


def test_a_full_server_turns_away_who_comes_next(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_CONNECTIONS_MAX", 2)
    daemon = serve()
    with LeaseClient(daemon.path) as one, LeaseClient(daemon.path) as two, LeaseClient(daemon.path) as three:
        assert one.hello().verdict is Verdict.GRANTED
        daemon.wait_for(lambda: daemon.server.counters.connected == 3)
        assert three.socket.recv(64)[6] == Verdict.CLIENTS
        assert three.socket.recv(64) == b""
        assert two.hello().verdict is Verdict.CLIENTS  # half of two is one


def test_without_descriptors_the_server_waits_and_then_goes_on(serve: Serve) -> None:
    daemon = serve()
    with LeaseClient(daemon.path) as client, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as late:
        client.hello()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = os.dup(late.fileno())
        os.close(lowest_free)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
            late.connect(str(daemon.path))
            daemon.wait_for(lambda: daemon.server.counters.accept_errors >= 2)
            before, begin_s = daemon.server.counters.accept_errors, time.monotonic()
            turns = [client.acquire(1).verdict for _ in range(50)]
            errors, elapsed_s = daemon.server.counters.accept_errors - before, time.monotonic() - begin_s
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert turns == [Verdict.GRANTED] * 50
        assert errors <= elapsed_s / server_module.ACCEPT_PAUSE_S + 1  # it does not spin
        daemon.wait_for(lambda: daemon.server.counters.connected == 2)


def test_configure_holds_from_the_next_request_on(serve: Serve) -> None:
    daemon = serve(LeaseConfig(reserve=Size(0)))
    with LeaseClient(daemon.path) as client, LeaseClient(daemon.path) as late:
        client.hello()
        assert client.acquire(GIB).verdict is Verdict.GRANTED
        daemon.call(daemon.server.configure, LeaseConfig(per_process=Size(5), clients_per_user=1))
        assert client.acquire(6).verdict is Verdict.PROCESS_CAP
        assert late.hello().verdict is Verdict.CLIENTS


def test_a_thousand_clients_that_lease_and_die_leave_nothing(serve: Serve, make_page: MakePage) -> None:
    daemon = serve()

    def one_life(fd: int) -> None:
        with LeaseClient(daemon.path) as client:
            client.hello(held_bytes=5, page_fd=fd)
            client.acquire(1, held_bytes=5)

    def settled() -> None:
        daemon.wait_for(lambda: not len(daemon.server.books))
        gc.collect()

    with memfd(make_page()) as fd:
        for _ in range(20):
            one_life(fd)
        settled()
        fds = open_fds()
        tracemalloc.start()
        try:
            settled()
            before_bytes, _ = tracemalloc.get_traced_memory()
            for _ in range(1000):
                one_life(fd)
            settled()
            after_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert open_fds() == fds
    assert after_bytes - before_bytes < 200_000  # 200 bytes a life
    assert daemon.server.books.totals() == (0, 0)
    assert daemon.server.counters.granted == 1020


def test_clients_that_are_there_together_all_get_their_turn(serve: Serve) -> None:
    daemon = serve()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(LeaseClient(daemon.path)) for _ in range(200)]
        for client in clients:
            client.hello()
        for round_ in range(3):
            assert {client.acquire(1, held_bytes=round_).verdict for client in clients} == {Verdict.GRANTED}
        assert daemon.held_bytes() == [3] * 200


def test_the_real_machine_can_be_leased_from(serve: Serve) -> None:
    root = SysRoot()
    sources = Sources(
        lambda: read_ram(root),
        lambda pid: locate_cgroup(root, pid),
        lambda place: read_levels(root, place),
        lambda: Level.OK,
    )
    daemon = serve(LeaseConfig(reserve=Size(0)), sources=sources)
    with LeaseClient(daemon.path) as client:
        budget_bytes = client.hello().budget_bytes
        assert client.acquire(budget_bytes // 2).verdict is Verdict.GRANTED
        assert client.acquire(2**60, budget_bytes // 2, budget_bytes // 2).verdict in (Verdict.CGROUP, Verdict.MACHINE)
    assert daemon.server.counters.sensor_errors == 0
