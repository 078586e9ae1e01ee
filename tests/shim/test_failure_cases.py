"""The failure cases of other interposers, seen in the wild, by their numbers. Those not here are named where they are."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
from harness import FAKE_DRIVER, ROOT, SANITIZER_RUNTIME, SHIM, environment, run, run_program, succeed

CARD = {"FAKECUDA_VRAM": "64MiB"}


def compile_c(tmp_path, source, *flags, name="program"):
    (tmp_path / f"{name}.c").write_text(source)
    target = tmp_path / name
    subprocess.run(["cc", "-o", target, tmp_path / f"{name}.c", *flags], check=True)
    return target


# ---- loading and resolving


def test_preloaded_from_another_path_resolves(tmp_path):
    """(1): the library's own path plays no part in finding anything."""
    elsewhere = tmp_path / "renamed.so"
    shutil.copy(SHIM, elsewhere)
    env = environment(LD_PRELOAD=":".join(filter(None, [SANITIZER_RUNTIME, str(elsewhere)])), **CARD)
    source = "from cuda_program import *\ninit()\np = alloc(96 * MIB)\nfree(p)\nprint('ok')"
    done = subprocess.run([sys.executable, "-c", source], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def test_dlsym_by_the_driver_itself_gets_the_drivers_own(tmp_path):
    """(2): a look-up whose caller is the driver is not redirected."""
    driver = compile_c(
        tmp_path,
        """
#define _GNU_SOURCE
#include <dlfcn.h>
int cuMemAlloc_v2(unsigned long long *p, unsigned long n) { *p = n; return 0; }
void *look_up(void *h) { return dlsym(h, "cuMemAlloc_v2"); }
void *own(void) { return (void *)cuMemAlloc_v2; }
""",
        *("-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-Wl,-Bsymbolic"),
        name="libcuda.so.1",
    )
    main = compile_c(
        tmp_path,
        f"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
int main(void) {{
	void *h = dlopen("{driver}", RTLD_NOW);
	void *(*look_up)(void *) = dlsym(h, "look_up"), *(*own)(void) = dlsym(h, "own");
	printf("%d %d\\n", look_up(h) == own(), dlsym(h, "cuMemAlloc_v2") == own());
}}
""",
        "-ldl",
    )
    env = environment()
    env["LD_LIBRARY_PATH"] = str(tmp_path)
    done = subprocess.run([main], env=env, capture_output=True, text=True)
    assert done.stdout == "1 0\n", done.stderr


def test_dlsym_next_from_two_threads_finds_what_comes_after_the_caller(tmp_path):
    """(4), (8): RTLD_NEXT keeps its meaning, the second time and on a second thread too."""
    wrapper = compile_c(
        tmp_path,
        """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
static void *look_up(void *unused) { (void)unused; return dlsym(RTLD_NEXT, "puts"); }
int puts(const char *text) {
	int (*next)(const char *) = look_up(0);
	pthread_t thread;
	void *again;
	pthread_create(&thread, 0, look_up, 0);
	pthread_join(thread, &again);
	return again == (void *)next && next != (void *)puts ? next(text) : -1;
}
""",
        *("-shared", "-fPIC", "-ldl", "-lpthread"),
        name="wrapper.so",
    )
    main = compile_c(tmp_path, '#include <stdio.h>\nint main(void) { return puts("through") < 0; }')
    env = environment()
    env["LD_PRELOAD"] = f"{env['LD_PRELOAD']}:{wrapper}"
    done = subprocess.run([main], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "through\n"), done.stderr


def test_dlopen_with_deepbind_is_served(tmp_path):
    """(5)"""
    mode = str(os.RTLD_NOW | os.RTLD_DEEPBIND)
    if SANITIZER_RUNTIME:
        pytest.skip("the sanitizers' runtimes end a program that uses RTLD_DEEPBIND")
    succeed(
        "init()\np = alloc(96 * MIB)\nassert attribute(p, 2, c.c_uint) == DEVICE\nfree(p)",
        tmp_path,
        TEST_DLOPEN_MODE=mode,
        **CARD,
    )


def test_dlopen_is_left_alone():
    """(6): the library has no dlopen of its own, so the caller's RPATH holds."""
    exported = subprocess.run(["nm", "-D", "--defined-only", SHIM], capture_output=True, text=True, check=True).stdout
    assert " dlsym" in exported
    assert "dlopen" not in exported


def test_get_proc_address_v1_writes_no_status(tmp_path):
    """(11), (12), (13), (14): forms by name, version and default stream."""
    source = """
call("cuInit", c.c_uint(0))
context = init()
def get(name, version, flags=0):
    function = c.c_void_p()
    code = cuda.cuGetProcAddress_v2(name.encode(), c.byref(function), c.c_int(version), c.c_uint64(flags), None)
    return code, function.value
def v1(name, version, flags=0):
    function = c.c_void_p()
    code = cuda.cuGetProcAddress(name.encode(), c.byref(function), c.c_int(version), c.c_uint64(flags))
    return code, function.value
def exported(symbol):
    return c.cast(getattr(cuda, symbol), c.c_void_p).value
assert get("cuMemAlloc", 3020) == v1("cuMemAlloc", 3020) == (0, exported("cuMemAlloc_v2"))
assert get("cuMemAllocAsync", 11020, 2) == (0, exported("cuMemAllocAsync_ptsz"))
assert get("cuMemAllocAsync", 11020, 0) == (0, exported("cuMemAllocAsync"))
assert get("cuGetProcAddress", 12000) == (0, exported("cuGetProcAddress_v2"))
assert get("cuGetProcAddress", 11030) == (0, exported("cuGetProcAddress"))
assert get("cuMemAlloc_v2", 3020)[0] != 0
assert get("cuNoSuchCall", 13000)[0] != 0
assert get("cuMemAlloc", 99000) == (0, exported("cuMemAlloc_v2")), "a newer CUDA, the same function"
four = c.CFUNCTYPE(c.c_int, c.c_char_p, c.c_void_p, c.c_int, c.c_uint64, c.c_void_p)
canary = c.create_string_buffer(b"canary", 16)
function = c.c_void_p()
assert four(v1("cuGetProcAddress", 11030)[1])(b"cuMemAlloc", c.addressof(function), 3020, 0, c.addressof(canary)) == 0
assert canary.value == b"canary"
status = c.c_int(77)
assert four(v1("cuGetProcAddress", 12000)[1])(b"cuMemAlloc", c.addressof(function), 3020, 0, c.addressof(status)) == 0
assert status.value == 0
"""
    succeed(source, tmp_path, **CARD)


def test_kill_switch_changes_nothing(tmp_path):
    """(15): the same answers and the same driver calls as without the library."""
    source = """
init()
print(alloc_code(96 * MIB), memory_info(), total_memory())
p = alloc(8 * MIB)
print(attribute(p, 2, c.c_uint), address_range(p + 5)[1])
free(p)
"""
    on = succeed(source, tmp_path, disable="1", vram_limit="1MiB", advertise="on", **CARD)
    off = succeed(source, tmp_path, shim=False, **CARD)
    assert on.out == off.out
    assert on.said == []
    assert on.report["calls"] == off.report["calls"]


def test_library_replaced_under_a_live_process_goes_on(tmp_path):
    """(16): by rename, as `make` and packages replace it."""
    library = tmp_path / "libgreenboost.so"
    shutil.copy(SHIM, library)
    preload = ":".join(filter(None, [SANITIZER_RUNTIME, str(library)]))
    source = """
init()
p = alloc(96 * MIB)
open(sys.argv[1] + ".new", "wb").write(b"something else entirely")
os.rename(sys.argv[1] + ".new", sys.argv[1])
q = alloc(96 * MIB)
fill(q, 96 * MIB, 1); check(q, 96 * MIB, 1)
free(p); free(q)
"""
    command = [sys.executable, "-c", "import sys\nfrom cuda_program import *\n" + source, str(library)]
    ended = run(command, tmp_path, LD_PRELOAD=preload, **CARD)
    assert ended.code == 0, ended.err
    assert ended.held() == {}


def test_process_without_cuda_cannot_tell(tmp_path):
    """(3), (17): no thread, no file, no line; names of the driver are not there."""
    main = compile_c(
        tmp_path,
        """
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
static int entries(const char *path) { int n = 0; DIR *d = opendir(path); while (readdir(d)) n++; closedir(d); return n; }
int main(void) {
	void *self = dlopen(0, RTLD_NOW);
	printf("%d threads, %d files\\n", entries("/proc/self/task"), entries("/proc/self/fd"));
	dlerror();
	const char *names[] = {"cuInit", "cuMemAlloc_v2", "cuGetProcAddress", "nvmlDeviceGetMemoryInfo", "nvmlInit_v2"};
	for (int i = 0; i < 5; i++) {
		void *handles[] = {RTLD_DEFAULT, self, RTLD_NEXT};
		printf("%s", names[i]);
		for (int k = 0; k < 3; k++) {
			printf(" %p", dlsym(handles[k], names[i]));
			printf(" %d", dlerror() != 0);
		}
		puts("");
	}
	printf("%d %d\\n", dlsym(RTLD_DEFAULT, "") == 0, dlsym(RTLD_DEFAULT, "c") == 0);
}
""",
        "-ldl",
    )
    outputs = []
    for shim in (False, True):
        env = environment(shim, vram_limit="nonsense")
        done = subprocess.run([main], env=env, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    assert "cuMemAlloc_v2 (nil) 1 (nil) 1 (nil) 1" in outputs[1]


# ---- semantics


def test_free_of_null_is_a_success(tmp_path):
    """(18)"""
    succeed("init()\nfree(0)\nfree_async(0) if False else None", tmp_path, **CARD)


def test_memory_info_with_null_pointers_is_the_drivers_answer(tmp_path):
    """(19)"""
    source = """
init()
some = c.c_size_t(5)
print(code_of("cuMemGetInfo_v2", None, c.byref(some)), code_of("cuMemGetInfo_v2", c.byref(some), None))
print(code_of("cuDeviceTotalMem_v2", None, c.c_int(0)), code_of("cuDeviceTotalMem_v2", c.byref(some), c.c_int(99)))
print(code_of("cuMemAlloc_v2", None, 5), alloc_code(0), code_of("cuMemGetAddressRange_v2", None, None, 12345))
"""
    outputs = [succeed(source, tmp_path, shim=shim, vram_limit="8MiB", **CARD).out for shim in (False, True)]
    assert outputs[0] == outputs[1]


def test_out_of_memory_is_two_and_touches_nothing(tmp_path):
    """(20), (21)"""
    source = """
init()
for size in (65 * MIB, 1 << 40, 1 << 62, 2**64 - 1):
    assert alloc_code(size) == 2, size
p, pitch = c.c_uint64(0xDEAD), c.c_size_t(0xBEEF)
assert code_of("cuMemAllocPitch_v2", c.byref(p), c.byref(pitch), 1 << 30, 1 << 10, c.c_uint(4)) == 2
assert code_of("cuMemAllocAsync", c.byref(p), 1 << 40, None) == 2
assert (p.value, pitch.value) == (0xDEAD, 0xBEEF)
"""
    succeed(source, tmp_path, host_limit="0", **CARD)


def test_pool_memory_is_freed_by_either_call(tmp_path):
    """(22): in VRAM and past it."""
    source = """
init()
for size in (4 * MIB, 96 * MIB):
    free(alloc_async(size))
    free_async(alloc_async(size))
    synchronize()
"""
    succeed(source, tmp_path, **CARD)


def test_host_location_is_not_taken_for_a_device(tmp_path):
    """(24): the managed tier's preferred location is the CPU, which is device -1."""
    succeed("init()\np = alloc(96 * MIB)\nfree(p)", tmp_path, fallback="managed", **CARD)


@pytest.mark.parametrize("fallback", ["host", "managed"])
def test_fallback_block_is_device_memory_to_whoever_asks(tmp_path, fallback):
    """(25), (26), (27): one block, device memory, whole range, from any address inside it and none outside."""
    source = """
context = init()
size = 96 * MIB + 123
p = alloc(size)
for at in (p, p + 1, p + size - 1):
    assert attribute(at, 2, c.c_uint) == DEVICE
    assert attribute(at, 8, c.c_uint) == 0
    assert attribute(at, 9, c.c_int) == 0
    assert (attribute(at, 11), attribute(at, 12)) == (p, size) == address_range(at)
    assert attribute(at, 1) == context.value
    assert attribute(at, 3) == at
    assert code_of("cuPointerGetAttribute", c.byref(c.c_uint64()), c.c_int(4), at) == 1
wanted = [2, 8, 9, 11, 12, 4, 1]
values = [c.c_uint64(0xFFFF) for _ in wanted]
numbers = (c.c_int * len(wanted))(*wanted)
pointers = (c.c_void_p * len(wanted))(*[c.addressof(v) for v in values])
call("cuPointerGetAttributes", c.c_uint(len(wanted)), numbers, pointers, p + 7)
kinds = [v.value & 0xFFFFFFFF for v in values[:3]] + [v.value for v in values[3:]]
assert kinds == [DEVICE, 0, 0, p, size, 0, context.value], kinds
assert code_of("cuMemGetAddressRange_v2", None, None, p - 1) or address_range(p - 1)[0] != p
free(p)
assert code_of("cuMemGetAddressRange_v2", c.byref(c.c_uint64()), c.byref(c.c_size_t()), p) != 0
"""
    succeed(source, tmp_path, fallback=fallback, **CARD)


@pytest.mark.parametrize("fallback", ["host", "managed"])
def test_ipc_handle_of_a_fallback_block_is_the_documented_error(tmp_path, fallback):
    """(29)"""
    source = "init()\nh = c.create_string_buffer(64)\np = alloc(96 * MIB)\nassert code_of('cuIpcGetMemHandle', h, p) == 1\nfree(p)"
    ended = succeed(source, tmp_path, fallback=fallback, **CARD)
    assert sum("GREENBOOST_FALLBACK=off" in line for line in ended.said) == 1


@pytest.mark.parametrize("fallback", ["host", "managed"])
def test_cpu_access_to_a_fallback_block_does_no_harm(tmp_path, fallback):
    """(30)"""
    source = "init()\np = alloc(96 * MIB)\nc.memset(p, 7, 4096)\ncheck(p, 4096, 7)\nfree(p)"
    succeed(source, tmp_path, fallback=fallback, **CARD)


CAPTURE = """
init()
first = alloc(96 * MIB)
s, other = stream(), stream()
call("cuStreamBeginCapture_v2", s, c.c_int({mode}))
fill(first, 96 * MIB, 5, s)
{during}
graph = c.c_void_p()
call("cuStreamEndCapture", s, c.byref(graph))
executable = c.c_void_p()
call("cuGraphInstantiateWithFlags", c.byref(executable), graph, c.c_uint64(0))
call("cuGraphLaunch", executable, s)
call("cuStreamSynchronize", s)
{after}
call("cuGraphExecDestroy", executable); call("cuGraphDestroy", graph)
call("cuStreamDestroy_v2", s); call("cuStreamDestroy_v2", other)
"""


def test_free_during_capture_waits_for_its_end(tmp_path):
    """(31): nothing synchronises, the capture survives, the memory comes back afterwards."""
    source = CAPTURE.format(
        mode=2,
        during="second = alloc(96 * MIB)\nfree(second)\nassert attribute(first, 2, c.c_uint) == DEVICE",
        after="check(first, 96 * MIB, 5)\nfree(first)",
    )
    succeed(source, tmp_path, **CARD)


def test_allocate_async_on_a_capturing_stream_is_the_drivers(tmp_path):
    """(31): it becomes a node of the graph; on another stream it is served."""
    source = CAPTURE.format(
        mode=2,
        during="a = alloc_async(4 * MIB, s)\nfill(a, 4 * MIB, 1, s)\nfree_async(a, s)\nb = alloc_async(96 * MIB, other)\nfree_async(b, other)",
        after="check(first, 96 * MIB, 5)\nsynchronize()\nfree(first)",
    )
    succeed(source, tmp_path, **CARD)


def test_allocate_in_a_global_capture_is_the_drivers_refusal(tmp_path):
    """(31): 900 is passed on, and is what the program gets without us."""
    source = """
init()
s = stream()
call("cuStreamBeginCapture_v2", s, c.c_int(0))
print(alloc_code(4 * MIB), alloc_code(96 * MIB))
graph = c.c_void_p()
print(code_of("cuStreamEndCapture", s, c.byref(graph)))
call("cuStreamDestroy_v2", s)
"""
    outputs = [succeed(source, tmp_path, shim=shim, **CARD).out for shim in (False, True)]
    assert outputs[0] == outputs[1]


def test_errors_of_the_program_are_not_drained(tmp_path):
    """(32): a failed launch of its own is still there after an overflow of ours."""
    source = """
init()
s = stream()
p = alloc(MIB)
free(p)
print(code_of("cuMemsetD8Async", p, c.c_ubyte(1), MIB, s))
print(alloc_code(96 * MIB) in (0, 700, 1, 2))
print(code_of("cuCtxSynchronize"))
"""
    with_shim = run_program(source, tmp_path, **CARD)
    without = run_program(source, tmp_path, shim=False, **CARD)
    assert with_shim.out == without.out


@pytest.mark.parametrize("fallback", ["host", "managed"])
def test_free_waits_for_work_in_flight(tmp_path, fallback):
    """(33)"""
    source = """
init()
s = stream()
p = alloc(96 * MIB)
fill(p, 96 * MIB, 3, s)
free(p)
call("cuStreamSynchronize", s)
call("cuStreamDestroy_v2", s)
"""
    succeed(source, tmp_path, fallback=fallback, FAKECUDA_DEFER="5", **CARD)


# ---- life


def test_fork_before_and_after_initialisation(tmp_path):
    """(35): a child begins anew; its parent's blocks are its parent's."""
    source = """
import os
def child(body):
    pid = os.fork()
    if pid == 0:
        os._exit(body() or 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
def fresh():
    init(); p = alloc(96 * MIB); fill(p, 96 * MIB, 2); check(p, 96 * MIB, 2); free(p)
child(fresh)
init()
p = alloc(96 * MIB)
fill(p, 96 * MIB, 6)
def stale():
    assert alloc_code(MIB) == 3 and code_of("cuMemFree_v2", p) == 3 and code_of("cuMemGetInfo_v2", c.byref(c.c_size_t()), c.byref(c.c_size_t())) == 3
child(stale)
check(p, 96 * MIB, 6)
free(p)
"""
    succeed(source, tmp_path, **CARD)


def test_killed_client_leaves_the_others_working(tmp_path):
    """(36)"""
    source = "init()\np = alloc(96 * MIB)\nprint('holding', flush=True)\ninput()\nfree(p)"
    command = [sys.executable, "-c", "from cuda_program import *\n" + source]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    clients = [subprocess.Popen(command, env=environment(**CARD), **pipes) for _ in range(6)]
    for client in clients:
        assert client.stdout.readline() == "holding\n"
    clients[2].kill()
    assert clients[2].wait() == -signal.SIGKILL
    clients[2].communicate()
    for client in (*clients[:2], *clients[3:]):
        client.communicate("\n")
        assert client.returncode == 0


def test_exit_with_live_blocks_and_calls_after_teardown_is_quiet(tmp_path):
    """(37)"""
    main = compile_c(
        tmp_path,
        """
#include <stdio.h>
#include <stdlib.h>
int cuInit(unsigned), cuCtxCreate_v2(void **, unsigned, int), cuMemAlloc_v2(unsigned long long *, unsigned long), cuMemFree_v2(unsigned long long);
static unsigned long long p;
static void late(void) { fprintf(stderr, "late %d\\n", cuMemFree_v2(p)); }
int main(void) { void *c; atexit(late); if (cuInit(0) || cuCtxCreate_v2(&c, 0, 0) || cuMemAlloc_v2(&p, 96 << 20)) return 1; return 0; }
""",
        *(f"-L{FAKE_DRIVER}", "-lcuda"),
    )
    ended = run([str(main)], tmp_path, **CARD)
    assert ended.code == 0, ended.err
    assert ended.err.startswith("late ")
    assert ended.said == []


@pytest.mark.parametrize("end", ["destroy", "reset", "release"])
@pytest.mark.parametrize("fallback", ["host", "managed"])
def test_context_ended_with_live_blocks_starts_afresh(tmp_path, end, fallback):
    """(38)"""
    ends = {
        "destroy": 'call("cuCtxDestroy_v2", context)',
        "reset": 'call("cuDevicePrimaryCtxReset_v2", c.c_int(0))',
        "release": 'call("cuDevicePrimaryCtxRelease_v2", c.c_int(0))',
    }
    source = f"""
for round in range(3):
    context = init(primary={end != "destroy"})
    blocks = [alloc(40 * MIB) for _ in range(4)]
    assert memory_info()[0] == 24 * MIB
    {ends[end]}
context = init(primary={end != "destroy"})
assert memory_info()[0] == 64 * MIB, memory_info()
{ends[end]}
"""
    succeed(source, tmp_path, fallback=fallback, host_limit="130MiB", **CARD)


def test_free_memory_reported_is_granted(tmp_path):
    """(39)"""
    source = """
init()
for _ in range(3):
    reported = memory_info()[0]
    p = alloc(reported - 64 * MIB)
    q = alloc(64 * MIB)
    free(p); free(q)
"""
    succeed(source, tmp_path, advertise="300MiB", host_limit="300MiB", **CARD)


def test_two_hundred_processes_at_once_all_run(tmp_path):
    """(40)"""
    main = compile_c(
        tmp_path,
        """
int cuInit(unsigned), cuCtxCreate_v2(void **, unsigned, int), cuMemAlloc_v2(unsigned long long *, unsigned long), cuMemFree_v2(unsigned long long);
int main(void) { void *c; unsigned long long p; return cuInit(0) || cuCtxCreate_v2(&c, 0, 0) || cuMemAlloc_v2(&p, 3 << 20) || cuMemFree_v2(p); }
""",
        *(f"-L{FAKE_DRIVER}", "-lcuda"),
    )
    env = environment(FAKECUDA_VRAM="2MiB")
    clients = [subprocess.Popen([main], env=env, stderr=subprocess.PIPE, text=True) for _ in range(200)]
    assert {(client.communicate()[1], client.returncode) for client in clients} == {("", 0)}


def test_registration_is_in_pieces_of_a_gibibyte_at_most(tmp_path):
    """(42): a driver that refuses large registrations does not matter; one that cannot copy across two gets one."""
    source = (
        "init()\np = alloc(2100 * MIB)\nfill(p + 1000 * MIB, 100 * MIB, 8)\ncheck(p + 1020 * MIB, 8 * MIB, 8)\nfree(p)"
    )
    ended = succeed(
        source, tmp_path, FAKECUDA_MAX_REGISTRATION="1025MiB", FAKECUDA_CAPS="huge-registration-fails", **CARD
    )
    assert ended.calls("cuMemHostRegister_v2") == 2 + 3
    ended = succeed(source, tmp_path, FAKECUDA_CAPS="no-cross-registration-copy", **CARD)
    assert ended.calls("cuMemHostRegister_v2") == 2 + 1 + 1


@pytest.mark.parametrize("caps", ["no-numa", "cpuless-numa", "no-vmm", "no-host-vmm", "no-pools"])
def test_machines_without_this_or_that_are_served(tmp_path, caps):
    """(43): nothing here depends on NUMA, on virtual memory management or on pools."""
    succeed("init()\np = alloc(96 * MIB)\nfree(p)", tmp_path, FAKECUDA_CAPS=caps, **CARD)


@pytest.mark.parametrize(
    ("caps", "tier"),
    [
        ("no-host-pointer", "managed"),
        ("no-host-register", "managed"),
        ("no-managed", "host_mapped"),
        ("no-managed,no-host-pointer", None),
    ],
)
def test_ladder_takes_the_tier_that_works(tmp_path, caps, tier):
    """The self-test decides, and `info` says what it found."""
    source = "init()\nprint(alloc_code(96 * MIB))"
    ended = run_program(source, tmp_path, FAKECUDA_CAPS=caps, log="debug", **CARD)
    assert ended.out == ("0\n" if tier else "2\n"), ended.err
    assert any("self-test=" in line for line in ended.said)
    assert not tier or any(f"bytes={96 << 20} tier={tier}" in line for line in ended.said)


def test_malformed_option_is_one_line_and_counts_as_unset(tmp_path):
    ended = succeed("init()\nassert memory_info()[1] == 64 * MIB", tmp_path, vram_limit="lots", **CARD)
    assert len(ended.said) == 1
    assert "GREENBOOST_VRAM_LIMIT=lots" in ended.said[0]
    assert ROOT.name not in ended.said[0]


def test_log_is_capped_and_never_on_stdout(tmp_path):
    source = "init()\nfor _ in range(1200): free(alloc(3 * MIB))"
    ended = succeed(source, tmp_path, vram_limit="1MiB", log="debug", **CARD)
    assert ended.out == ""
    assert len(ended.said) == 1001
    assert "nothing more will be" in ended.said[-1]
