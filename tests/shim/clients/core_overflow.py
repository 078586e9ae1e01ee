"""cuda.core's Device and Buffer with more memory than the card has.

usage: core_overflow.py VRAM_BYTES [TIMES]

Asks for TIMES (default 3) the VRAM through Device.allocate, copies from pinned memory into every block and on from
block to block, copies back and compares, closes all buffers. Prints "ok checksum=HEX bytes=N". Needs cuda-core:
either the newer `cuda.core` or the older `cuda.core.experimental`.
"""

import ctypes
import sys
import zlib
from typing import Any

try:
    from cuda.core import Device, LegacyPinnedMemoryResource
except ImportError:
    from cuda.core.experimental import Device, LegacyPinnedMemoryResource

CHUNK = 4 << 20


def view(buffer: Any) -> ctypes.Array[ctypes.c_char]:
    """A host buffer's bytes."""
    return (ctypes.c_char * buffer.size).from_address(int(buffer.handle))


def pattern(index: int) -> bytes:
    """CHUNK bytes that no other block has."""
    period = bytes((index * 41 + i * 13 + (i >> 8)) & 0xFF for i in range(4099))
    return (period * (CHUNK // len(period) + 1))[:CHUNK]


def main() -> None:
    """Take, fill, check, free."""
    vram = int(sys.argv[1])
    times = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    total = int(vram * times) // CHUNK * CHUNK
    device = Device(0)
    device.set_current()
    stream = device.create_stream()
    pinned = LegacyPinnedMemoryResource()
    host = pinned.allocate(CHUNK)
    text = view(host)

    # Device buffers are the size of one chunk: copy_to wants both ends of one size, and many blocks are the point.
    blocks = []
    for index in range(total // CHUNK):
        block = device.allocate(CHUNK, stream=stream)
        blocks.append(block)
        if not block.is_device_accessible:
            sys.exit(f"block {index} is not the device's")
        if index % 8 == 0:
            text.raw = pattern(index)
            host.copy_to(block, stream=stream)
            stream.sync()
        else:
            blocks[index - 1].copy_to(block, stream=stream)
    stream.sync()

    checksum = 0
    for index, block in enumerate(blocks):
        block.copy_to(host, stream=stream)
        stream.sync()
        if text.raw != pattern(index - index % 8):
            sys.exit(f"block {index} differs")
        checksum = zlib.crc32(text.raw, checksum)
    for block in blocks[::2] + blocks[1::2]:
        block.close(stream)
    stream.sync()
    host.close()
    stream.close()
    print(f"ok checksum={checksum:08x} bytes={len(blocks) * CHUNK}")


if __name__ == "__main__":
    main()
