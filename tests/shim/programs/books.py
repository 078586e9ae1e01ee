"""The shim's own counters, as the process that holds them can read them: the page in its memfd (greenboost_abi.h)."""

import os
import struct
from pathlib import Path

TIERS = ("device", "split", "host_mapped", "managed", "pageable", "unified")
HEAD = "<IIIiQQ64s"
DEVICE = "<QQQQ" + "QQQ" * 8


def descriptor():
    """This process' page, open for reading and writing."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if os.readlink(entry).startswith("/memfd:greenboost"):
                return int(entry.name)
        except FileNotFoundError:
            continue  # the folder's own descriptor
    raise AssertionError("there is no page")


def page():
    """The bytes of this process' page."""
    return os.pread(descriptor(), 65536, 0)


def host_bytes():
    """Host memory held, over all devices."""
    return struct.unpack_from(HEAD, page())[4]


def books(device=0):
    """Bytes and blocks by tier of a device, zeros left out; and `moved` and `spilled`."""
    at = struct.calcsize(HEAD) + device * struct.calcsize(DEVICE)
    _, spilled, _, moved, *tiers = struct.unpack_from(DEVICE, page(), at)
    found = {name: (tiers[3 * i], tiers[3 * i + 2]) for i, name in enumerate(TIERS)}
    found = {name: pair for name, pair in found.items() if any(pair)}
    return found | {"moved": moved, "spilled": spilled}
