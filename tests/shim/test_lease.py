"""Host memory that the daemon grants: what it is told is what is held, to the byte."""

import os

import pytest
import stand_in
from harness import run_program, succeed
from leasing import BLOCKS, CARD, MIB, check_sequences
from stand_in import ACQUIRE, GRANTED, HELLO, StandIn, reply

from greenboost_py.base.abi import parse_page

TIERS = ("split", "host", "managed")


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


def test_socket_of_the_user_is_found_in_the_runtime_directory(tmp_path):
    """Unless a daemon of the system's is there, which would be asked first."""
    if os.path.exists("/run/greenboost/lease.sock"):
        pytest.skip("a daemon of the system's is there")
    (tmp_path / "greenboost").mkdir()
    with StandIn(tmp_path / "greenboost" / "lease.sock") as daemon:
        succeed(BLOCKS, tmp_path, socket="", XDG_RUNTIME_DIR=str(tmp_path), **CARD)
    assert daemon.requests[-1].figures == (0, 0, 0)
