"""A CUDA program's view of the driver, for the small programs in the tests: ctypes on libcuda.so.1, nothing else.

Every function checks its result and raises `CudaError` with the code. Nothing here knows of GreenBoost.
"""

import ctypes as c
import os

KIB, MIB = 1 << 10, 1 << 20
HOST, DEVICE = 1, 2  # CU_MEMORYTYPE_*
LEGACY, PER_THREAD = c.c_void_p(1), c.c_void_p(2)

cuda = c.CDLL("libcuda.so.1", mode=int(os.environ.get("TEST_DLOPEN_MODE", os.RTLD_NOW)))


class CudaError(Exception):
    """A driver call failed with `code`."""

    def __init__(self, name, code):
        super().__init__(f"{name} -> {code}")
        self.code = code


def _plain(argument):
    return c.c_uint64(argument) if isinstance(argument, int) and not isinstance(argument, bool) else argument


def call(name, *arguments):
    """Calls `name`; whole numbers go as 64-bit integers, pass c.c_int and the like where it matters."""
    code = getattr(cuda, name)(*map(_plain, arguments))
    if code:
        raise CudaError(name, code)


def code_of(name, *arguments):
    """The result code, 0 included."""
    try:
        call(name, *arguments)
    except CudaError as error:
        return error.code
    return 0


def init(device=0, primary=False):
    """cuInit and a current context on the device; returns it."""
    call("cuInit", c.c_uint(0))
    context = c.c_void_p()
    if primary:
        call("cuDevicePrimaryCtxRetain", c.byref(context), c.c_int(device))
        call("cuCtxSetCurrent", context)
    else:
        call("cuCtxCreate_v2", c.byref(context), c.c_uint(0), c.c_int(device))
    return context


def alloc(size):
    pointer = c.c_uint64(0xDEAD)
    call("cuMemAlloc_v2", c.byref(pointer), size)
    return pointer.value


def alloc_code(size):
    pointer = c.c_uint64(0xDEAD)
    code = code_of("cuMemAlloc_v2", c.byref(pointer), size)
    assert code == 0 or pointer.value == 0xDEAD, "out-parameter touched on failure"
    return code


def alloc_async(size, stream=None, suffix=""):
    pointer = c.c_uint64(0xDEAD)
    call("cuMemAllocAsync" + suffix, c.byref(pointer), size, stream)
    return pointer.value


def free(pointer):
    call("cuMemFree_v2", pointer)


def free_async(pointer, stream=None, suffix=""):
    call("cuMemFreeAsync" + suffix, pointer, stream)


def memory_info():
    free_bytes, total = c.c_size_t(), c.c_size_t()
    call("cuMemGetInfo_v2", c.byref(free_bytes), c.byref(total))
    return free_bytes.value, total.value


def total_memory(device=0):
    total = c.c_size_t()
    call("cuDeviceTotalMem_v2", c.byref(total), c.c_int(device))
    return total.value


def fill(pointer, size, byte, stream=None):
    if stream is None:
        call("cuMemsetD8_v2", pointer, c.c_ubyte(byte), size)
    else:
        call("cuMemsetD8Async", pointer, c.c_ubyte(byte), size, stream)


def read(pointer, size):
    data = c.create_string_buffer(size)
    call("cuMemcpyDtoH_v2", data, pointer, size)
    return data.raw


def write(pointer, data):
    call("cuMemcpyHtoD_v2", pointer, data, len(data))


def stream(flags=1):
    handle = c.c_void_p()
    call("cuStreamCreate", c.byref(handle), c.c_uint(flags))
    return handle


def synchronize():
    call("cuCtxSynchronize")


def attribute(pointer, number, kind=c.c_uint64):
    value = kind()
    call("cuPointerGetAttribute", c.byref(value), c.c_int(number), pointer)
    return value.value


def address_range(pointer):
    base, size = c.c_uint64(), c.c_size_t()
    call("cuMemGetAddressRange_v2", c.byref(base), c.byref(size), pointer)
    return base.value, size.value


def check(pointer, size, byte):
    assert read(pointer, size) == bytes([byte]) * size
