"""A CUDA program like any other: it knows nothing of GreenBoost.

usage: program.py BYTES

Asks the driver for BYTES in twelve blocks, fills each with random bytes of its own (a MiB from the host, the rest
copied on the device), says "holding" and waits for a line on stdin; then reads everything back and prints its CRC-32.
"""

import ctypes
import random
import sys
import zlib
from typing import Any

from cuda.bindings import driver

BLOCKS = 7
MIB = 1 << 20


def content(block: int) -> bytes:
    """The MiB that block is full of."""
    return random.Random(block).randbytes(MIB)


def do(what: str, answer: tuple[Any, ...]) -> Any:
    """What the call answers, or the end with the driver's error."""
    error, *results = answer
    if error != driver.CUresult.CUDA_SUCCESS:
        sys.exit(f"{what}: {error.name} ({int(error)})")
    return results[0] if results else None


def main() -> None:
    """Take it, fill it, read it back."""
    size = int(sys.argv[1]) // BLOCKS // MIB * MIB
    do("cuInit", driver.cuInit(0))
    context = do("cuDevicePrimaryCtxRetain", driver.cuDevicePrimaryCtxRetain(0))
    do("cuCtxSetCurrent", driver.cuCtxSetCurrent(context))

    blocks = [
        int(do(f"cuMemAlloc of block {block + 1} of {BLOCKS}, {size // MIB} MiB each", driver.cuMemAlloc(size)))
        for block in range(BLOCKS)
    ]
    for block, address in enumerate(blocks):
        do("cuMemcpyHtoD", driver.cuMemcpyHtoD(address, content(block), MIB))
        done = MIB
        while done < size:
            step = min(done, size - done)
            do("cuMemcpyDtoD", driver.cuMemcpyDtoD(address + done, address, step))
            done += step
    print("holding", flush=True)
    sys.stdin.readline()

    checksum = 0
    piece = ctypes.create_string_buffer(16 * MIB)
    for address in blocks:
        for at in range(0, size, len(piece)):
            length = min(len(piece), size - at)
            do("cuMemcpyDtoH", driver.cuMemcpyDtoH(ctypes.addressof(piece), address + at, length))
            checksum = zlib.crc32(memoryview(piece)[:length], checksum)
    for address in blocks:
        do("cuMemFree", driver.cuMemFree(address))
    do("cuDevicePrimaryCtxRelease", driver.cuDevicePrimaryCtxRelease(0))
    print(f"{checksum:08x}")


if __name__ == "__main__":
    main()
