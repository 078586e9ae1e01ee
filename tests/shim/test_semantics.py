"""Failure cases of other interposers, seen in the wild, by their numbers: what calls mean."""

import pytest
from harness import run_program, succeed

CARD = {"FAKECUDA_VRAM": "64MiB"}


def test_free_of_null_is_a_success(tmp_path):
    """(18)"""
    succeed("init()\nfree(0)\np = alloc(96 * MIB)\nfree(0)\nfree(p)", tmp_path, **CARD)


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
    succeed(source, tmp_path, vram_reserve="8MiB", **CARD)  # a graph's memory is the driver's to find


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
