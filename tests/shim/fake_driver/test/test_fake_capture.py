"""The simulated driver's stream captures and graphs: what they forbid, and that they really replay."""

import pytest
from harness import run_program

SETUP = """
context = init()
s = stream(1)
def begin(mode, handle=s):
    return code_of("cuStreamBeginCapture_v2", handle, c.c_int(mode))
def end(handle=s):
    graph = c.c_void_p(1)
    return code_of("cuStreamEndCapture", handle, c.byref(graph)), graph
def status(handle=s):
    value = c.c_int(-1)
    return code_of("cuStreamIsCapturing", handle, c.byref(value)), value.value
def executable(graph, flags=0):
    handle = c.c_void_p()
    call("cuGraphInstantiateWithFlags", c.byref(handle), graph, flags)
    return handle
def launch(handle):
    call("cuGraphLaunch", handle, s)
    call("cuStreamSynchronize", s)
def event():
    handle = c.c_void_p()
    call("cuEventCreate", c.byref(handle), c.c_uint(0))
    return handle
def finish():
    call("cuCtxDestroy_v2", context)
"""


def driver(source, tmp_path, **settings):
    ended = run_program(SETUP + source, tmp_path, shim=False, **settings)
    assert ended.code == 0, ended.err
    assert ended.report["clean"], ended.report
    return ended


UNSAFE = {
    "alloc": "alloc_code(512)",
    "free": 'code_of("cuMemFree_v2", p)',
    "register": 'code_of("cuMemHostRegister_v2", c.create_string_buffer(64), 64, c.c_uint(0))',
    "pinned": 'code_of("cuMemHostAlloc", c.byref(c.c_void_p()), 64, c.c_uint(0))',
    "managed": 'code_of("cuMemAllocManaged", c.byref(c.c_uint64()), 64, c.c_uint(1))',
    "event query": 'code_of("cuEventQuery", e)',
    "synchronous copy": 'code_of("cuMemcpyDtoH_v2", c.create_string_buffer(8), p, 8)',
}


@pytest.mark.parametrize("mode, code", [(0, 900), (1, 900), (2, 0)], ids=["global", "thread_local", "relaxed"])
@pytest.mark.parametrize("what", UNSAFE)
def test_unsafe_call_is_forbidden_unless_relaxed(what, mode, code, tmp_path):
    source = f"""
p, e = alloc(512), event()
assert begin({mode}) == 0
assert {UNSAFE[what]} == {code}
assert status() == (0, 2 if {code} else 1)
result, graph = end()
assert result == (901 if {code} else 0) and bool(graph.value) == (not {code})
if graph.value:
    call("cuGraphDestroy", graph)
assert begin(2) == 0 and end()[0] == 0
finish()
"""
    source = source.replace("end()[0] == 0\n", "(lambda r: r[0] == 0 and not code_of('cuGraphDestroy', r[1]))(end())\n")
    driver(source, tmp_path)


@pytest.mark.parametrize("mode, thread_mode, code", [(0, 0, 900), (0, 1, 0), (0, 2, 0), (1, 0, 0), (2, 0, 0)])
def test_capture_of_another_thread_forbids_by_both_modes(mode, thread_mode, code, tmp_path):
    source = f"""
import threading
assert begin({mode}) == 0
def other():
    call("cuCtxSetCurrent", context)
    swapped = c.c_int({thread_mode})
    call("cuThreadExchangeStreamCaptureMode", c.byref(swapped))
    answers.append((swapped.value, alloc_code(512), end()[0] if {mode} != 2 else 908))
answers = []
thread = threading.Thread(target=other)
thread.start(), thread.join()
assert answers == [(0, {code}, 908)], answers
graph = end()[1]
if graph.value:
    call("cuGraphDestroy", graph)
finish()
"""
    driver(source, tmp_path)


def test_waiting_for_a_capturing_stream_breaks_the_capture(tmp_path):
    source = """
for wait in ("cuStreamSynchronize", "cuStreamQuery"):
    assert begin(2) == 0 and code_of(wait, s) == 900 and status() == (0, 2)
    assert code_of("cuMemsetD8Async", alloc(16), c.c_ubyte(1), 16, s) == 901
    assert end()[0] == 901 and status() == (0, 0)
assert begin(2) == 0 and code_of("cuCtxSynchronize") == 900 and end()[0] == 901
e = event()
assert begin(2) == 0
call("cuEventRecord", e, s)
assert code_of("cuEventSynchronize", e) == 907 and end()[0] == 901
assert begin(2) == 0 and begin(2) == 401 and end()[0] == 901 and end()[0] == 401
assert begin(0, LEGACY) == 900 and begin(7) == 1
finish()
"""
    driver(source, tmp_path)


def test_legacy_stream_is_unusable_while_a_blocking_stream_captures(tmp_path):
    source = """
b, p = stream(0), alloc(64)
assert begin(2, b) == 0 and status(LEGACY)[0] == 906 and status(b) == (0, 1)
assert code_of("cuMemsetD8Async", p, c.c_ubyte(1), 64, LEGACY) == 906 and end(b)[0] == 901
assert begin(2) == 0 and code_of("cuMemsetD8Async", p, c.c_ubyte(1), 64, LEGACY) == 0
result, graph = end()
assert result == 0
call("cuGraphDestroy", graph)
finish()
"""
    driver(source, tmp_path)


def test_captured_work_waits_for_the_launch_and_is_replayed_each_time(tmp_path):
    source = """
p, q, counted = alloc(64), alloc(64), []
count = c.CFUNCTYPE(None, c.c_void_p)(counted.append)
fill(p, 64, 1), synchronize()
assert begin(0) == 0
call("cuMemcpyDtoDAsync_v2", q, p, 64, s)
fill(p, 64, 2, s)
call("cuLaunchHostFunc", s, count, 5)
result, graph = end()
assert result == 0 and counted == []
check(p, 64, 1)
number = c.c_size_t()
call("cuGraphGetNodes", graph, None, c.byref(number))
assert number.value == 3
run = executable(graph)
call("cuGraphDestroy", graph)
launch(run)
check(q, 64, 1), check(p, 64, 2)
launch(run)
check(q, 64, 2)
assert counted == [5, 5]
call("cuGraphExecDestroy", run)
finish()
"""
    driver(source, tmp_path, FAKECUDA_DEFER="2")


def test_second_stream_joins_a_capture_and_must_come_back(tmp_path):
    source = """
t, fork, join, p = stream(1), event(), event(), alloc(64)
def branch(back):
    assert begin(0) == 0
    fill(p, 64, 1, s)
    call("cuEventRecord", fork, s)
    call("cuStreamWaitEvent", t, fork, c.c_uint(0))
    assert status(t) == (0, 1)
    fill(p, 64, 2, t)
    if back:
        call("cuEventRecord", join, t)
        call("cuStreamWaitEvent", s, join, c.c_uint(0))
    assert back or end(t)[0] == 903
    return end()
assert branch(False)[0] == 901
assert begin(0) == 0
fill(p, 64, 1, s)
call("cuEventRecord", fork, s), call("cuStreamWaitEvent", t, fork, c.c_uint(0))
fill(p, 64, 2, t)
assert end()[0] == 904
result, graph = branch(True)
assert result == 0 and status(t) == (0, 0)
run = executable(graph)
launch(run)
check(p, 64, 2)
call("cuGraphExecDestroy", run), call("cuGraphDestroy", graph)
finish()
"""
    driver(source, tmp_path)


def test_memory_of_a_graph_costs_only_while_it_is_allocated(tmp_path):
    source = """
answer = alloc(512)
assert begin(0) == 0
p = alloc_async(MIB, s)
fill(p, MIB, 3, s)
call("cuMemcpyDtoDAsync_v2", answer, p, 16, s)
kept = alloc_async(MIB, s)
assert code_of("cuMemFreeAsync", answer, s) == 1
free_async(p, s)
result, graph = end()
assert result == 0 and memory_info()[0] == 4 * MIB - 512
run, again = executable(graph), executable(graph, 1)
launch(run)
check(answer, 16, 3)
assert memory_info()[0] == 3 * MIB - 512
assert code_of("cuGraphLaunch", run, s) == 1
launch(again)
free_async(kept, s)
call("cuStreamSynchronize", s)
assert memory_info()[0] == 4 * MIB - 512 and code_of("cuMemFree_v2", kept) == 1
call("cuGraphDestroy", graph), call("cuGraphExecDestroy", run), call("cuGraphExecDestroy", again)
finish()
"""
    driver(source, tmp_path, FAKECUDA_VRAM="4MiB")


def test_capture_into_a_graph_and_its_information(tmp_path):
    source = """
graph, p = c.c_void_p(), alloc(64)
call("cuGraphCreate", c.byref(graph), c.c_uint(0))
call("cuStreamBeginCaptureToGraph", s, graph, None, None, 0, c.c_int(0))
fill(p, 64, 4, s)
value, number, found, nodes, count = c.c_int(), c.c_uint64(), c.c_void_p(), c.POINTER(c.c_void_p)(), c.c_size_t()
call("cuStreamGetCaptureInfo_v2", s, c.byref(value), c.byref(number), c.byref(found), c.byref(nodes), c.byref(count))
assert value.value == 1 and number.value and found.value == graph.value and count.value == 1
kind = c.c_int()
call("cuGraphNodeGetType", c.c_void_p(nodes[0]), c.byref(kind))
assert kind.value == 2
assert code_of("cuGraphDestroy", graph) == 1
result, same = end()
assert result == 0 and same.value == graph.value
call("cuGraphDestroy", graph)
finish()
"""
    driver(source, tmp_path)
