"""Failure cases of other interposers, seen in the wild, by their numbers: loading and resolving."""

import os
import shutil
import subprocess
import sys

import pytest
from harness import SANITIZER_RUNTIME, SHIM, compile_c, environment, run, succeed

CARD = {"FAKECUDA_VRAM": "64MiB"}


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
