"""cuda.bindings' driver API, 12.x or 13.x, with more memory than the card has.

usage: bindings_overflow.py VRAM_BYTES [TIMES]

Asks for TIMES (default 3) the VRAM with cuMemAlloc and cuMemAllocAsync in turn, fills it by memset and copies,
reads all of it back and compares it, checks what the driver says about the pointers, frees. Prints "ok checksum=HEX
bytes=N", the same for the same arguments. Needs cuda-bindings alone.
"""

import ctypes
import sys
import zlib
from typing import Any

from cuda.bindings import driver

CHUNK = 1 << 20


def do(answer: tuple[Any, ...]) -> Any:
    """The results of a call, or the program's end with the driver's error."""
    if answer[0] != driver.CUresult.CUDA_SUCCESS:
        sys.exit(f"{answer[0].name} ({int(answer[0])})")
    return answer[1] if len(answer) == 2 else answer[1:]


def pattern(index: int) -> bytes:
    """CHUNK bytes that no other block has."""
    period = bytes((index * 37 + i * 11 + (i >> 8)) & 0xFF for i in range(4099))
    return (period * (CHUNK // len(period) + 1))[:CHUNK]


def check_pointer(pointer: int, size: int) -> None:
    """The driver must call it this device's memory, also in its middle."""
    attribute = driver.CUpointer_attribute
    middle = pointer + size // 2
    names = [attribute.CU_POINTER_ATTRIBUTE_MEMORY_TYPE, attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL]
    kind, ordinal = do(driver.cuPointerGetAttributes(len(names), names, middle))
    if int(kind) != int(driver.CUmemorytype.CU_MEMORYTYPE_DEVICE) or int(ordinal) != 0:
        sys.exit(f"memory type {kind}, device {ordinal}")
    start, length = do(driver.cuMemGetAddressRange(middle))
    if not int(start) <= pointer < pointer + size <= int(start) + length:
        sys.exit(f"address range {int(start):#x} + {length} for {pointer:#x} + {size}")


def main() -> None:
    """Take, fill, check, free."""
    vram = int(sys.argv[1])
    times = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    total = int(vram * times) // CHUNK * CHUNK
    do(driver.cuInit(0))
    device = do(driver.cuDeviceGet(0))
    context = do(driver.cuDevicePrimaryCtxRetain(device))
    do(driver.cuCtxSetCurrent(context))
    stream = do(driver.cuStreamCreate(driver.CUstream_flags.CU_STREAM_NON_BLOCKING))

    # One larger than the card, then eighths of it.
    sizes = [vram + CHUNK] if total > 2 * vram else []
    while sum(sizes) < total:
        sizes.append(min(max(vram // 8, CHUNK), total - sum(sizes)) // CHUNK * CHUNK)
    blocks = []
    for index, size in enumerate(sizes):
        pointer = int(do(driver.cuMemAllocAsync(size, stream) if index % 2 else driver.cuMemAlloc(size)))
        blocks.append((pointer, size))
        free, all_of_it = do(driver.cuMemGetInfo())
        if free > all_of_it:
            sys.exit(f"free {free} > total {all_of_it}")
    do(driver.cuStreamSynchronize(stream))

    for index, (pointer, size) in enumerate(blocks):
        check_pointer(pointer, size)
        seed = ctypes.create_string_buffer(pattern(index), CHUNK)
        do(driver.cuMemcpyHtoD(pointer, ctypes.addressof(seed), CHUNK))
        done = CHUNK
        while done < size // 2:
            step = min(done, size // 2 - done)
            do(driver.cuMemcpyDtoDAsync(pointer + done, pointer, step, stream))
            done += step
        if size > done:
            do(driver.cuMemsetD8Async(pointer + done, index & 0xFF, size - done, stream))
        do(driver.cuStreamSynchronize(stream))

    checksum = 0
    got = ctypes.create_string_buffer(CHUNK)
    for index, (pointer, size) in enumerate(blocks):
        half = max(size // 2, CHUNK)
        expected_first = pattern(index)
        expected_last = bytes([index & 0xFF]) * CHUNK
        for at in range(0, size, CHUNK):
            do(driver.cuMemcpyDtoH(ctypes.addressof(got), pointer + at, CHUNK))
            cut = min(max(half - at, 0), CHUNK)
            if got.raw != expected_first[:cut] + expected_last[: CHUNK - cut]:
                sys.exit(f"block {index} of {size} bytes differs in the MiB at {at}")
            checksum = zlib.crc32(got.raw, checksum)

    for index, (pointer, _) in enumerate(blocks):
        if index % 4 == 1:
            do(driver.cuMemFreeAsync(pointer, stream))
        else:
            do(driver.cuMemFree(pointer))
    do(driver.cuStreamSynchronize(stream))
    do(driver.cuStreamDestroy(stream))
    do(driver.cuDevicePrimaryCtxRelease(device))
    print(f"ok checksum={checksum:08x} bytes={sum(sizes)}")


if __name__ == "__main__":
    main()
