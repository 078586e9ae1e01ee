"""numba-cuda: compiled kernels over arrays of together twice the limit, copies from and to pinned memory.

usage: numba_program.py LIMIT_BYTES
"""

import gc
from itertools import pairwise

import numba
import numpy as np
from common import digest, info, limit, pause
from numba import cuda

ARRAYS = 16


@cuda.jit
def fill(to, seed):
    """Every element its own."""
    for i in range(cuda.grid(1), to.size, cuda.gridsize(1)):
        to[i] = i * 2654435761 + seed


@cuda.jit
def mix(to, other):
    """Read one, read and write another."""
    for i in range(cuda.grid(1), to.size, cuda.gridsize(1)):
        to[i] = (to[i] * 3) ^ other[to.size - 1 - i]


def main() -> None:
    """All of it."""
    info(f"numba {numba.__version__}")
    size = 2 * limit() // ARRAYS // 8
    arrays = [cuda.device_array(size, dtype=np.int64) for _ in range(ARRAYS)]
    for index, array in enumerate(arrays):
        fill[512, 256](array, index)
    for before, array in pairwise(arrays):
        mix[512, 256](array, before)
    pinned = cuda.pinned_array(min(1 << 20, size // 2), dtype=np.int64)
    for index, array in enumerate(arrays):
        array[size // 2 : size // 2 + pinned.size].copy_to_host(pinned)
        digest(f"array{index}", pinned.tobytes() + array[size - 4096 :].copy_to_host().tobytes())
    pause("held", "arrays")
    del arrays, array, before
    gc.collect()
    cuda.current_context().memory_manager.deallocations.clear()
    pause("settled", "end")
    print("ok")


if __name__ == "__main__":
    main()
