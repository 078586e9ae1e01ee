"""The simulated driver's mappings and pools."""

import signal

import pytest
from harness import run_program

SMALL = {"FAKECUDA_VRAM": "4MiB"}
PLAIN_FAULTS = {"ASAN_OPTIONS": "detect_leaks=0:handle_segv=0", "TSAN_OPTIONS": "handle_segv=0"}

SETUP = """
context = init()
def done(handle):
    call("cuStreamSynchronize", handle)
def end():
    call("cuCtxDestroy_v2", context)
"""

RESERVED = """
class Prop(c.Structure):
    _fields_ = [("type", c.c_int), ("handles", c.c_int), ("location", c.c_int * 2), ("meta", c.c_void_p), ("flags", c.c_ubyte * 8)]
class Access(c.Structure):
    _fields_ = [("location", c.c_int * 2), ("flags", c.c_int)]
SIZE = 2 * MIB
def prop(kind, number=0):
    return Prop(1, 0, (c.c_int * 2)(kind, number))
def create(kind=1, size=SIZE, number=0):
    handle = c.c_uint64()
    call("cuMemCreate", c.byref(handle), size, c.byref(prop(kind, number)), 0)
    return handle.value
def reserve(size=SIZE):
    base = c.c_uint64()
    call("cuMemAddressReserve", c.byref(base), size, 0, 0, 0)
    return base.value
def map_in(base, handle, size=SIZE):
    call("cuMemMap", base, size, 0, handle, 0)
def allow(base, size=SIZE, kind=1, flags=3):
    return code_of("cuMemSetAccess", base, size, c.byref(Access((c.c_int * 2)(kind, 0), flags)), 1)
"""


def driver(source, tmp_path, code=0, clean=True, **settings):
    """Runs a program without the shim; it has to end with `code`, and clean."""
    ended = run_program(SETUP + source, tmp_path, shim=False, **settings)
    assert ended.code == code, ended.err
    if clean:
        assert ended.report["clean"], ended.report
    return ended


# ---- mappings ----


def test_mapped_chunks_are_one_range_with_their_own_access(tmp_path):
    source = """
base = reserve(3 * SIZE)
device, host = create(1), create(3)
assert memory_info()[0] == 2 * MIB
map_in(base, device), map_in(base + SIZE, host)
assert code_of("cuMemsetD8_v2", base, c.c_ubyte(1), 1) == 1
assert allow(base, 2 * SIZE) == 0 and allow(base, SIZE, kind=2) == 1 and allow(base, 3 * SIZE) == 1 and allow(base, MIB) == 1
fill(base, 2 * SIZE, 9)
check(base + SIZE - 100, 200, 9)
assert code_of("cuMemsetD8_v2", base + SIZE, c.c_ubyte(1), SIZE + 1) == 1
assert attribute(base, 2, c.c_uint) == DEVICE and attribute(base + SIZE, 2, c.c_uint) == HOST
assert (attribute(base + SIZE, 11), attribute(base + SIZE, 12)) == (base, 3 * SIZE)
assert (attribute(base + SIZE, 19), attribute(base + SIZE, 18)) == (base + SIZE, SIZE)
assert attribute(base + 2 * SIZE, 13, c.c_int) == 0 and attribute(base, 13, c.c_int) == 1
assert allow(base + SIZE, kind=3) == 0
assert c.string_at(base + SIZE, 10) == b"\\11" * 10
c.memset(base + SIZE, 2, SIZE)
check(base + SIZE, SIZE, 2)
flags = c.c_ulonglong()
call("cuMemGetAccess", c.byref(flags), (c.c_int * 2)(1, 0), base)
assert flags.value == 3
call("cuMemRelease", device), call("cuMemRelease", host)
assert code_of("cuMemRelease", device) == 1 and memory_info()[0] == 2 * MIB
assert code_of("cuMemUnmap", base, MIB) == code_of("cuMemUnmap", base, 3 * SIZE) == 1
assert code_of("cuMemAddressFree", base, 3 * SIZE) == 1
call("cuMemUnmap", base, 2 * SIZE)
assert memory_info()[0] == 4 * MIB
assert code_of("cuMemAddressFree", base, SIZE) == 1
call("cuMemAddressFree", base, 3 * SIZE)
end()
"""
    driver(RESERVED + source, tmp_path, **SMALL)


@pytest.mark.parametrize(
    "caps, kind, number, code",
    [
        ("", 1, 0, 0),
        ("", 1, 9, 101),
        ("", 2, 5, 0),
        ("", 3, 0, 0),
        ("", 4, 0, 1),
        ("", 0, 0, 1),
        ("cpuless-numa", 3, 1, 1),
        ("cpuless-numa", 2, 0, 0),
        ("no-numa", 3, 0, 0),
        ("no-host-vmm", 2, 0, 801),
        ("no-host-vmm", 3, 0, 801),
        ("no-host-vmm", 1, 0, 0),
        ("no-vmm", 1, 0, 801),
    ],
)
def test_handles_are_created_where_the_machine_has_memory(caps, kind, number, code, tmp_path):
    source = f"""
handle = c.c_uint64(77)
assert code_of("cuMemCreate", c.byref(handle), SIZE, c.byref(prop({kind}, {number})), 0) == {code}
assert code_of("cuMemCreate", c.byref(c.c_uint64()), SIZE + 4096, c.byref(prop({kind}, {number})), 0) in (1, 801)
if {code}:
    assert handle.value == 77
else:
    call("cuMemRelease", handle)
end()
"""
    driver(RESERVED + source, tmp_path, FAKECUDA_CAPS=caps)


def test_host_mapping_without_cpu_access_faults(tmp_path):
    source = "base = reserve()\nmap_in(base, create(2))\nallow(base)\nfill(base, SIZE, 1)\nc.string_at(base, 1)"
    driver(RESERVED + source, tmp_path, code=-signal.SIGSEGV, clean=False, **PLAIN_FAULTS)


def test_retained_handle_keeps_its_memory(tmp_path):
    source = """
base, again = reserve(), c.c_uint64()
handle = create()
map_in(base, handle)
call("cuMemRelease", handle)
call("cuMemRetainAllocationHandle", c.byref(again), c.c_void_p(base + 5))
call("cuMemUnmap", base, SIZE)
assert again.value == handle and memory_info()[0] == 2 * MIB
map_in(base, again.value)
call("cuMemUnmap", base, SIZE), call("cuMemRelease", again), call("cuMemAddressFree", base, SIZE)
assert memory_info()[0] == 4 * MIB
end()
"""
    driver(RESERVED + source, tmp_path, **SMALL)


# ---- pools ----

POOLS = """
pool = c.c_void_p()
call("cuDeviceGetDefaultMemPool", c.byref(pool), c.c_int(0))
def level(number):
    value = c.c_uint64()
    call("cuMemPoolGetAttribute", pool, c.c_int(number), c.byref(value))
    return value.value
def set_threshold(size):
    call("cuMemPoolSetAttribute", pool, c.c_int(4), c.byref(c.c_uint64(size)))
s = stream()
"""


def test_pool_memory_goes_back_when_synchronised_unless_kept(tmp_path):
    source = """
p = alloc_async(MIB, s)
assert memory_info()[0] == 3 * MIB and level(7) == MIB
free_async(p, s)
assert level(7) == MIB
done(s)
assert memory_info()[0] == 4 * MIB and (level(5), level(7), level(8)) == (0, 0, MIB)
set_threshold(MIB)
free_async(alloc_async(2 * MIB, s), s)
done(s)
assert memory_info()[0] == 3 * MIB and (level(5), level(7)) == (MIB, 0)
p = alloc_async(MIB, s)
assert memory_info()[0] == 3 * MIB
free_async(p, s), done(s)
call("cuMemPoolTrimTo", pool, 4096)
assert memory_info()[0] == 4 * MIB - 4096
free(alloc(4 * MIB))
end()
"""
    driver(POOLS + source, tmp_path, **SMALL)


def test_pool_out_of_memory_lets_queued_frees_happen_first(tmp_path):
    source = """
for _ in range(5):
    free_async(alloc_async(3 * MIB, s), s)
p = alloc_async(3 * MIB, s)
out = c.c_uint64(5)
assert code_of("cuMemAllocAsync", c.byref(out), 2 * MIB, s) == 2 and out.value == 5
assert code_of("cuMemFreeAsync", p + 512, s) == 1
free_async(p, s)
assert code_of("cuMemFreeAsync", p, s) == 1
free_async(alloc(MIB), s)
done(s)
end()
"""
    driver(POOLS + source, tmp_path, FAKECUDA_DEFER="3", **SMALL)


def test_pool_made_and_destroyed_lives_until_its_last_allocation(tmp_path):
    source = """
class Props(c.Structure):
    _fields_ = [("type", c.c_int), ("handles", c.c_int), ("location", c.c_int * 2), ("security", c.c_void_p), ("max", c.c_size_t),
        ("usage", c.c_ushort), ("reserved", c.c_ubyte * 54)]
mine, p = c.c_void_p(), c.c_uint64()
call("cuMemPoolCreate", c.byref(mine), c.byref(Props(1, 0, (c.c_int * 2)(1, 0), None, 2 * MIB)))
call("cuMemAllocFromPoolAsync", c.byref(p), MIB, mine, s)
assert code_of("cuMemAllocFromPoolAsync", c.byref(c.c_uint64()), 2 * MIB, mine, s) == 2
assert attribute(p.value, 17) == mine.value
assert code_of("cuMemPoolDestroy", pool) == 1
call("cuMemPoolDestroy", mine)
assert code_of("cuMemPoolDestroy", mine) == 1
fill(p.value, MIB, 1, s)
free_async(p.value, s), done(s)
assert memory_info()[0] == 4 * MIB
assert code_of("cuMemPoolCreate", c.byref(mine), c.byref(Props(1, 1, (c.c_int * 2)(1, 0)))) == 801
end()
"""
    driver(POOLS + source, tmp_path, **SMALL)


def test_without_pools_stream_ordered_memory_is_not_supported(tmp_path):
    source = 'assert code_of("cuMemAllocAsync", c.byref(c.c_uint64()), 512, None) == 801\nend()'
    driver(source, tmp_path, FAKECUDA_CAPS="no-pools")
