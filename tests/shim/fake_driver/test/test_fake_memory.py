"""The simulated driver's host and managed memory, and what it says of an address."""

from harness import run_program

SMALL = {"FAKECUDA_VRAM": "4MiB"}


def driver(source, tmp_path, clean=True, **settings):
    """Runs a program without the shim; it has to end well, and clean."""
    ended = run_program(source, tmp_path, shim=False, **settings)
    assert ended.code == 0, ended.err
    if clean:
        assert ended.report["clean"], ended.report
    return ended


def test_pinned_and_managed_memory_is_one_for_cpu_and_device(tmp_path):
    source = """
context = init()
host, managed = c.c_void_p(), c.c_uint64()
call("cuMemHostAlloc", c.byref(host), 4096, c.c_uint(0))
call("cuMemAllocManaged", c.byref(managed), 4096, c.c_uint(1))
for address in (host.value, managed.value):
    fill(address, 4096, 7)
    assert c.string_at(address, 4096) == b"\\7" * 4096
    c.memset(address, 9, 4096)
    check(address, 4096, 9)
call("cuMemFreeHost", host)
free(managed.value)
call("cuCtxDestroy_v2", context)
"""
    driver(source, tmp_path)


REGISTERED = """
import mmap
context = init()
memory = mmap.mmap(-1, 4 * MIB)
base = c.addressof(c.c_char.from_buffer(memory))
register = lambda offset, size: code_of("cuMemHostRegister_v2", c.c_void_p(base + offset), size, c.c_uint(0))
unregister = lambda offset: code_of("cuMemHostUnregister", c.c_void_p(base + offset))
def device_pointer(offset):
    pointer = c.c_uint64()
    call("cuMemHostGetDevicePointer_v2", c.byref(pointer), c.c_void_p(base + offset), c.c_uint(0))
    return pointer.value
"""


def test_registered_memory_is_checked_mapped_and_given_back(tmp_path):
    source = """
assert register(0, MIB) == 0 and register(4096, MIB) == 712 and register(0, 0) == 1
assert device_pointer(4096) == base + 4096
fill(base, MIB, 5)
assert memory[:MIB] == b"\\5" * MIB
assert attribute(base, 2, c.c_uint) == HOST and attribute(base + 5, 11) == base
assert unregister(4096) == 713 and unregister(0) == 0 and unregister(0) == 713
assert register(0, MIB) == register(MIB, MIB) == 0
p = alloc(2 * MIB)
call("cuMemcpyDtoD_v2", p, base, 2 * MIB)
assert code_of("cuMemsetD8_v2", base, c.c_ubyte(1), 3 * MIB) == 1
call("cuCtxDestroy_v2", context)
"""
    driver(REGISTERED + source, tmp_path)


def test_capability_switches_change_what_registering_does(tmp_path):
    crossing = """
assert register(0, MIB) == register(MIB, MIB) == 0
p = alloc(2 * MIB)
assert code_of("cuMemcpyDtoD_v2", p, base, 2 * MIB) == 1 and code_of("cuMemcpyDtoD_v2", p, base, MIB) == 0
call("cuCtxDestroy_v2", context)
"""
    driver(REGISTERED + crossing, tmp_path, FAKECUDA_CAPS="no-cross-registration-copy")
    apart = """
assert register(0, MIB) == 0
p = device_pointer(100)
assert p != base + 100
assert attribute(p, 4) == base + 100 and attribute(base + 100, 3) == p
fill(p, 100, 4)
assert memory[100:200] == b"\\4" * 100 and memory[200] == 0
assert code_of("cuMemsetD8_v2", base, c.c_ubyte(1), 10) == 1
assert unregister(0) == 0 and code_of("cuMemsetD8_v2", p, c.c_ubyte(1), 10) == 1
call("cuCtxDestroy_v2", context)
"""
    driver(REGISTERED + apart, tmp_path, FAKECUDA_CAPS="no-host-pointer")
    limit = 'assert register(0, 2 * MIB) == 2 and register(0, MIB) == 0\ncall("cuCtxDestroy_v2", context)'
    driver(REGISTERED + limit, tmp_path, FAKECUDA_MAX_REGISTRATION="2MiB")
    driver(
        REGISTERED + 'assert register(0, MIB) == 801\ncall("cuCtxDestroy_v2", context)',
        tmp_path,
        FAKECUDA_CAPS="no-host-register",
    )


def test_managed_memory_without_concurrent_access_is_limited_to_the_card(tmp_path):
    source = """
context = init()
managed = c.c_uint64()
assert code_of("cuMemAllocManaged", c.byref(managed), 8 * MIB, c.c_uint(1)) == LIMIT
if not LIMIT:
    assert memory_info()[0] == 4 * MIB
call("cuMemAllocManaged", c.byref(managed), 4096, c.c_uint(1))
advise = lambda advice, device: code_of("cuMemAdvise", managed.value, 4096, c.c_int(advice), c.c_int(device))
assert advise(3, 0) == advise(5, 0) == (101 if LIMIT else 0)
assert advise(3, -1) == advise(5, -1) == 0 and advise(3, 7) == 101 and advise(9, 0) == 1
preferred = c.c_int()
call("cuMemRangeGetAttribute", c.byref(preferred), 4, c.c_int(2), managed.value, 4096)
assert preferred.value == -1
call("cuCtxDestroy_v2", context)
"""
    driver("LIMIT = 0\n" + source, tmp_path, **SMALL)
    driver("LIMIT = 2\n" + source, tmp_path, FAKECUDA_CAPS="no-managed", **SMALL)


POINTERS = """
context = init()
p, pooled, host, managed = alloc(1000), alloc_async(1000), c.c_void_p(), c.c_uint64()
call("cuMemHostAlloc", c.byref(host), 1000, c.c_uint(0))
call("cuMemAllocManaged", c.byref(managed), 1000, c.c_uint(1))
kinds = {"device": p, "pool": pooled, "host": host.value, "managed": managed.value}
"""


def test_pointer_attributes_name_every_kind_of_memory(tmp_path):
    source = """
for name, address in kinds.items():
    ask = lambda number, kind=c.c_uint64: attribute(address + 10, number, kind)
    assert ask(2, c.c_uint) == (HOST if name == "host" else DEVICE)
    assert ask(3) == address + 10 and ask(8, c.c_int) == (name == "managed") and ask(9, c.c_int) == 0
    assert ask(10, c.c_int) == (name == "device") and ask(11) == address and ask(12) == 1000
    assert ask(13, c.c_int) == 1 and ask(16, c.c_int) == 3 and ask(18) == 1000 and ask(19) == address
    assert ask(1) == (0 if name == "pool" else context.value)
    expected = address + 10 if name in ("host", "managed") else 1
    assert (ask(4) if expected != 1 else code_of("cuPointerGetAttribute", c.byref(c.c_uint64()), c.c_int(4), address)) == expected
    assert bool(code_of("cuPointerGetAttribute", c.byref(c.c_uint64()), c.c_int(17), address)) == (name != "pool")
assert len({attribute(address, 7) for address in kinds.values()}) == 4
"""
    driver(POINTERS + source, tmp_path, clean=False)


def test_unknown_pointer_fails_in_the_singular_and_is_nothing_in_the_plural(tmp_path):
    source = """
kind, ordinal, start = c.c_uint(9), c.c_int(9), c.c_uint64(9)
assert code_of("cuPointerGetAttribute", c.byref(kind), c.c_int(2), 4096) == 1 and kind.value == 9
data = (c.c_void_p * 3)(c.addressof(kind), c.addressof(ordinal), c.addressof(start))
call("cuPointerGetAttributes", c.c_uint(3), (c.c_int * 3)(2, 9, 11), data, 4096)
assert (kind.value, ordinal.value, start.value) == (0, -2, 0)
call("cuPointerGetAttributes", c.c_uint(3), (c.c_int * 3)(2, 9, 11), data, p + 1)
assert (kind.value, ordinal.value, start.value) == (2, 0, p)
assert code_of("cuMemGetAddressRange_v2", None, None, 4096) == 500 and address_range(p + 999) == (p, 1000)
handle = (c.c_char * 64)()
assert code_of("cuIpcGetMemHandle", handle, p) == 0 and code_of("cuIpcGetMemHandle", handle, pooled) == 1
"""
    driver(POINTERS + source, tmp_path, clean=False)


def test_rectangles_are_copied_with_their_pitches(tmp_path):
    source = """
context = init()
class Copy(c.Structure):
    side = lambda name: [(name + "X", c.c_size_t), (name + "Y", c.c_size_t), (name + "Z", c.c_size_t), (name + "LOD", c.c_size_t),
        (name + "Type", c.c_int), (name + "Host", c.c_void_p), (name + "Device", c.c_uint64), (name + "Array", c.c_void_p),
        (name + "None", c.c_void_p), (name + "Pitch", c.c_size_t), (name + "Height", c.c_size_t)]
    _fields_ = side("src") + side("dst") + [("width", c.c_size_t), ("height", c.c_size_t), ("depth", c.c_size_t)]
p, pitch = c.c_uint64(), c.c_size_t()
call("cuMemAllocPitch_v2", c.byref(p), c.byref(pitch), 10, 4, c.c_uint(4))
assert pitch.value == 512
call("cuMemsetD2D8_v2", p.value, pitch, c.c_ubyte(1), 10, 4)
call("cuMemsetD2D16_v2", p.value + 4, pitch, c.c_ushort(0x203), 2, 2)
out = c.create_string_buffer(200)
copy = Copy(srcType=2, srcDevice=p.value, srcPitch=pitch.value, srcHeight=2, srcX=2, dstType=1, dstHost=c.addressof(out),
            dstPitch=10, dstHeight=2, width=8, height=2, depth=2)
call("cuMemcpy3D_v2", c.byref(copy))
row, plain = b"\\1\\1\\3\\2\\3\\2\\1\\1", b"\\1" * 8
assert [out.raw[i * 10 : i * 10 + 8] for i in range(4)] == [row, row, plain, plain]
copy.depth = 3
assert code_of("cuMemcpy3D_v2", c.byref(copy)) == 1
copy.depth, copy.srcType = 1, 3
assert code_of("cuMemcpy3D_v2", c.byref(copy)) == 801
call("cuCtxDestroy_v2", context)
"""
    driver(source, tmp_path)
