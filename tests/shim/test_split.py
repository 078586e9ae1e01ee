"""One allocation across VRAM and host memory: where its chunks lie, and that nobody can tell."""

import re

import pytest
from harness import run_program, succeed

CARD = {"FAKECUDA_VRAM": "64MiB", "log": "debug"}


def plans(ended):
    """(chunks, chunk MiB, of them in VRAM) of each split block, in the order of allocation."""
    found = (re.search(r"tier=split chunks=(\d+) chunk=(\d+) in_vram=(\d+)", line) for line in ended.said)
    return [(int(m[1]), int(m[2]) >> 20, int(m[3])) for m in found if m]


@pytest.mark.parametrize(
    ("settings", "plan"),
    [
        ({}, (48, 2, 31)),  # 1/32 of VRAM is left free
        ({"vram_reserve": "0"}, (48, 2, 32)),
        ({"vram_reserve": "50%"}, (48, 2, 16)),
        ({"vram_limit": "20MiB", "vram_reserve": "0"}, (48, 2, 10)),
        ({"chunk": "8MiB"}, (12, 8, 7)),
        ({"chunk": "7MiB"}, (16, 6, 10)),
        ({"placement": "front"}, (2, 64, 0)),
        ({"placement": "front", "chunk": "1"}, (48, 2, 31)),
        ({"vram_limit": "0"}, (48, 2, 0)),
    ],
)
def test_split_takes_the_vram_there_is_in_whole_chunks(tmp_path, settings, plan):
    source = """
from books import books
init()
p = alloc(96 * MIB)
fill(p, 96 * MIB, 7)
check(p, 96 * MIB, 7)
held = books()
print(held.get("device", (0, 0))[0] >> 20, held["split"][0] >> 20, held["split"][1])
free(p)
assert not {"device", "split"} & set(books())
"""
    ended = succeed(source, tmp_path, **settings, **CARD)
    assert plans(ended) == [plan]
    chunks, size, in_vram = plan
    vram = min(in_vram * size, 96)
    assert ended.out.split() == [str(vram), str(96 - vram), "1"]
    assert chunks == -(-96 // size)


def test_split_of_an_odd_size_is_whole_granules_on_the_books_and_exact_to_the_program(tmp_path):
    source = """
from books import books, host_bytes
init()
size = 70 * MIB + 12345
p = alloc(size)
assert address_range(p + size - 1) == (p, size)
held = books()
assert held["device"][0] + held["split"][0] == 72 * MIB
assert host_bytes() == held["split"][0]
write(p + size - 5, b"abcde")
assert read(p + size - 5, 5) == b"abcde"
free(p)
assert host_bytes() == 0
"""
    succeed(source, tmp_path, **CARD)


@pytest.mark.parametrize("settings", [{}, {"placement": "front", "chunk": "2MiB"}, {"chunk": "4MiB"}])
def test_split_is_copied_across_its_chunks_in_every_direction(tmp_path, settings):
    """(26, 27, 30): synchronous, asynchronous, 2D, 3D and peer copies that begin and end anywhere."""
    source = """
import os, random
from rect import copy_2d, copy_3d
context = init()
size = 80 * MIB
a, b = alloc(size), alloc(size)
s = stream()
data = os.urandom(9 * MIB + 77)
random.seed(5)
for _ in range(6):
    at, to = random.randrange(size - len(data)), random.randrange(size - len(data))
    write(a + at, data)
    call("cuMemcpyDtoD_v2", b + to, a + at, len(data))
    assert read(b + to, len(data)) == data
    call("cuMemcpyDtoDAsync_v2", a + to, b + to, len(data), s)
    call("cuMemcpyPeerAsync", b + at, context, a + to, context, len(data), s)
    out = c.create_string_buffer(len(data))
    call("cuMemcpyDtoHAsync_v2", out, b + at, len(data), s)
    call("cuStreamSynchronize", s)
    assert out.raw == data
    call("cuMemcpyPeer", a + at, context, b + at, context, len(data))
    call("cuMemcpyHtoDAsync_v2", b + to, c.create_string_buffer(data, len(data)), len(data), s)
    call("cuStreamSynchronize", s)
    assert read(b + to, len(data)) == data
rows, width, pitch = 5, MIB + 33, 3 * MIB + 512
write(a, bytes(rows * pitch))
copy_2d(a + 5, pitch, data, width, width, rows)
for row in range(rows):
    assert read(a + 5 + row * pitch, width) == data[row * width:(row + 1) * width]
copy_3d(b + 3, pitch, 2, data, width, 2, width, 2, 2)
for plane in range(2):
    for row in range(2):
        assert read(b + 3 + (2 * plane + row) * pitch, width) == data[(2 * plane + row) * width:][:width]
assert code_of("cuMemcpyDtoD_v2", a + size - 10, b, 20) != 0, "over the end"
for p in (a, b): free(p)
call("cuStreamDestroy_v2", s)
"""
    ended = succeed(source, tmp_path, **settings, **CARD)
    assert len(plans(ended)) == 2


def test_split_is_no_host_pointer(tmp_path):
    """(30): the CPU faults on it, as it does on device memory."""
    ended = run_program("init()\np = alloc(96 * MIB)\nc.string_at(p + 50 * MIB, 1)", tmp_path, **CARD)
    assert ended.code == -11 or "SEGV" in ended.err  # a sanitizer's runtime has the last word


def test_split_over_ipc_is_the_documented_error_and_names_the_option(tmp_path):
    """(29)"""
    source = """
init()
p = alloc(96 * MIB)
handle = c.create_string_buffer(64)
assert code_of("cuIpcGetMemHandle", handle, p) == 1
free(p)
"""
    ended = succeed(source, tmp_path, **{**CARD, "log": "warn"})
    assert len(ended.said) == 1
    assert "GREENBOOST_FALLBACK=off" in ended.said[0]


@pytest.mark.parametrize("nth", [3, 10, 20])
def test_split_with_less_vram_than_the_driver_said_is_planned_anew(tmp_path, nth):
    """The driver says out of memory in the middle: what was taken is given back, and less is tried."""
    source = "init()\np = alloc(96 * MIB)\nfill(p, 96 * MIB, 1)\ncheck(p, 96 * MIB, 1)\nfree(p)"
    quiet = {**CARD, "log": "warn"}
    before = succeed(source, tmp_path, **quiet).calls("cuMemCreate") - 48
    failing = {"FAKECUDA_FAIL": f"cuMemCreate:{before + nth}:2"}
    ended = succeed(source, tmp_path, placement="front", chunk="2MiB", **failing, **{**CARD, "log": "debug"})
    ((chunks, _, in_vram),) = plans(ended)
    assert (chunks, in_vram) == (48, nth - 1)


EXPECTED = """
init()
blocks = [alloc(24 * MIB) for _ in range(5)]
for i, p in enumerate(blocks): fill(p, 24 * MIB, i + 1)
for i, p in enumerate(blocks): check(p, 24 * MIB, i + 1)
for p in blocks: free(p)
"""


def test_expect_keeps_one_proportion_from_the_first_block_on(tmp_path):
    ended = succeed(EXPECTED, tmp_path, expect="120MiB", vram_reserve="0", **CARD)
    assert plans(ended) == [(12, 2, 6), (12, 2, 6), (12, 2, 6), (12, 2, 7), (12, 2, 7)]
    without = succeed(EXPECTED, tmp_path, vram_reserve="0", **CARD)
    assert plans(without) == [(12, 2, 8), (12, 2, 0), (12, 2, 0)]


@pytest.mark.parametrize("settings", [{"expect": "60MiB"}, {"expect": "120MiB", "placement": "front"}])
def test_expect_of_what_fits_or_with_front_changes_nothing(tmp_path, settings):
    source = "init()\nblocks = [alloc(24 * MIB) for _ in range(2)]\nfor p in blocks: free(p)"
    ended = succeed(source, tmp_path, vram_reserve="0", **settings, **CARD)
    assert plans(ended) == []


def test_expect_too_low_is_served_all_the_same(tmp_path):
    ended = succeed(EXPECTED, tmp_path, expect="80MiB", vram_reserve="0", **CARD)
    assert sum(in_vram for _, _, in_vram in plans(ended)) * 2 <= 64


def test_movable_cuts_what_fits_into_chunks(tmp_path):
    source = """
from books import books
init()
p, q = alloc(32 * MIB), alloc(MIB)
assert books()["device"] == (33 * MIB, 1), books()
assert books()["split"] == (0, 1)
assert memory_info()[0] == 31 * MIB
fill(p, 32 * MIB, 3)
check(p, 32 * MIB, 3)
free(p); free(q)
"""
    ended = succeed(source, tmp_path, movable="1", chunk="8MiB", **CARD)
    assert plans(ended) == [(4, 8, 4)]


@pytest.mark.parametrize("before", [True, False])
def test_split_is_reached_by_peers_that_were_let_in(tmp_path, before):
    """A memset runs on the device, so it needs the mapping's own permission; a copy does not."""
    source = f"""
owner = init(0)
p = alloc(96 * MIB) if not {before} else 0
peer = init(1)
other = alloc(MIB)
assert not p or code_of("cuMemsetD8_v2", p, c.c_ubyte(1), 96 * MIB) != 0
call("cuCtxEnablePeerAccess", owner, c.c_uint(0))
if {before}:
    call("cuCtxPushCurrent_v2", owner)
    p = alloc(96 * MIB)
    call("cuCtxPopCurrent_v2", c.byref(c.c_void_p()))
fill(p, 96 * MIB, 5)
synchronize()
call("cuCtxPushCurrent_v2", owner)
check(p, 96 * MIB, 5)
free(p); free(other)
"""
    succeed(source, tmp_path, FAKECUDA_DEVICES="2", **CARD)


def test_split_in_host_memory_is_copied_in_a_context_of_any_device(tmp_path):
    """(44): as pinned host memory is. The second device comes into use after the block is there."""
    source = """
first = init(0)
p = alloc(96 * MIB)
fill(p, 96 * MIB, 4)
synchronize()
second = init(1)
q = alloc(96 * MIB)
check(p, 96 * MIB, 4)
call("cuMemcpyDtoD_v2", q, p, 96 * MIB)
synchronize()
call("cuCtxPushCurrent_v2", first)
check(q, 96 * MIB, 4)
assert attribute(q + 7, 9, c.c_int) == 1
free(p); free(q)
"""
    succeed(source, tmp_path, FAKECUDA_DEVICES="2", **CARD)


def test_split_devices_have_budgets_of_their_own(tmp_path):
    source = """
from books import books
init(0)
p = alloc(96 * MIB)
init(1)
q = alloc(96 * MIB)
for device in (0, 1):
    assert books(device)["device"][0] == 20 * MIB, books(device)
    assert books(device)["split"] == (76 * MIB, 1)
free(p)
assert set(books(0)) == {"moved", "spilled"}
free(q)
"""
    succeed(source, tmp_path, FAKECUDA_DEVICES="2", vram_limit="20MiB", vram_reserve="0", **CARD)


def test_split_refused_by_the_machine_unwinds_to_the_byte(tmp_path):
    source = """
from books import books, host_bytes
init()
free(alloc(96 * MIB))
before = books()
assert alloc_code(400 * MIB) == 2
assert host_bytes() == 0 and {k: v for k, v in books().items() if k != "moved"} == {k: v for k, v in before.items() if k != "moved"}
assert memory_info()[0] == 64 * MIB
"""
    ended = succeed(source, tmp_path, host_limit="200MiB", **{**CARD, "log": "warn"})
    assert len(ended.said) == 1
    assert "over GREENBOOST_HOST_LIMIT" in ended.said[0]
