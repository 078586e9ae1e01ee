"""A CUDA program that takes memory in blocks of 8 MiB, and waits for its device again and again until a file is there.

usage: hold.py MIB FILE    the daemon is turned to at such calls too, where a busy machine kept it from answering at first
"""

import ctypes as c
import sys
import time
from pathlib import Path

BLOCK_MIB = 8


def main() -> None:
    mib, file = int(sys.argv[1]), Path(sys.argv[2])
    cuda = c.CDLL("libcuda.so.1")
    context, device = c.c_void_p(), c.c_int(0)
    assert cuda.cuInit(0) == 0
    assert cuda.cuDevicePrimaryCtxRetain(c.byref(context), device) == 0
    assert cuda.cuCtxSetCurrent(context) == 0
    for _ in range(mib // BLOCK_MIB):
        pointer = c.c_uint64()
        assert cuda.cuMemAlloc_v2(c.byref(pointer), c.c_size_t(BLOCK_MIB << 20)) == 0
    while not file.exists():
        assert cuda.cuCtxSynchronize() == 0
        time.sleep(0.05)


main()
