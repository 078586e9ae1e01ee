"""The calls that only pass the gate: each reaches the driver once, as it was made, and never while the gate is closed.

The simulated driver has no kernels. Here a driver is made from the rows themselves: it writes down what it is called with.
"""

import re
import subprocess
import sys

import pytest
from harness import BUILD, ROOT, SANITIZER_RUNTIME, compile_c, environment, hooks, run_program, succeed

SUBMITS = [hook for hook in hooks() if hook.kind == "SUBMIT"]
UNIT = BUILD / "libgreenboost_unit.so"
MOST = 16

DRIVER = """
#include <string.h>
#include "abi/cuda_subset.h"

long long calls[{count}];
unsigned long long seen[{count}][{most}];
void (*on_call)(int row); /* runs within the call */

{bodies}
static const struct {{ const char *name; int version, stream; void *function; }} rows[] = {{ {rows} }};
enum {{ ANY, LEGACY, PER_THREAD }};

void *own(int row) {{ return rows[row].function; }}

CUresult cuGetProcAddress_v2(const char *name, void **function, int version, cuuint64_t flags, CUdriverProcAddressQueryResult *status)
{{
	int newest = -1;
	*function = NULL;
	for (int i = 0; i < {count}; i++) {{
		if (strcmp(rows[i].name, name) || rows[i].stream == (flags == 2 ? LEGACY : PER_THREAD))
			continue;
		if (rows[i].version > version || rows[i].version <= newest)
			continue;
		*function = rows[i].function;
		newest = rows[i].version;
	}}
	if (status)
		*status = CU_GET_PROC_ADDRESS_SUCCESS;
	return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}}

CUresult cuGetProcAddress(const char *name, void **function, int version, cuuint64_t flags)
{{
	return cuGetProcAddress_v2(name, function, version, flags, NULL);
}}
"""

CLIENT = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "abi/cuda_subset.h"

extern long long calls[{count}];
extern unsigned long long seen[{count}][{most}];
void *own(int row);
CUresult cuGetProcAddress(const char *, void **, int, cuuint64_t);
CUresult cuGetProcAddress_v2(const char *, void **, int, cuuint64_t, CUdriverProcAddressQueryResult *);

{prototypes}
{callers}
static const struct {{ const char *symbol, *name; int version, flags; void *linked; CUresult (*call)(void *); unsigned long long made[{most}]; }} rows[] = {{
{rows}
}};

int main(void)
{{
	void *driver = dlopen("libcuda.so.1", RTLD_NOW);
	for (int i = 0; i < {count}; i++) {{
		void *doors[5] = {{rows[i].linked, dlsym(driver, rows[i].symbol), dlsym(RTLD_DEFAULT, rows[i].symbol)}};
		cuGetProcAddress(rows[i].name, &doors[3], rows[i].version, (cuuint64_t)rows[i].flags);
		cuGetProcAddress_v2(rows[i].name, &doors[4], rows[i].version, (cuuint64_t)rows[i].flags, NULL);
		for (int door = 0; door < 5; door++) {{
			if (!doors[door] || doors[door] == own(i) || doors[door] != doors[0])
				printf("%s: door %d hands out %p, the hook is %p\\n", rows[i].symbol, door, doors[door], doors[0]);
			calls[i] = 0;
			memset(seen[i], 0, sizeof seen[i]);
			errno = 4242;
			if (rows[i].call(doors[door]) != (CUresult)(1000 + i) || errno != 4242)
				printf("%s: another answer\\n", rows[i].symbol);
			if (calls[i] != 1)
				printf("%s: %lld calls\\n", rows[i].symbol, calls[i]);
			if (memcmp(seen[i], rows[i].made, sizeof seen[i]))
				printf("%s: other arguments\\n", rows[i].symbol);
		}}
	}}
	long long others = 0;
	for (int i = 0; i < {count}; i++)
		others += calls[i];
	printf("%d rows, %lld calls of the last door\\n", {count}, others);
}}
"""


def split(parameters: str) -> list[tuple[str, str]]:
    """(type, name) of each."""
    found = []
    for parameter in parameters.strip("()").split(", "):
        name = re.search(r"\w+$", parameter)[0]
        found.append((parameter[: -len(name)].strip(), name))
    return found


def value(row: int, position: int) -> str:
    """A 64-bit number that no other argument of any row has; its low bytes differ too."""
    return f"0x{(0x0101010101010101 * (row + 1) ^ 0xF0E0D0C0B0A09080 + position * 0x1122334455667719) % 2**64:x}ULL"


def as_word(kind: str, text: str) -> str:
    """An argument as the driver writes it down."""
    pointer = kind.endswith("*") or kind in ("CUfunction", "CUstream", "CUcontext", "CUarray", "CUgraphExec")
    return f"(unsigned long long)({kind})(uintptr_t)({text})" if pointer else f"(unsigned long long)({kind})({text})"


def driver_source() -> str:
    bodies, rows = "", ""
    for i, hook in enumerate(SUBMITS):
        words = ", ".join(as_word(kind, f"(uintptr_t){name}") for kind, name in split(hook.parameters))
        bodies += (
            f"CUresult {hook.symbol}{hook.parameters}\n{{\n"
            f"\tunsigned long long words[] = {{{words}}};\n"
            f"\t__atomic_fetch_add(&calls[{i}], 1, __ATOMIC_SEQ_CST);\n"
            f"\tmemcpy(seen[{i}], words, sizeof words);\n"
            f"\tif (on_call)\n\t\ton_call({i});\n"
            f"\treturn (CUresult)(1000 + {i});\n}}\n"
        )
        stream = ("ANY", "LEGACY", "PER_THREAD").index(hook.stream)
        rows += f'{{"{hook.name}", {hook.version}, {stream}, (void *){hook.symbol}}},\n'
    return DRIVER.format(count=len(SUBMITS), most=MOST, bodies=bodies, rows=rows)


def client_source() -> str:
    prototypes = "".join(f"CUresult {hook.symbol}{hook.parameters};\n" for hook in SUBMITS)
    callers, rows = "", ""
    for i, hook in enumerate(SUBMITS):
        kinds = [kind for kind, _ in split(hook.parameters)]
        made = ", ".join(f"({kind})(uintptr_t){value(i, n)}" for n, kind in enumerate(kinds))
        callers += (
            f"static CUresult call_{i}(void *door)\n{{\n\treturn ((CUresult (*){hook.parameters})door)({made});\n}}\n"
        )
        words = ", ".join(as_word(kind, value(i, n)) for n, kind in enumerate(kinds))
        flags = 2 if hook.stream == "PER_THREAD" else 1
        rows += f'\t{{"{hook.symbol}", "{hook.name}", {hook.version}, {flags}, (void *){hook.symbol}, call_{i}, {{{words}}}}},\n'
    return CLIENT.format(count=len(SUBMITS), most=MOST, prototypes=prototypes, callers=callers, rows=rows)


@pytest.fixture(scope="module")
def recorder(tmp_path_factory):
    """The folder of the driver that writes down."""
    folder = tmp_path_factory.mktemp("recorder")
    flags = ["-std=gnu11", "-Wall", "-Werror", f"-I{ROOT / 'shim'}", "-shared", "-fPIC"]
    flags += ["-Wl,-soname,libcuda.so.1", "-Wl,-Bsymbolic-functions"]
    compile_c(folder, driver_source(), *flags, name="libcuda.so.1")
    return folder


def child(command, recorder, library=None, **settings):
    """Runs over the writing driver; `library` instead of the shim."""
    env = environment(**settings)
    env["LD_LIBRARY_PATH"] = str(recorder)
    if library:
        env["LD_PRELOAD"] = ":".join(filter(None, [SANITIZER_RUNTIME, str(library)]))
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)


def test_rows_are_many_and_of_every_size():
    sizes = {len(split(hook.parameters)) for hook in SUBMITS}
    assert len(SUBMITS) > 100
    assert {1, 2, 3, 4, 11} <= sizes
    assert max(sizes) < MOST


@pytest.mark.parametrize("disable", ["0", "1"])
def test_submit_through_every_door_reaches_the_driver_once_and_unchanged(recorder, tmp_path, disable):
    flags = ["-std=gnu11", "-Wall", "-Werror", f"-I{ROOT / 'shim'}", f"-L{recorder}", "-l:libcuda.so.1", "-ldl"]
    program = compile_c(tmp_path, client_source(), *flags)
    if disable == "0":
        done = child([program], recorder)
        assert (done.stdout, done.stderr) == (f"{len(SUBMITS)} rows, {len(SUBMITS)} calls of the last door\n", "")
    else:  # dlsym hands out the driver's own then: what it answers is still right
        lines = child([program], recorder, disable="1").stdout.splitlines()
        assert lines[-1] == f"{len(SUBMITS)} rows, {len(SUBMITS)} calls of the last door"
        assert all("hands out" in line for line in lines[:-1])


# ---- the gate: in a program that can see it, because the library in front of it hides nothing ----

GATED = """
import ctypes as c, os, sys, threading, time
driver, shim = c.CDLL("libcuda.so.1"), c.CDLL(None)
shim.gb_gate_close.restype, shim.gb_gate_close.argtypes = c.c_bool, [c.c_uint64]
SECOND, LONG = 10**9, 100 * 10**9
CALLBACK = c.CFUNCTYPE(None, c.c_int)
def on_call(function):
    global kept
    kept = function
    c.c_void_p.in_dll(driver, "on_call").value = c.cast(function, c.c_void_p).value if function else None
zeros = [c.c_uint64(0)] * 11
"""


def gated(source, recorder):
    done = child([sys.executable, "-c", GATED + source], recorder, library=UNIT)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def test_every_submit_is_inside_the_gate_while_the_driver_has_it(recorder):
    """A thread that is inside cannot close the gate; before and after, it can."""
    source = f"""
def closes():
    closed = shim.gb_gate_close(0)
    if closed:
        shim.gb_gate_open()
    return closed
answers = []
on_call(CALLBACK(lambda row: answers.append((row, closes()))))
for row, symbol in enumerate({[hook.symbol for hook in SUBMITS]!r}):
    assert closes()
    assert getattr(shim, symbol)(*zeros) == 1000 + row
    assert closes()
assert answers == [(row, False) for row in range({len(SUBMITS)})], answers
print("ok")
"""
    gated(source, recorder)


def test_gate_cannot_close_while_a_thread_is_inside_a_submit(recorder):
    source = """
inside, go_on = threading.Event(), threading.Event()
def stay(row):
    on_call(None)
    shim.cuMemcpyDtoDAsync_v2(*zeros[:4])  # a pass within a pass
    inside.set()
    go_on.wait()
on_call(CALLBACK(stay))
keep = kept
thread = threading.Thread(target=lambda: shim.cuLaunchKernel(*zeros), daemon=True)
thread.start()
inside.wait()
assert not shim.gb_gate_close(SECOND // 1000)
shim.cuMemcpyDtoDAsync_v2(*zeros[:4])  # and the gate is open: another thread comes in
go_on.set()
assert shim.gb_gate_close(LONG), "closing waits for whoever is inside"
shim.gb_gate_open()
thread.join()
print("ok")
"""
    gated(source, recorder)


@pytest.mark.parametrize("symbol", ["cuLaunchKernel", "cuMemcpy_ptds", "cuMemsetD8Async_ptsz", "cuGraphLaunch"])
def test_submit_from_another_thread_waits_while_the_gate_is_closed(recorder, symbol):
    source = f"""
log = []
on_call(CALLBACK(lambda row: log.append("driver")))
assert shim.gb_gate_close(LONG)
thread = threading.Thread(target=lambda: (shim.{symbol}(*zeros), log.append("returned")), daemon=True)
thread.start()
time.sleep(0.05)
log.append("open")
shim.gb_gate_open()
thread.join()
assert log == ["open", "driver", "returned"], log
assert shim.gb_gate_close(LONG)
shim.{symbol}(*zeros)  # who closed it goes through
assert log[3:] == ["driver"], log
shim.gb_gate_open()
print("ok")
"""
    gated(source, recorder)


BEGIN = {
    "cuStreamBeginCapture_v2": "s, c.c_int(2)",
    "cuStreamBeginCapture_v2_ptsz": "s, c.c_int(2)",
    "cuStreamBeginCaptureToGraph": "s, graph, None, None, c.c_size_t(0), c.c_int(2)",
    "cuStreamBeginCaptureToGraph_ptsz": "s, graph, None, None, c.c_size_t(0), c.c_int(2)",
}


@pytest.mark.parametrize("symbol", BEGIN)
def test_capture_cannot_begin_while_the_gate_is_closed(tmp_path, symbol):
    source = f"""
import threading, time
shim = c.CDLL(None)
shim.gb_gate_close.restype, shim.gb_gate_close.argtypes = c.c_bool, [c.c_uint64]
context, log, graph = init(), [], c.c_void_p()
s = stream()
call("cuGraphCreate", c.byref(graph), c.c_uint(0))
def begin():
    call("cuCtxSetCurrent", context)
    log.append(shim.{symbol}({BEGIN[symbol]}))
    log.append(shim.gb_capture_active())
assert shim.gb_gate_close(10**9)
thread = threading.Thread(target=begin, daemon=True)
thread.start()
time.sleep(0.05)
status = c.c_int(-1)
call("cuStreamIsCapturing", s, c.byref(status))
log += [status.value, shim.gb_capture_active() & 255]
shim.gb_gate_open()
thread.join()
assert log[:3] == [0, 0, 0] and log[3] & 255 == 1, log
assert shim.cuStreamEndCapture(s, c.byref(graph)) == 0
call("cuGraphDestroy", graph)
call("cuStreamDestroy_v2", s)
call("cuCtxDestroy_v2", context)
"""
    preload = ":".join(filter(None, [SANITIZER_RUNTIME, str(UNIT)]))
    succeed(source, tmp_path, LD_PRELOAD=preload, FAKECUDA_VRAM="64MiB")


# ---- with the simulated driver ----


def test_symbols_that_the_driver_lacks_stay_missing(tmp_path):
    """No door hands out a hook then, and one that was linked says so when called."""
    source = """
context = init()
function = c.c_void_p()
for name in ("cuLaunchCooperativeKernel", "cuMemcpyAtoA", "cuStreamWaitValue32", "cuMemcpyBatchAsync"):
    assert code_of("cuGetProcAddress_v2", name.encode(), c.byref(function), c.c_int(13000), 0, None) == 500
    assert not function.value
for symbol in ("cuLaunch", "cuLaunchCooperativeKernel_ptsz", "cuMemcpyAtoA_v2", "cuMemcpyBatchAsync_v2"):
    assert not hasattr(cuda, symbol)
    assert getattr(c.CDLL(None), symbol)(*[c.c_uint64(0)] * 11) == 801
"""
    succeed(source, tmp_path)


def test_copies_and_sets_are_what_they_are_without_the_shim(tmp_path):
    source = """
context = init()
p, s = alloc(1 * MIB), stream()
write(p, bytes(range(256)))
fill(p + 256, 256, 7, s)
call("cuMemcpyDtoDAsync_v2", p + 512, p, 512, s)
call("cuMemsetD2D32_v2", p + 4096, 1024, c.c_uint(0x01020304), 8, 4)
call("cuMemcpy_ptds", p + 8192, p + 4096, 4096)
call("cuStreamSynchronize", s)
print(read(p, 16384).hex())
print(code_of("cuMemcpyDtoH_v2", c.create_string_buffer(8), 8, 8), code_of("cuMemsetD8_v2", 0, c.c_ubyte(1), 8))
free(p)
call("cuStreamDestroy_v2", s)
call("cuCtxDestroy_v2", context)
"""
    with_shim = run_program(source, tmp_path)
    without = run_program(source, tmp_path, shim=False)
    assert (with_shim.code, with_shim.err, with_shim.out) == (0, "", without.out)
    ours = {hook.symbol for hook in SUBMITS}
    made = [{k: n for k, n in ended.report["calls"].items() if k in ours} for ended in (with_shim, without)]
    assert made[0] == made[1]
    assert len(made[0]) == 7
