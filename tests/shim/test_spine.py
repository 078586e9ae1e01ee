"""The spine on the simulated driver: what does not fit goes to host memory, is right, and is given back."""

import sys
from pathlib import Path

import pytest
from harness import run_program, succeed

CARD = {"FAKECUDA_VRAM": "64MiB"}

OVERFLOW = """
init()
blocks = [(alloc(size), size, 17 * i % 251) for i, size in enumerate([40 * MIB, 96 * MIB, 10 * MIB, 30 * MIB, 16 * MIB])]
for pointer, size, byte in blocks:
    fill(pointer, size, byte)
for pointer, size, byte in blocks:
    check(pointer, size, byte)
for pointer, size, byte in reversed(blocks):
    free(pointer)
"""


def test_allocate_three_times_the_vram_without_the_shim_fails(tmp_path):
    ended = run_program(OVERFLOW, tmp_path, shim=False, **CARD)
    assert ended.code == 1
    assert "cuMemAlloc_v2 -> 2" in ended.err


@pytest.mark.parametrize(
    ("fallback", "tier"), [("auto", "split"), ("split", "split"), ("host", "host_mapped"), ("managed", "managed")]
)
def test_allocate_three_times_the_vram_runs_right_and_leaves_nothing(tmp_path, fallback, tier):
    ended = succeed(OVERFLOW, tmp_path, fallback=fallback, log="debug", **CARD)
    assert sum(f"tier={tier}" in line and "bytes=" in line for line in ended.said) == 3
    assert ended.out == ""


def test_allocate_with_fallback_off_is_out_of_memory(tmp_path):
    succeed("init()\nassert alloc_code(96 * MIB) == 2\nfree(alloc(8 * MIB))", tmp_path, fallback="off", **CARD)


def test_allocate_within_the_limit_is_the_drivers_own(tmp_path):
    ended = succeed("init()\np = alloc(8 * MIB)\ncheck_type = attribute(p, 2)\nfree(p)", tmp_path, **CARD)
    assert ended.calls("cuMemHostRegister_v2") == 0
    assert ended.calls("cuMemAlloc_v2") == 1


def test_vram_limit_sends_the_rest_to_host_memory(tmp_path):
    source = """
init()
a, b = alloc(6 * MIB), alloc(6 * MIB)
assert memory_info() == (2 * MIB, 8 * MIB), memory_info()
assert total_memory() == 8 * MIB
fill(b, 6 * MIB, 3)
check(b, 6 * MIB, 3)
free(a)
assert memory_info()[0] == 8 * MIB
free(b)
"""
    ended = succeed(source, tmp_path, vram_limit="8MiB", fallback="host", log="debug", **CARD)
    assert sum("tier=host_mapped" in line and "bytes=" in line for line in ended.said) == 1


def test_vram_limit_as_a_share_is_of_the_devices_total(tmp_path):
    succeed("init()\nassert memory_info()[1] == 48 * MIB", tmp_path, vram_limit="75%", **CARD)


def test_vram_reserve_is_kept_from_large_requests_and_open_to_small_ones(tmp_path):
    source = """
init()
large = alloc(60 * MIB)
small = [alloc(MIB // 2) for _ in range(100)]
free(large)
for p in small: free(p)
"""
    ended = succeed(source, tmp_path, vram_reserve="32MiB", log="debug", **CARD)
    spilled = [line for line in ended.said if "tier=" in line and "bytes=" in line]
    assert len(spilled) == 1
    assert f"bytes={60 << 20}" in spilled[0]


def test_retry_first_refuses_once_and_serves_the_retry(tmp_path):
    source = """
init()
assert alloc_code(96 * MIB) == 2
p = alloc(96 * MIB)
assert alloc_code(97 * MIB) == 2
assert alloc_code(98 * MIB) == 2, "another size is no retry"
free(p)
"""
    succeed(source, tmp_path, retry_first="1", **CARD)


def test_host_limit_refuses_what_would_pass_it(tmp_path):
    source = """
init()
p = alloc(96 * MIB)
assert alloc_code(96 * MIB) == 2
free(p)
free(alloc(96 * MIB))
"""
    succeed(source, tmp_path, host_limit="100MiB", **CARD)


def test_host_reserve_larger_than_the_machine_refuses_everything(tmp_path):
    ended = succeed("init()\nassert alloc_code(96 * MIB) == 2", tmp_path, host_reserve="100%", **CARD)
    assert sum("refused" in line and "can spare 0" in line for line in ended.said) >= 1


def test_advertise_reports_host_memory_and_grants_it(tmp_path):
    source = """
init()
free_bytes, total = memory_info()
assert total == total_memory() == 264 * MIB, total
assert free_bytes == total
p = alloc(200 * MIB)
assert memory_info() == (64 * MIB, total), memory_info()
free(p)
assert memory_info() == (total, total)
"""
    succeed(source, tmp_path, advertise="200MiB", **CARD)


def test_advertise_with_a_host_limit_promises_no_more_than_it(tmp_path):
    source = "init()\nf, t = memory_info()\nassert f == t == 84 * MIB, (f, t)\nfree(alloc(20 * MIB))"
    succeed(source, tmp_path, advertise="on", host_limit="20MiB", **CARD)


@pytest.mark.parametrize("suffix", ["", "_ptsz"])
def test_allocate_async_past_vram_keeps_the_order_of_its_stream(tmp_path, suffix):
    """(34): the free comes behind the work that was queued before it."""
    source = f"""
init()
s = stream()
blocks = []
for i in range(4):
    p = alloc_async(40 * MIB, s, "{suffix}")
    fill(p, 40 * MIB, i + 1, s)
    blocks.append(p)
for i, p in enumerate(blocks):
    call("cuStreamSynchronize" + "{suffix}", s)
    check(p, 40 * MIB, i + 1)
    fill(p, 40 * MIB, 99, s)
    free_async(p, s, "{suffix}")
call("cuStreamSynchronize" + "{suffix}", s)
call("cuStreamDestroy_v2", s)
synchronize()
"""
    succeed(source, tmp_path, FAKECUDA_DEFER="3", **CARD)


def test_allocate_async_on_default_streams_past_vram_works(tmp_path):
    source = """
init()
for s, suffix in ((None, ""), (None, "_ptsz"), (LEGACY, ""), (PER_THREAD, "")):
    p = alloc_async(96 * MIB, s, suffix)
    fill(p, 96 * MIB, 7)
    free_async(p, s, suffix)
    synchronize()
assert memory_info()[0] == 64 * MIB
"""
    succeed(source, tmp_path, **CARD)


def test_allocate_from_a_pool_past_vram_works(tmp_path):
    source = """
init()
pool = c.c_void_p()
call("cuDeviceGetDefaultMemPool", c.byref(pool), c.c_int(0))
p = c.c_uint64()
call("cuMemAllocFromPoolAsync", c.byref(p), 96 * MIB, pool, None)
fill(p.value, 96 * MIB, 5)
check(p.value, 96 * MIB, 5)
free_async(p.value)
synchronize()
"""
    succeed(source, tmp_path, **CARD)


def test_allocate_pitch_past_vram_has_rows_that_do_not_overlap(tmp_path):
    source = """
init()
p, pitch = c.c_uint64(), c.c_size_t()
call("cuMemAllocPitch_v2", c.byref(p), c.byref(pitch), 1000, 100_000, c.c_uint(4))
assert pitch.value >= 1000 and pitch.value % 512 == 0
call("cuMemsetD2D8_v2", p.value, pitch.value, c.c_ubyte(9), 1000, 100_000)
check(p.value + 99_999 * pitch.value, 1000, 9)
assert address_range(p.value + 5)[1] >= pitch.value * 99_999 + 1000
free(p.value)
assert code_of("cuMemAllocPitch_v2", c.byref(p), c.byref(pitch), 1000, 100_000, c.c_uint(3)) == 1
"""
    succeed(source, tmp_path, **CARD)


def test_allocate_managed_by_the_program_is_passed_through_and_counted(tmp_path):
    source = """
init()
p = c.c_uint64()
call("cuMemAllocManaged", c.byref(p), 8 * MIB, c.c_uint(1))
c.memset(p.value, 3, 8 * MIB)
check(p.value, 8 * MIB, 3)
assert attribute(p.value, 8, c.c_uint) == 1
free(p.value)
"""
    ended = succeed(source, tmp_path, **CARD)
    assert ended.calls("cuMemAllocManaged") == 1


def test_several_devices_have_books_of_their_own(tmp_path):
    """(44): the second device, and one limit for each."""
    source = """
first = init(0)
a = alloc(6 * MIB)
second = init(1)
b = alloc(6 * MIB)
assert memory_info() == (2 * MIB, 8 * MIB)
big = alloc(30 * MIB)
assert attribute(big, 9, c.c_int) == 1
fill(big, 30 * MIB, 4)
synchronize()
call("cuCtxPushCurrent_v2", first)
check(big, 30 * MIB, 4)
assert memory_info() == (2 * MIB, 8 * MIB)
for p in (a, b, big): free(p)
assert memory_info() == (8 * MIB, 8 * MIB)
"""
    succeed(source, tmp_path, vram_limit="8MiB", FAKECUDA_DEVICES="2", **CARD)


def test_program_that_writes_a_title_over_its_arguments_is_shown_by_its_own_name(tmp_path):
    source = """
import books, struct
from pathlib import Path
arguments = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45])  # arg_start, proc_pid_stat(5)
c.memset(arguments, ord("x"), 64)
init()
pointer = alloc(MIB)
print(struct.unpack_from(books.HEAD, books.page())[-1].split(b"\\0")[0].decode())
free(pointer)
"""
    assert succeed(source, tmp_path, **CARD).out == f"{Path(sys.executable).name}\n"
