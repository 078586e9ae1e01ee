"""What holds for memory in every tier. The programs cannot tell which one they got."""

import pytest
from harness import succeed

SIZES = (1, 511, 4096, 65_537, 2 * 2**20, 33 * 2**20 + 17)


def test_tier_serves_every_size_and_every_byte_is_right(tmp_path, tier):
    source = f"""
init()
blocks = [(alloc(size), size, i + 1) for i, size in enumerate({SIZES})]
assert len({{p for p, _, _ in blocks}}) == len(blocks)
for p, size, byte in blocks:
    assert p % 256 == 0
    fill(p, size, byte)
for p, size, byte in blocks:
    check(p, size, byte)
    free(p)
"""
    succeed(source, tmp_path, **tier)


def test_tier_memory_is_copied_in_every_direction(tmp_path, tier):
    source = """
import os
init()
size = 3 * MIB + 5
data = os.urandom(size)
a, b = alloc(size), alloc(size)
s = stream()
write(a, data)
call("cuMemcpyDtoD_v2", b, a, size)
assert read(b, size) == data
call("cuMemcpyDtoDAsync_v2", a + 100, b, 1000, s)
call("cuStreamSynchronize", s)
assert read(a + 100, 1000) == data[:1000]
out = c.create_string_buffer(size)
call("cuMemcpyDtoHAsync_v2", out, b, size, s)
call("cuStreamSynchronize", s)
assert out.raw == data
call("cuMemcpy", a, b, size)
assert read(a, size) == data
call("cuMemsetD32_v2", a, c.c_uint(0x01020304), 1000)
assert read(a, 4) == b"\\x04\\x03\\x02\\x01"
free(a); free(b)
call("cuStreamDestroy_v2", s)
"""
    succeed(source, tmp_path, **tier)


def test_tier_memory_answers_as_device_memory(tmp_path, tier):
    source = """
init()
p = alloc(5 * MIB)
assert (attribute(p + 9, 2, c.c_uint), attribute(p + 9, 8, c.c_uint), attribute(p + 9, 9, c.c_int)) == (DEVICE, 0, 0)
assert address_range(p + 12345) == (p, 5 * MIB)
assert (attribute(p + 1, 11), attribute(p + 1, 12)) == (p, 5 * MIB)
assert code_of("cuPointerGetAttribute", c.byref(c.c_uint64()), c.c_int(4), p) == 1
free(p)
"""
    succeed(source, tmp_path, **tier)


def test_tier_frees_only_what_it_gave(tmp_path, tier):
    source = """
init()
p = alloc(5 * MIB)
assert code_of("cuMemFree_v2", p + 256) == 1
free(p)
assert code_of("cuMemFree_v2", p) == 1
"""
    succeed(source, tmp_path, **tier)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_tier_frees_after_the_work_that_was_queued(tmp_path, tier, asynchronous):
    source = f"""
init()
s = stream()
for _ in range(3):
    p = alloc_async(5 * MIB, s) if {asynchronous} else alloc(5 * MIB)
    fill(p, 5 * MIB, 1, s)
    free_async(p, s) if {asynchronous} else free(p)
call("cuStreamSynchronize", s)
call("cuStreamDestroy_v2", s)
synchronize()
"""
    succeed(source, tmp_path, FAKECUDA_DEFER="4", **tier)


def test_tier_gives_all_back_with_its_context(tmp_path, tier):
    source = """
for _ in range(3):
    context = init()
    blocks = [alloc(5 * MIB) for _ in range(4)]
    call("cuCtxDestroy_v2", context)
"""
    succeed(source, tmp_path, **tier)


def test_tier_without_room_is_out_of_memory(tmp_path, tier):
    settings = {**tier, "host_limit": "20MiB", "FAKECUDA_VRAM": "20MiB"}
    source = """
init()
p = alloc(15 * MIB)
assert alloc_code(15 * MIB) == 2
free(p)
free(alloc(15 * MIB))
"""
    succeed(source, tmp_path, **settings)
