"""The simulated driver's streams and events: when work completes, and work that comes too late."""

import pytest
from harness import run_program

SETUP = """
context = init()
def host_alloc(size):
    host = c.c_void_p()
    call("cuMemHostAlloc", c.byref(host), size, c.c_uint(0))
    return host.value
def event():
    handle = c.c_void_p()
    call("cuEventCreate", c.byref(handle), c.c_uint(0))
    return handle
def query(handle):
    return code_of("cuStreamQuery", handle)
def done(handle):
    call("cuStreamSynchronize", handle)
def end():
    call("cuCtxDestroy_v2", context)
"""


def driver(source, tmp_path, clean=True, **settings):
    """Runs a program without the shim; it has to end well, and clean."""
    ended = run_program(SETUP + source, tmp_path, shim=False, **settings)
    assert ended.code == 0, ended.err
    if clean:
        assert ended.report["clean"], ended.report
    return ended


# ---- when work completes ----


@pytest.mark.parametrize("defer", [0, 3])
def test_deferred_work_runs_after_so_many_queries(defer, tmp_path):
    source = f"""
s, host = stream(), host_alloc(4096)
fill(host, 4096, 7, s)
assert c.string_at(host, 1) == b"\\0"
assert [query(s) for _ in range({defer})] == [600] * {defer} and c.string_at(host, 1) == b"\\0"
assert query(s) == 0 and c.string_at(host, 4096) == b"\\7" * 4096
e = event()
fill(host, 4096, 8, s)
call("cuEventRecord", e, s)
assert [code_of("cuEventQuery", e) for _ in range({defer} + 1)] == [600] * {defer} + [0]
assert c.string_at(host, 1) == b"\\10"
end()
"""
    driver(source, tmp_path, FAKECUDA_DEFER=str(defer))


def test_synchronising_calls_run_what_is_pending(tmp_path):
    source = """
host = host_alloc(4096)
s, e = stream(), event()
waits = [lambda: done(s), synchronize, lambda: call("cuEventSynchronize", e), lambda: free(alloc(1)), lambda: end()]
for n, wait in enumerate(waits, 1):
    fill(host, 4096, n, s)
    call("cuEventRecord", e, s)
    assert c.string_at(host, 1) == bytes([n - 1])
    if n < 5:
        wait()
        assert c.string_at(host, 1) == bytes([n])
end()
"""
    driver(source, tmp_path, FAKECUDA_DEFER="9")


def test_legacy_stream_orders_blocking_streams_and_only_those(tmp_path):
    source = """
blocking, other, host = stream(0), stream(1), host_alloc(3)
fill(host, 1, 1, blocking)
fill(host + 1, 1, 1, other)
call("cuMemsetD8Async", host + 2, c.c_ubyte(1), 1, LEGACY)
done(LEGACY)
assert c.string_at(host, 3) == b"\\1\\0\\1"
call("cuMemsetD8Async", host + 2, c.c_ubyte(2), 1, LEGACY)
fill(host, 1, 2, blocking)
done(blocking)
assert c.string_at(host, 3) == b"\\2\\0\\2"
done(other)
call("cuMemsetD8Async_ptsz", host, c.c_ubyte(5), 1, None)
call("cuMemsetD8Async", host + 1, c.c_ubyte(5), 1, None)
call("cuStreamSynchronize_ptsz", None)
assert c.string_at(host, 2) == b"\\5\\1"
done(None)
assert c.string_at(host, 2) == b"\\5\\5"
end()
"""
    driver(source, tmp_path, FAKECUDA_DEFER="9")


def test_event_waited_for_orders_two_streams(tmp_path):
    source = """
a, b, host, e = stream(), stream(), host_alloc(2), event()
fill(host, 1, 1, a)
call("cuEventRecord", e, a)
fill(host + 1, 1, 1, a)
call("cuStreamWaitEvent", b, e, c.c_uint(0))
call("cuMemcpyDtoDAsync_v2", host + 1, host, 1, b)
call("cuStreamDestroy_v2", a)
done(b)
assert c.string_at(host, 2) == b"\\1\\1"
first, last, ms = event(), event(), c.c_float(-1)
assert code_of("cuEventElapsedTime", c.byref(ms), first, last) == 400
call("cuEventRecord", first, b), call("cuEventRecord", last, b)
assert code_of("cuEventElapsedTime", c.byref(ms), first, last) == 600
call("cuEventSynchronize", last)
call("cuEventElapsedTime", c.byref(ms), first, last)
assert ms.value >= 0
end()
"""
    driver(source, tmp_path, FAKECUDA_DEFER="2")


def test_event_of_a_destroyed_stream_completes(tmp_path):
    source = """
s, e, host = stream(), event(), host_alloc(1)
fill(host, 1, 1, s)
call("cuEventRecord", e, s)
call("cuStreamDestroy_v2", s)
assert [code_of("cuEventQuery", e) for _ in range(3)] == [600, 600, 0] and c.string_at(host, 1) == b"\\1"
end()
"""
    driver(source, tmp_path, FAKECUDA_DEFER="2")


# ---- events of a whole context ----


@pytest.mark.parametrize("defer", [0, 3])
def test_context_event_completes_with_all_that_was_submitted_before_it(defer, tmp_path):
    source = f"""
a, b, blocking, host, e = stream(), stream(), stream(0), host_alloc(5), event()
def record():
    call("cuCtxRecordEvent", context, e)
def answers():
    return [code_of("cuEventQuery", e) for _ in range({defer} + 1)] == [600] * {defer} + [0]
record()
assert answers()
for at, s in enumerate((a, b, blocking, LEGACY)):
    fill(host + at, 1, 1, s)
call("cuStreamDestroy_v2", b)
record()
fill(host + 4, 1, 1, a)
assert c.string_at(host, 5) == b"\\0" * 5
assert answers()
assert c.string_at(host, 5) == b"\\1\\1\\1\\1\\0", "what came after the record is not waited for"
record()
call("cuEventSynchronize", e)
assert c.string_at(host, 5) == b"\\1" * 5
fill(host, 1, 2, a)
record()
record()
call("cuStreamWaitEvent", blocking, e, c.c_uint(0))
call("cuMemcpyDtoDAsync_v2", host + 1, host, 1, blocking)
done(blocking)
assert c.string_at(host, 2) == b"\\2\\2"
fill(host, 1, 3, a)
record()
call("cuEventDestroy_v2", e)
end()
"""
    driver(source, tmp_path, FAKECUDA_DEFER=str(defer))


def test_context_event_of_another_context_is_an_invalid_handle(tmp_path):
    source = """
e, other, popped = event(), c.c_void_p(), c.c_void_p()
call("cuCtxCreate_v2", c.byref(other), c.c_uint(0), c.c_int(0))
assert code_of("cuCtxRecordEvent", other, e) == 400
assert code_of("cuCtxRecordEvent", context, None) == code_of("cuCtxRecordEvent", context, other) == 400
assert code_of("cuCtxRecordEvent", e, e) == code_of("cuCtxRecordEvent", None, e) == 201
call("cuCtxRecordEvent", context, e)
call("cuCtxDestroy_v2", other)
assert code_of("cuCtxRecordEvent", other, e) == 201
end()
"""
    driver(source, tmp_path)


def test_context_event_breaks_every_capture_of_that_context(tmp_path):
    source = """
s, t, e = stream(), stream(), event()
def finish_capture(handle, graph):
    return code_of("cuStreamEndCapture", handle, c.byref(graph))
def status(handle):
    value = c.c_int(-1)
    call("cuStreamIsCapturing", handle, c.byref(value))
    return value.value
other, graph = c.c_void_p(), c.c_void_p()
call("cuCtxCreate_v2", c.byref(other), c.c_uint(0), c.c_int(0))
elsewhere = stream()
call("cuCtxSetCurrent", context)
for handle in (s, t, elsewhere):
    call("cuStreamBeginCapture_v2", handle, c.c_int(2))
assert code_of("cuCtxRecordEvent", context, e) == 900
assert [status(handle) for handle in (s, t, elsewhere)] == [2, 2, 1]
assert [finish_capture(handle, graph) for handle in (s, t)] == [901, 901]
call("cuCtxRecordEvent", context, e)
assert finish_capture(elsewhere, graph) == 0
call("cuGraphDestroy", graph)
call("cuCtxDestroy_v2", other)
end()
"""
    driver(source, tmp_path)


def test_context_events_can_be_missing(tmp_path):
    driver(
        'assert code_of("cuCtxRecordEvent", context, event()) == 801\nend()',
        tmp_path,
        FAKECUDA_CAPS="no-context-events",
    )


def test_pageable_memory_is_taken_at_once_and_filled_on_return(tmp_path):
    source = """
s, p, data = stream(), alloc(4), c.create_string_buffer(b"abcd", 4)
call("cuMemcpyHtoDAsync_v2", p, data, 4, s)
data.raw = b"wxyz"
call("cuMemcpyDtoHAsync_v2", data, p, 4, s)
assert data.raw == b"abcd"
end()
"""
    driver(source, tmp_path, FAKECUDA_DEFER="9")


def test_host_functions_run_in_order_and_may_not_call_the_driver(tmp_path):
    source = """
seen, s, host = [], stream(), host_alloc(1)
@c.CFUNCTYPE(None, c.c_void_p)
def function(data):
    seen.append((data, c.string_at(host, 1), alloc_code(1)))
@c.CFUNCTYPE(None, c.c_void_p, c.c_int, c.c_void_p)
def callback(handle, status, data):
    seen.append((handle, status, data))
fill(host, 1, 3, s)
call("cuLaunchHostFunc", s, function, 42)
fill(host, 1, 4, s)
call("cuStreamAddCallback", s, callback, 43, c.c_uint(0))
assert seen == []
done(s)
assert seen == [(42, b"\\3", 800), (s.value, 0, 43)]
end()
"""
    driver(source, tmp_path)


# ---- work that comes too late ----

TOO_LATE = {
    "registration ended": """
import mmap
memory = mmap.mmap(-1, 4096)
base = c.addressof(c.c_char.from_buffer(memory))
call("cuMemHostRegister_v2", base, 4096, c.c_uint(0))
fill(base, 4096, 1, s)
call("cuMemHostUnregister", base)
""",
    "pinned memory freed": """
host = host_alloc(4096)
fill(host, 4096, 1, s)
call("cuMemFreeHost", c.c_void_p(host))
""",
    "mapping gone": """
base = reserve(GRANULE)
map_at(base, create())
allow(base)
fill(base, GRANULE, 1, s)
call("cuMemUnmap", base, GRANULE)
""",
    "mapping replaced": """
base = reserve(GRANULE)
map_at(base, create())
allow(base)
fill(base, GRANULE, 1, s)
call("cuMemUnmap", base, GRANULE)
map_at(base, create())
allow(base)
""",
    "pooled memory freed in another stream": """
p, t = alloc_async(4096, s), stream()
fill(p, 4096, 1, s)
free_async(p, t)
done(t)
""",
    "pooled memory freed at once": """
p = alloc_async(4096, s)
fill(p, 4096, 1, s)
free(p)
""",
    "used after its free in the same stream": """
p = alloc_async(4096, s)
free_async(p, s)
fill(p, 4096, 1, s)
""",
}


@pytest.mark.parametrize("event", TOO_LATE)
def test_work_that_outlives_its_memory_is_a_violation_and_sticks(event, tmp_path):
    source = f"""
from vmm_program import *
s = stream()
{TOO_LATE[event]}
assert code_of("cuStreamSynchronize", s) == 700
assert alloc_code(1) == code_of("cuCtxSynchronize") == 700
call("cuCtxDestroy_v2", context)
"""
    ended = driver(source, tmp_path, clean=False, FAKECUDA_DEFER="2")
    assert len(ended.report["violations"]) == ended.report["violation_count"] == 1 and not ended.report["clean"]
    assert "memset" in ended.report["violations"][0]


def test_free_of_device_memory_waits_for_work_that_uses_it(tmp_path):
    source = """
s, p, host = stream(), alloc(4096), host_alloc(4096)
fill(p, 4096, 6, s)
call("cuMemcpyDtoHAsync_v2", c.c_void_p(host), p, 4096, s)
free(p)
assert c.string_at(host, 4096) == b"\\6" * 4096
end()
"""
    driver(source, tmp_path, FAKECUDA_DEFER="5")
