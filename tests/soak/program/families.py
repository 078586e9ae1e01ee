"""The ways in which a program takes device memory, one function each: it takes at least so much, and says how to give it back.

"Out of memory" is a CudaError with OUT_OF_MEMORY, and then nothing is held.
"""

import ctypes as c
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from cuda_program import alloc, alloc_async, call, free, free_async
from vmm_program import GRANULE, allow, create, map_at, release, reserve, unmap, unreserve


@dataclass(frozen=True, slots=True)
class Block:
    """Memory at an address, and what gives it back."""

    pointer: int
    size: int
    give_back: Callable[[], None]


def plain(size: int, stream: c.c_void_p, device: int) -> Block:
    pointer = alloc(size)
    return Block(pointer, size, partial(free, pointer))


def pitched(size: int, stream: c.c_void_p, device: int) -> Block:
    pointer, pitch = c.c_uint64(), c.c_size_t()
    rows = max(1, size // 4096)
    call("cuMemAllocPitch_v2", c.byref(pointer), c.byref(pitch), min(size, 4096), rows, c.c_uint(4))
    return Block(pointer.value, pitch.value * rows, partial(free, pointer.value))


def ordered(size: int, stream: c.c_void_p, device: int) -> Block:
    pointer = alloc_async(size, stream)
    call("cuStreamSynchronize", stream)
    return Block(pointer, size, partial(free_async, pointer, stream))


def pooled(size: int, stream: c.c_void_p, device: int) -> Block:
    pool, pointer = c.c_void_p(), c.c_uint64()
    call("cuDeviceGetDefaultMemPool", c.byref(pool), c.c_int(device))
    call("cuMemAllocFromPoolAsync", c.byref(pointer), size, pool, stream)
    call("cuStreamSynchronize", stream)
    return Block(pointer.value, size, partial(free, pointer.value))


def mapped(size: int, stream: c.c_void_p, device: int) -> Block:
    size = -(-size // GRANULE) * GRANULE
    handle = create(size, device)
    base = reserve(size)
    map_at(base, handle, size)
    release(handle)
    allow(base, size, device)

    def give_back() -> None:
        call("cuCtxSynchronize")
        unmap(base, size)
        unreserve(base, size)

    return Block(base, size, give_back)


def managed(size: int, stream: c.c_void_p, device: int) -> Block:
    pointer = c.c_uint64()
    call("cuMemAllocManaged", c.byref(pointer), size, c.c_uint(1))
    return Block(pointer.value, size, partial(free, pointer.value))


def pinned(size: int, stream: c.c_void_p, device: int) -> Block:
    pointer = c.c_void_p()
    size = min(size, 256 << 10)  # nobody leases it
    call("cuMemHostAlloc", c.byref(pointer), size, c.c_uint(0))
    assert pointer.value is not None
    return Block(pointer.value, size, partial(call, "cuMemFreeHost", pointer))


OF_A_CONTEXT = (plain, pitched)
"""What goes with its context."""

ALL = (plain, plain, pitched, ordered, pooled, mapped, managed, pinned)
