"""The simulated driver by itself: what it promises its users in README.md, and the errors the driver API documents.

What runs on streams, captures and pools is in fake_driver/test, beside this.
"""

import signal
import subprocess

import pytest
from harness import FAKE_DRIVER, ROOT, run, run_program

SMALL = {"FAKECUDA_VRAM": "4MiB"}


def driver(source, tmp_path, code=0, clean=True, **settings):
    """Runs a program without the shim; it has to end with `code`, and clean."""
    ended = run_program(source, tmp_path, shim=False, **settings)
    assert ended.code == code, ended.err
    if clean:
        assert ended.report["clean"], ended.report
    return ended


def test_alloc_copied_to_and_from_reads_back_and_leaves_nothing(tmp_path):
    source = """
context = init()
p = alloc(1000)
write(p, bytes(range(250)) * 4)
assert read(p, 1000) == bytes(range(250)) * 4
call("cuMemcpyDtoD_v2", p + 500, p, 250)
assert read(p + 500, 250) == bytes(range(250))
free(p)
call("cuCtxDestroy_v2", context)
"""
    ended = driver(source, tmp_path)
    assert ended.report["peak"]["device_bytes"] == 1024 and ended.report["calls"]["cuMemAlloc_v2"] == 1


def test_alloc_beyond_the_card_is_out_of_memory_and_info_tells_the_truth(tmp_path):
    source = """
context = init()
assert memory_info() == (4 * MIB, 4 * MIB)
p = alloc(3 * MIB)
assert alloc_code(2 * MIB) == 2 and alloc_code(1 << 62) == 2 and alloc_code(0) == 1
assert memory_info() == (MIB, 4 * MIB)
q = alloc(1)
assert memory_info() == (MIB - 512, 4 * MIB)
free(p), free(q)
assert memory_info()[0] == 4 * MIB
call("cuCtxDestroy_v2", context)
"""
    driver(source, tmp_path, **SMALL)


def test_fragmented_alloc_fits_as_long_as_the_bytes_do(tmp_path):
    source = """
context = init()
blocks = [alloc(64 * KIB) for _ in range(64)]
for p in blocks[::2]:
    free(p)
free(alloc(2 * MIB))
for p in blocks[1::2]:
    free(p)
call("cuCtxDestroy_v2", context)
"""
    driver(source, tmp_path, **SMALL)


def test_free_of_zero_succeeds_and_of_anything_unknown_fails(tmp_path):
    source = """
context = init()
p = alloc(4096)
free(0)
assert code_of("cuMemFree_v2", p + 1) == code_of("cuMemFree_v2", 12345) == 1
free(p)
assert code_of("cuMemFree_v2", p) == 1
call("cuCtxDestroy_v2", context)
"""
    driver(source, tmp_path)


def test_leaks_are_in_the_report_by_kind(tmp_path):
    source = """
init()
alloc(1000), alloc_async(1)
host = c.c_void_p()
call("cuMemHostAlloc", c.byref(host), 5000, c.c_uint(0))
call("cuMemAllocManaged", c.byref(c.c_uint64()), 1, c.c_uint(1))
stream()
"""
    report = driver(source, tmp_path, clean=False).report
    held = {
        kind: report[kind]
        for kind in ("device_bytes", "pool_bytes", "host_bytes", "managed_bytes", "streams", "contexts")
    }
    assert list(held.values()) == [1024, 512, 8192, 4096, 1, 1] and not report["clean"]


def test_report_without_cuinit_is_written_and_clean(tmp_path):
    assert driver("pass", tmp_path).report["calls"] == {}


@pytest.mark.parametrize(
    "plan, expected", [("3:2", [0, 0, 2, 0]), ("*:700", [700] * 4), ("1:999,cuMemAlloc_v2:4:2", [999, 0, 0, 2])]
)
def test_fault_plan_fails_the_named_calls_without_effect(plan, expected, tmp_path):
    source = f"""
context = init()
assert [alloc_code(512) for _ in range(4)] == {expected}
assert memory_info()[0] == 4 * MIB - 512 * {expected.count(0)}
call("cuCtxDestroy_v2", context)
"""
    driver(source, tmp_path, FAKECUDA_FAIL=f"cuMemAlloc_v2:{plan}", **SMALL)


def test_settings_that_make_no_sense_cost_one_line_each(tmp_path):
    settings = {"FAKECUDA_FAIL": "cuNoSuch:1:2", "FAKECUDA_CAPS": "no-such", "FAKECUDA_DEFER": "soon"}
    ended = driver("import ctypes; ctypes.CDLL('libnvidia-ml.so.1')", tmp_path, **settings)
    assert len(ended.err.splitlines()) == 3
    assert all(name in ended.err for name in settings)


def test_calls_too_early_or_without_a_context_say_so(tmp_path):
    source = """
assert code_of("cuDeviceGetCount", c.byref(c.c_int())) == 3
assert code_of("cuInit", c.c_uint(1)) == 1
call("cuInit", c.c_uint(0))
assert alloc_code(1) == 201 and code_of("cuCtxSynchronize") == 201 and code_of("cuMemFree_v2", 4096) == 201
context = init()
assert code_of("cuDeviceGet", c.byref(c.c_int()), c.c_int(1)) == 101
assert code_of("cuStreamSynchronize", c.c_void_p(0x1234)) == 400
assert code_of("cuCtxSetCurrent", c.c_void_p(0x1234)) == 201
call("cuCtxPushCurrent_v2", context)
call("cuCtxDestroy_v2", context)
assert alloc_code(1) == 709 and code_of("cuCtxDestroy_v2", context) == 201
call("cuCtxPopCurrent_v2", c.byref(c.c_void_p()))
assert code_of("cuCtxPopCurrent_v2", c.byref(c.c_void_p())) == 201
"""
    driver(source, tmp_path)


def test_no_devices_is_no_device(tmp_path):
    driver('assert code_of("cuInit", c.c_uint(0)) == 100', tmp_path, FAKECUDA_DEVICES="0")


def test_context_destroyed_takes_its_memory_but_not_pools_and_mappings(tmp_path):
    source = """
import mmap
context = init()
memory = mmap.mmap(-1, 8192)
address = c.addressof(c.c_char.from_buffer(memory))
alloc(1000), stream()
call("cuMemHostRegister_v2", c.c_void_p(address), 8192, c.c_uint(0))
call("cuMemAllocManaged", c.byref(c.c_uint64()), 1, c.c_uint(1))
p = alloc_async(512)
call("cuCtxDestroy_v2", context)
init()
assert memory_info()[0] == 4 * MIB - 512
fill(p, 512, 3)
check(p, 512, 3)
"""
    report = driver(source, tmp_path, clean=False, **SMALL).report
    assert report["pool_bytes"] == 512
    assert not any(report[kind] for kind in ("device_bytes", "registered_bytes", "managed_bytes", "streams"))


def test_primary_context_released_or_reset_frees_and_comes_back(tmp_path):
    source = """
def active():
    flags, is_active = c.c_uint(), c.c_int()
    call("cuDevicePrimaryCtxGetState", c.c_int(0), c.byref(flags), c.byref(is_active))
    return is_active.value
context = init(primary=True)
assert active() == 1
alloc(MIB)
call("cuDevicePrimaryCtxReset_v2", c.c_int(0))
assert active() == 0 and alloc_code(1) == 709
again = init(primary=True)
assert again.value == context.value and memory_info()[0] == 4 * MIB
alloc(MIB)
call("cuDevicePrimaryCtxRelease_v2", c.c_int(0))
assert active() == 1
call("cuDevicePrimaryCtxRelease_v2", c.c_int(0))
assert active() == 0 and code_of("cuDevicePrimaryCtxRelease_v2", c.c_int(0)) == 201
"""
    driver(source, tmp_path, **SMALL)


def test_device_memory_touched_by_the_cpu_faults(tmp_path):
    driver("init()\nc.memset(alloc(4096), 0, 1)", tmp_path, code=-signal.SIGSEGV, clean=False)


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


@pytest.mark.parametrize(
    "caps, expected",
    [
        ("", {83: 1, 88: 0, 89: 1, 91: 1, 99: 1, 102: 1, 115: 1, 134: 0, 141: 1, 145: 1}),
        ("no-host-vmm,no-numa,pageable-access", {88: 1, 102: 1, 134: -1, 141: 0, 145: 0}),
        ("no-vmm,no-managed,no-pools", {89: 0, 102: 0, 115: 0, 141: 0, 145: 0}),
        ("cpuless-numa,no-host-pointer,no-host-register", {91: 0, 99: 0, 134: 1}),
    ],
)
def test_device_attributes_follow_the_capabilities(caps, expected, tmp_path):
    source = f"""
call("cuInit", c.c_uint(0))
value = c.c_int()
for number, wanted in {expected}.items():
    call("cuDeviceGetAttribute", c.byref(value), c.c_int(number), c.c_int(0))
    assert value.value == wanted, (number, value.value)
assert code_of("cuDeviceGetAttribute", c.byref(value), c.c_int(1000), c.c_int(0)) == 1
"""
    driver(source, tmp_path, FAKECUDA_CAPS=caps)


def test_host_vmm_attributes_can_be_unknown_while_it_works(tmp_path):
    source = """
call("cuInit", c.c_uint(0))
assert code_of("cuDeviceGetAttribute", c.byref(c.c_int()), c.c_int(141), c.c_int(0)) == 1
call("cuDeviceGetAttribute", c.byref(c.c_int()), c.c_int(102), c.c_int(0))
"""
    driver(source, tmp_path, FAKECUDA_CAPS="no-host-vmm-attributes")


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


def test_child_forked_after_init_finds_the_driver_uninitialised(tmp_path):
    source = """
context = init()
child = os.fork()
if child == 0:
    os._exit(0 if (alloc_code(1), code_of("cuInit", c.c_uint(0))) == (3, 3) else 1)
assert os.waitpid(child, 0)[1] == 0
free(alloc(1))
call("cuCtxDestroy_v2", context)
"""
    driver(source, tmp_path)


def test_call_after_teardown_is_deinitialised(tmp_path):
    late = tmp_path / "late.c"
    late.write_text("""
#include <dlfcn.h>
#include <stdio.h>
static int (*count)(int *);
void prepare(void) { *(void **)&count = dlsym(dlopen("libcuda.so.1", RTLD_NOW), "cuDeviceGetCount"); }
__attribute__((destructor)) static void end(void) { int n; if (count) printf("%d\\n", count(&n)); }
""")
    library = tmp_path / "late.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, late, "-ldl"], check=True)
    ended = driver(
        f"c.CDLL({str(library)!r}).prepare()\ncall('cuInit', c.c_uint(0))", tmp_path, LD_PRELOAD=str(library)
    )
    assert ended.out == "4\n"


def test_nvml_and_cuda_agree_on_devices_and_memory(tmp_path):
    source = """
nvml = c.CDLL("libnvidia-ml.so.1")
assert nvml.nvmlDeviceGetCount_v2(c.byref(c.c_uint())) == 1
assert nvml.nvmlInit_v2() == 0
context = init(device=1)
p = alloc(MIB)
handles, texts = [], []
for index in range(2):
    handle, text = c.c_void_p(), c.create_string_buffer(96)
    assert nvml.nvmlDeviceGetHandleByIndex_v2(c.c_uint(index), c.byref(handle)) == 0
    assert nvml.nvmlDeviceGetUUID(handle, text, c.c_uint(96)) == 0
    handles.append(handle), texts.append(text.value.decode())
uuid = (c.c_ubyte * 16)()
call("cuDeviceGetUuid_v2", uuid, c.c_int(1))
mine = texts.index("GPU-" + "-".join(bytes(uuid).hex()[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))))
assert mine == (0 if os.environ["FAKECUDA_NVML_REVERSED"] == "1" else 1)
bus, found = c.create_string_buffer(20), c.c_void_p()
call("cuDeviceGetPCIBusId", bus, c.c_int(20), c.c_int(1))
assert nvml.nvmlDeviceGetHandleByPciBusId_v2(bus, c.byref(found)) == 0 and found.value == handles[mine].value
memory = (c.c_ulonglong * 3)()
for index, used in ((mine, MIB), (1 - mine, 0)):
    assert nvml.nvmlDeviceGetMemoryInfo(handles[index], memory) == 0
    assert list(memory) == [4 * MIB, 4 * MIB - used, used]
second = (c.c_ulonglong * 5)((2 << 24) | 40)
assert nvml.nvmlDeviceGetMemoryInfo_v2(handles[mine], second) == 0 and list(second)[1:] == [4 * MIB, 0, 3 * MIB, MIB]
second[0] = 7
assert nvml.nvmlDeviceGetMemoryInfo_v2(handles[mine], second) == 25
count, processes = c.c_uint(4), (c.c_ulonglong * 12)()
assert nvml.nvmlDeviceGetComputeRunningProcesses_v3(handles[mine], c.byref(count), processes) == 0
assert count.value == 1 and processes[0] == os.getpid() and processes[1] == MIB
assert nvml.nvmlShutdown() == 0 and nvml.nvmlShutdown() == 1
free(p)
call("cuCtxDestroy_v2", context)
"""
    for reversed_order in "01":
        driver(source, tmp_path, FAKECUDA_DEVICES="2", FAKECUDA_NVML_REVERSED=reversed_order, **SMALL)


@pytest.mark.parametrize("flags", ["", "-fsanitize=thread", "-fsanitize=address,undefined"])
@pytest.mark.parametrize("defer", ["0", "2"])
def test_eight_threads_at_once_get_what_they_asked_for(flags, defer, tmp_path, tmp_path_factory):
    build = tmp_path_factory.getbasetemp() / ("fake" + "".join(filter(str.isalpha, flags)))
    program = build / "stress"
    make = ["make", "-s", "-f", "tests/shim/fake_driver/fake_driver.mk", f"BUILD={build}", f"CFLAGS={flags}"]
    if flags:
        if subprocess.run(["cc", flags, "-x", "c", "-", "-o", "/dev/null"], input=b"int main(void){}").returncode:
            pytest.skip(f"the compiler has no {flags}")
        subprocess.run(make, cwd=ROOT, check=True)
    library = build / "fake_driver" if flags else FAKE_DRIVER
    build.mkdir(exist_ok=True)
    source = ROOT / "tests/shim/fake_driver/test/stress.c"
    subprocess.run(
        ["cc", "-g", "-O1", *flags.split(), source, "-o", program, f"-L{library}", "-lcuda", "-pthread"], check=True
    )
    ended = run([str(program)], tmp_path, shim=False, FAKECUDA_DEFER=defer, LD_LIBRARY_PATH=str(library))
    assert (ended.code, ended.out, ended.err) == (0, "ok\n", "") and ended.report["clean"]
