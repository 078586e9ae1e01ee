"""numba-cuda's arrays with more memory than the card has: copies both ways, also from and to pinned memory.

usage: numba_copies.py VRAM_BYTES [TIMES]

Asks for TIMES (default 3) the VRAM with to_device and device_array, copies on the device and back, compares every
array. Compiles nothing, so it needs no NVVM. Prints "ok checksum=HEX bytes=N". Needs numba-cuda.
"""

import gc
import sys
import zlib

import numpy as np
from numba import cuda

CHUNK = 8 << 20


def pattern(index: int) -> np.ndarray:
    """CHUNK bytes that no other array has."""
    return np.arange(CHUNK // 8, dtype=np.uint64) * np.uint64(2 * index + 1) + np.uint64(index)


def main() -> None:
    """Take, fill, check, free."""
    vram = int(sys.argv[1])
    times = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    count = max(int(vram * times) // CHUNK, 1)
    stream = cuda.stream()
    pinned = cuda.pinned_array(CHUNK // 8, dtype=np.uint64)
    free_before, _ = cuda.current_context().get_memory_info()
    arrays = []
    for index in range(count):
        if index % 3 == 0:
            arrays.append(cuda.to_device(pattern(index)))
        elif index % 3 == 1:
            pinned[:] = pattern(index)
            arrays.append(cuda.to_device(pinned, stream=stream))
            stream.synchronize()
        else:
            array = cuda.device_array(CHUNK // 8, dtype=np.uint64)
            array.copy_to_device(arrays[-1])
            arrays.append(array)
    free, total = cuda.current_context().get_memory_info()
    if free > total:
        sys.exit(f"free {free} > total {total}")

    checksum = 0
    for index, array in enumerate(arrays):
        if index % 3 == 1:
            array.copy_to_host(pinned, stream=stream)
            stream.synchronize()
            got = pinned
        else:
            got = array.copy_to_host()
        if not np.array_equal(got, pattern(index - (index % 3 == 2))):
            sys.exit(f"array {index} differs")
        checksum = zlib.crc32(got.tobytes(), checksum)
    # numba keeps back what is freed, up to a share of the memory: all of it goes now, before its context does.
    del arrays, array, got, pinned
    gc.collect()
    context = cuda.current_context()
    context.memory_manager.deallocations.clear()
    free_after, _ = context.get_memory_info()
    if free_after < free_before:
        sys.exit(f"{free_before} bytes free before, {free_after} after")
    del context, stream
    cuda.close()
    print(f"ok checksum={checksum:08x} bytes={count * CHUNK}")


if __name__ == "__main__":
    main()
