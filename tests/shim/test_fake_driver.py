"""The simulated driver by itself: what it promises its users in README.md, and the errors the driver API documents.

What runs on streams, captures and pools is in fake_driver/test, beside this.
"""

import signal
import subprocess

import pytest
from harness import FAKE_DRIVER, ROOT, SANITIZER_RUNTIME, run, run_program

SMALL = {"FAKECUDA_VRAM": "4MiB"}
PLAIN_FAULTS = {"ASAN_OPTIONS": "detect_leaks=0:handle_segv=0", "TSAN_OPTIONS": "handle_segv=0"}


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
    driver("init()\nc.memset(alloc(4096), 0, 1)", tmp_path, code=-signal.SIGSEGV, clean=False, **PLAIN_FAULTS)


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
    ended = driver(f"c.CDLL({str(library)!r}).prepare()\ncall('cuInit', c.c_uint(0))", tmp_path)
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


@pytest.mark.skipif(bool(SANITIZER_RUNTIME), reason="it makes its own sanitized builds")
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
