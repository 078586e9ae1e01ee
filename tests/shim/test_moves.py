"""Chunks that change their place: out of VRAM when a small request needs room, and back; every byte is where it was."""

import json
import random
import re

import pytest
from harness import CLIENTS, FAILURES_OF_A_CALL, run, run_program, succeed

CARD = {"FAKECUDA_VRAM": "64MiB", "log": "debug", "vram_reserve": "0"}
FILL = """
from books import books, host_bytes
init()
big = alloc(96 * MIB)
fill(big, 32 * MIB, 1); fill(big + 32 * MIB, 32 * MIB, 2); fill(big + 64 * MIB, 32 * MIB, 3)
synchronize()
def intact():
    for third in range(3): check(big + third * 32 * MIB, 32 * MIB, third + 1)
"""


def moved(ended):
    """(MiB, where to) of each move, in order."""
    found = (re.search(r"moves: device=\d+ bytes=(\d+) to=(\w+)", line) for line in ended.said)
    return [(int(m[1]) >> 20, m[2]) for m in found if m]


def test_small_request_in_full_vram_gets_a_chunks_place(tmp_path):
    source = """
assert memory_info()[0] == 0
small = alloc(5 * MIB)
fill(small, 5 * MIB, 9)
intact()
assert books()["device"][0] == 64 * MIB - 6 * MIB + 5 * MIB and books()["split"][0] == 38 * MIB == host_bytes()
assert books()["moved"] == 6 * MIB
check(small, 5 * MIB, 9)
free(small); free(big)
assert memory_info()[0] == 64 * MIB
"""
    ended = succeed(FILL + source, tmp_path, **CARD)
    assert moved(ended)[0] == (6, "host")
    assert not any("tier=host_mapped" in line and "bytes=" in line for line in ended.said)


def test_a_move_makes_the_reserve_again(tmp_path):
    """So that not every small request needs a move of its own."""
    source = """
small = [alloc(MIB) for _ in range(20)]
intact()
for p in [*small, big]: free(p)
"""
    settings = {**CARD, "vram_reserve": "8MiB"}
    ended = succeed(FILL + source, tmp_path, **settings)
    assert [to for _, to in moved(ended)].count("host") <= 3


def test_large_request_moves_nothing(tmp_path):
    source = "q = alloc(64 * MIB)\nintact()\nfree(q); free(big)"
    assert moved(succeed(FILL + source, tmp_path, **CARD)) == []


@pytest.mark.parametrize("settings", [{"moves": "0"}, {"FAKECUDA_CAPS": "no-context-events"}, {"host_limit": "32MiB"}])
def test_without_moves_a_small_request_goes_to_host_memory(tmp_path, settings):
    """Turned off; with a driver that cannot say whether it is idle; with no host memory left for the chunk."""
    source = "print(alloc_code(5 * MIB))"
    ended = run_program(FILL + source, tmp_path, **settings, **CARD)
    assert ended.out == ("2\n" if "host_limit" in settings else "0\n")
    assert moved(ended) == []


def test_oldest_block_makes_room_first(tmp_path):
    source = """
from books import books
init()
old, young = alloc(32 * MIB), alloc(32 * MIB)
fill(old, 32 * MIB, 1); fill(young, 32 * MIB, 2)
small = [alloc(4 * MIB) for _ in range(8)]
check(old, 32 * MIB, 1); check(young, 32 * MIB, 2)
assert books()["split"] == (32 * MIB, 2)
free(old)
assert "split" in books() and books()["split"][0] == 0, "all that had to move was the old block's"
for p in [young, *small]: free(p)
"""
    succeed(source, tmp_path, movable="1", chunk="8MiB", **{**CARD, "log": "warn"})


def test_freed_vram_takes_chunks_back_at_a_safe_point(tmp_path):
    source = """
from books import books, host_bytes
init()
first = alloc(40 * MIB)
big = alloc(96 * MIB)
fill(big, 96 * MIB, 6)
assert books()["split"][0] == 72 * MIB
free(first)
synchronize()
check(big, 96 * MIB, 6)
assert books()["split"][0] == 32 * MIB == host_bytes(), books()
assert memory_info()[0] == 0
free(big)
assert memory_info()[0] == 64 * MIB and host_bytes() == 0
"""
    assert moved(succeed(source, tmp_path, **CARD)) == [(40, "vram")]


def test_returning_chunks_leave_the_reserve_free(tmp_path):
    source = """
init()
first = alloc(40 * MIB)
big = alloc(96 * MIB)
free(first)
for _ in range(4): synchronize()
assert memory_info()[0] == 16 * MIB, memory_info()
free(big)
"""
    succeed(source, tmp_path, **{**CARD, "vram_reserve": "16MiB"})


def test_taking_turns_does_not_move_the_same_chunks_for_ever(tmp_path):
    source = """
for _ in range(100):
    small = alloc(8 * MIB)
    free(small)
    synchronize()
intact()
free(big)
"""
    ended = succeed(FILL + source, tmp_path, **CARD)
    assert 1 <= len(moved(ended)) <= 12, moved(ended)


def test_work_in_flight_is_waited_for(tmp_path):
    """(33): the driver's report would tell of a chunk that went while work on it was queued."""
    source = """
s = stream()
for i in range(6):
    fill(big + i * 16 * MIB, 16 * MIB, 10 + i, s)
small = alloc(8 * MIB)
for i in range(6): check(big + i * 16 * MIB, 16 * MIB, 10 + i)
call("cuStreamDestroy_v2", s)
free(small); free(big)
"""
    ended = succeed(FILL + source, tmp_path, FAKECUDA_DEFER="5", **CARD)
    assert moved(ended)[0] == (8, "host")


def test_nothing_moves_while_a_stream_is_captured(tmp_path):
    source = """
s = stream()
call("cuStreamBeginCapture_v2", s, c.c_int(2))
fill(big, 96 * MIB, 8, s)
small = alloc(8 * MIB)
graph, executable = c.c_void_p(), c.c_void_p()
call("cuStreamEndCapture", s, c.byref(graph))
assert books()["moved"] == 0
call("cuGraphInstantiateWithFlags", c.byref(executable), graph, c.c_uint64(0))
intact()
another = alloc(8 * MIB)
assert books()["moved"] == 8 * MIB, "a graph that was captured before"
call("cuGraphLaunch", executable, s)
call("cuStreamSynchronize", s)
check(big, 96 * MIB, 8)
call("cuGraphExecDestroy", executable); call("cuGraphDestroy", graph)
call("cuStreamDestroy_v2", s)
for p in (small, another, big): free(p)
"""
    succeed(FILL + source, tmp_path, **CARD)


def test_small_stream_ordered_requests_get_room_too(tmp_path):
    source = """
s = stream()
small = [alloc_async(4 * MIB, s) for _ in range(4)]
for p in small: fill(p, 4 * MIB, 4, s)
call("cuStreamSynchronize", s)
intact()
for p in small: free_async(p, s)
call("cuStreamSynchronize", s)
call("cuStreamDestroy_v2", s)
free(big)
synchronize()
"""
    ended = succeed(FILL + source, tmp_path, FAKECUDA_DEFER="2", **CARD)
    assert (4, "host") in moved(ended)


FAULTS = """
def until(function, *arguments):
    for attempt in (1, 2, 3):
        try: return function(*arguments)
        except CudaError: pass
    raise SystemExit("three times")
import cuda_program
once = call
cuda_program.call = lambda *all: until(once, *all)
big = until(alloc, 24 * MIB)
fill(big, 24 * MIB, 7)
small = [until(alloc, 3 * MIB) for _ in range(3)]
for p in small: fill(p, 3 * MIB, 9)
check(big, 24 * MIB, 7)
for p in small: until(free, p)
for _ in range(20): until(synchronize)
check(big, 24 * MIB, 7)
until(free, big)
until(synchronize)
assert memory_info()[0] == 16 * MIB, memory_info()
assert host_bytes() == 0 and set(books()) <= {"moved", "spilled"}, books()
"""


@pytest.mark.parametrize("code", [2, 999])
def test_each_call_of_a_move_failed_once_loses_nothing(tmp_path, code):
    source = "from books import books, host_bytes\ninit()\n" + FAULTS
    card = {**CARD, "FAKECUDA_VRAM": "16MiB", "log": "warn"}
    clean = succeed(source, tmp_path, **card)
    failed = 0
    for symbol in ("cuMemCreate", "cuMemMap", "cuMemUnmap", "cuMemSetAccess", "cuMemRelease", "cuMemAddressReserve"):
        for nth in range(1, clean.calls(symbol) + 1, max(1, clean.calls(symbol) // FAILURES_OF_A_CALL)):
            ended = run_program(source, tmp_path, FAKECUDA_FAIL=f"{symbol}:{nth}:{code}", **card)
            assert ended.code == 0, (symbol, nth, ended.err)
            assert ended.report["violations"] == [] and ended.held() == {}, (symbol, nth)
            failed += 1
    others = (
        *("cuMemAddressFree", "cuMemRetainAllocationHandle", "cuMemcpyDtoDAsync_v2", "cuCtxRecordEvent"),
        *("cuEventCreate", "cuEventQuery", "cuStreamCreate", "cuStreamSynchronize", "cuCtxPushCurrent_v2"),
    )
    for symbol in others:
        for nth in range(1, min(clean.calls(symbol), FAILURES_OF_A_CALL) + 1):
            ended = run_program(source, tmp_path, FAKECUDA_FAIL=f"{symbol}:{nth}:{code}", **card)
            assert ended.code == 0, (symbol, nth, ended.err)
            assert ended.report["violations"] == [] and ended.held() == {}, (symbol, nth)
            failed += 1
    assert failed > 30


MODEL = """
import json, random, sys
from books import books, host_bytes
init()
live, contents = {}, {}
s = stream()
for op, key, size, seed in json.loads(sys.stdin.read()):
    if op == "allocate" and key not in live:
        live[key] = (alloc(size), size)
        contents[key] = bytes(size)
        fill(live[key][0], size, 0)
    elif op == "free" and key in live:
        pointer, size = live.pop(key)
        assert read(pointer, size) == contents.pop(key), (key, "before its free")
        free(pointer)
    elif op == "write" and key in live:
        pointer, whole = live[key]
        at = seed % whole
        data = random.Random(seed).randbytes(min(size, whole - at))
        write(pointer + at, data)
        contents[key] = contents[key][:at] + data + contents[key][at + len(data):]
    elif op == "set" and key in live:
        pointer, whole = live[key]
        at = seed % whole
        count = min(size, whole - at)
        fill(pointer + at, count, seed % 251, s)
        contents[key] = contents[key][:at] + bytes([seed % 251]) * count + contents[key][at + count:]
        call("cuStreamSynchronize", s)
    elif op == "wait":
        synchronize()
    for name, (pointer, whole) in live.items():
        at = seed % whole
        assert read(pointer + at, min(4096, whole - at)) == contents[name][at:at + 4096], (op, key, name)
for key, (pointer, size) in live.items():
    assert read(pointer, size) == contents[key], key
    free(pointer)
call("cuStreamDestroy_v2", s)
synchronize()
assert host_bytes() == 0 and set(books()) <= {"moved", "spilled"}, books()
print(books()["moved"])
"""


def sequence(seed):
    """Operations on a few blocks, large ones and small ones."""
    chance = random.Random(seed)
    operations = []
    for _ in range(120):
        key = chance.randrange(14)
        large = key < 6
        size = chance.randrange(4 << 20, 16 << 20) if large else chance.randrange(1, 3 << 20)
        op = chance.choices(["allocate", "free", "write", "set", "wait"], [6, 3, 4, 3, 2])[0]
        operations.append(
            (op, key, size if op == "allocate" else chance.randrange(1, 4 << 20), chance.randrange(1 << 30))
        )
    return operations


@pytest.mark.parametrize("settings", [{}, {"movable": "1"}, {"placement": "front"}], ids=["split", "movable", "front"])
@pytest.mark.parametrize("seed", range(8))
def test_bytes_survive_any_sequence(tmp_path, seed, settings):
    """Against a model that keeps every byte; a third of the runs has a call failing here and there."""
    card = {"FAKECUDA_VRAM": "32MiB", "chunk": "4MiB", "vram_reserve": "0", "FAKECUDA_DEFER": "1"}
    operations = json.dumps(sequence(seed))
    ended = run_program(MODEL, tmp_path, stdin=operations, **settings, **card)
    assert ended.code == 0, ended.err
    assert ended.report["violations"] == []
    assert ended.held() == {}
    failing = ",".join(f"cuMem{call}:{7 + 5 * i + seed}:2" for i, call in enumerate(("Map", "SetAccess", "Create")))
    ended = run_program(MODEL, tmp_path, stdin=operations, FAKECUDA_FAIL=failing, **settings, **card)
    assert ended.code == 0 or "cuMemAlloc_v2 -> 2" in ended.err, ended.err
    assert ended.report["violations"] == []


@pytest.mark.parametrize("settings", [{}, {"movable": "1"}], ids=["split", "movable"])
def test_threads_submit_while_chunks_move(tmp_path, settings):
    """Eight threads: what one submits never meets a chunk on its way."""
    card = {"FAKECUDA_VRAM": "64MiB", "chunk": "2MiB", "FAKECUDA_DEFER": "2"}
    moves = 0
    for seed in ("1", "2", "3"):
        command = [str(CLIENTS / "threads"), "--vram", "64MiB", "--seed", seed, "--count", "400"]
        ended = run(command, tmp_path, **settings, **card)
        assert ended.code == 0, ended.err
        assert ended.report["violations"] == []
        assert ended.held() == {}
        moves += ended.calls("cuMemRetainAllocationHandle")
    assert moves > 10
