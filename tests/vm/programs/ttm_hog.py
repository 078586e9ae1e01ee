"""Fills RAM through a GPU driver: dumb buffers of the first card, mapped and touched, at a rate, until something ends it.

    ttm_hog.py MIB_PER_S [MIB]

Told a size, it holds that. It notes in the kernel's log what it has, every 16 MiB.

Source: include/uapi/drm/drm_mode.h, drm_mode_create_dumb and drm_mode_map_dumb; include/uapi/drm/drm.h.
"""

import fcntl
import mmap
import os
import struct
import sys
import time

CREATE_DUMB, MAP_DUMB = 0xC02064B2, 0xC01064B3

WIDTH, BITS = 1024, 32
STEP_MIB = 4
NOTED_MIB = 16


def buffer(card: int) -> mmap.mmap:
    """One more buffer, every page of it touched."""
    height = (STEP_MIB << 20) * 8 // WIDTH // BITS
    request = struct.pack("IIIIIIQ", height, WIDTH, BITS, 0, 0, 0, 0)
    *_, handle, _, size = struct.unpack("IIIIIIQ", fcntl.ioctl(card, CREATE_DUMB, request))
    _, _, offset = struct.unpack("IIQ", fcntl.ioctl(card, MAP_DUMB, struct.pack("IIQ", handle, 0, 0)))
    mapped = mmap.mmap(card, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)
    for place in range(0, size, mmap.PAGESIZE):
        mapped[place] = 1
    return mapped


def note(log: int, text: str) -> None:
    """Says it where the clock is that all others go by."""
    print(text, flush=True)
    os.write(log, f"<5>mark: hog {text}".encode())


def main() -> None:
    """Takes buffers."""
    rate, most_mib = float(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else float("inf")
    with open("/proc/self/comm", "w") as name:
        name.write("ttm_hog")
    card, log = os.open("/dev/dri/card0", os.O_RDWR), os.open("/dev/kmsg", os.O_WRONLY)
    note(log, "has 0 MiB")
    begin, taken = time.monotonic(), []
    while len(taken) * STEP_MIB < most_mib:
        try:
            taken.append(buffer(card))
        except OSError as error:
            note(log, f"is refused: {error.strerror}")
            break
        has_mib = len(taken) * STEP_MIB
        if has_mib % NOTED_MIB == 0:
            note(log, f"has {has_mib} MiB")
        time.sleep(max(0, has_mib / rate - (time.monotonic() - begin)))
    time.sleep(3600)


main()
