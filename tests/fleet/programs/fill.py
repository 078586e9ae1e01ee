"""A CUDA program that takes memory in blocks of 8 MiB until it is refused, or has LIMIT_MIB, and says how much it got.

usage: fill.py LIMIT_MIB [wait]    with `wait` it keeps the memory until its standard input ends
"""

import ctypes as c
import sys

BLOCK_MIB = 8


def main() -> None:
    limit_mib = int(sys.argv[1])
    cuda = c.CDLL("libcuda.so.1")
    context, device = c.c_void_p(), c.c_int(0)
    assert cuda.cuInit(0) == 0
    assert cuda.cuDevicePrimaryCtxRetain(c.byref(context), device) == 0
    assert cuda.cuCtxSetCurrent(context) == 0
    got_mib = 0
    while got_mib < limit_mib:
        pointer = c.c_uint64()
        if cuda.cuMemAlloc_v2(c.byref(pointer), c.c_size_t(BLOCK_MIB << 20)):
            break
        assert cuda.cuMemsetD8_v2(pointer, c.c_ubyte(got_mib & 0xFF), c.c_size_t(BLOCK_MIB << 20)) == 0
        got_mib += BLOCK_MIB
    print(f"got {got_mib} MiB", flush=True)
    if sys.argv[2:] == ["wait"]:
        sys.stdin.read()


main()
