"""CuPy with arrays of together twice the limit: products, a raw kernel, reductions, sorting.

usage: cupy_program.py LIMIT_BYTES pool|async     CuPy's own pool over cudaMalloc, or cudaMallocAsync
"""

import gc
import sys
from itertools import pairwise

import cupy as cp
from common import digest, info, limit, pause

COLUMNS = 4096
ARRAYS = 16

KERNEL = r"""
extern "C" __global__ void mix(unsigned int *to, const unsigned int *from, size_t n) {
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x)
        to[i] = to[i] * 1664525u + (from[n - 1 - i] ^ (unsigned int)i);
}
"""


def main() -> None:
    """All of it."""
    pool = cp.cuda.MemoryAsyncPool() if sys.argv[2] == "async" else cp.cuda.MemoryPool()
    cp.cuda.set_allocator(pool.malloc)
    info(f"cupy {cp.__version__}, runtime {cp.cuda.runtime.runtimeGetVersion()}")
    rows = 2 * limit() // ARRAYS // COLUMNS // 4
    arrays = [cp.arange(rows * COLUMNS, dtype=cp.uint32).reshape(rows, COLUMNS) + cp.uint32(i) for i in range(ARRAYS)]
    free, total = cp.cuda.runtime.memGetInfo()
    if free > total:
        raise SystemExit(f"free {free} > total {total}")

    mix = cp.RawKernel(KERNEL, "mix")
    for before, array in pairwise(arrays):
        mix((1024,), (256,), (array, before, cp.uint64(array.size)))
    digest("kernel", b"".join(array[:: max(rows // 16, 1)].get().tobytes() for array in arrays))
    digest("sum", b"".join(array.sum(dtype=cp.uint64).get().tobytes() for array in arrays))
    for array in arrays:
        array %= cp.uint32(5)
    x = cp.arange(64 * COLUMNS, dtype=cp.float32).reshape(64, COLUMNS) % 5
    products = [(x @ array.astype(cp.float32).T).sum(axis=1, dtype=cp.float64) for array in arrays]
    digest("matmul", b"".join(product.get().tobytes() for product in products))
    digest("sort", cp.sort(arrays[-1].ravel()[: 1 << 22] * cp.uint32(40503)).get().tobytes())
    pause("held", "arrays")

    del arrays, array, before, products, x
    gc.collect()
    cp.cuda.Device().synchronize()
    pool.free_all_blocks()
    pause("settled", "end")
    print("ok")


if __name__ == "__main__":
    main()
