"""A program that allocates its blocks, then reads each of them once, in order: one pass of inference over a model.

usage: one_pass.py BLOCKS BLOCK_BYTES malloc|managed

It knows nothing of GreenBoost. It runs on the simulated driver and asks that driver's performance model what the pass
took; memory is not touched. A first pass, which managed memory needs to settle, is not counted. Prints one line of JSON.
"""

import ctypes as c
import json
import sys

cuda = c.CDLL("libcuda.so.1")


class Model(c.Structure):
    """struct fakecuda_model, tests/shim/fake_driver/model.h. Servers: VRAM, the link, migration."""

    _fields_ = (
        ("kernels", c.c_uint64),
        ("bytes", c.c_uint64 * 3),
        ("busy_ns", c.c_double * 3),
        ("ns", c.c_double),
        ("pages_hit", c.c_uint64),
        ("pages_missed", c.c_uint64),
        ("pages_evicted", c.c_uint64),
    )


def do(name: str, *arguments: object) -> None:
    """Call the driver; end with a line on stderr where it refuses."""
    code = getattr(cuda, name)(*arguments)
    if code:
        sys.exit(f"one_pass: {name} answered {code}")


def allocate(size: int, managed: bool) -> c.c_uint64:
    """One block, and its address."""
    address = c.c_uint64()
    if managed:
        do("cuMemAllocManaged", c.byref(address), c.c_size_t(size), c.c_uint(1))
    else:
        do("cuMemAlloc_v2", c.byref(address), c.c_size_t(size))
    return address


def main() -> None:
    """Allocate, read, say."""
    count, size, kind = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    context, model = c.c_void_p(), Model()
    do("cuInit", c.c_uint(0))
    do("cuDevicePrimaryCtxRetain", c.byref(context), c.c_int(0))
    do("cuCtxSetCurrent", context)
    blocks = [allocate(size, kind == "managed") for _ in range(count)]
    for _ in range(2):
        do("fakecuda_model_reset")
        for block in blocks:
            do("fakecuda_model_read", block, c.c_size_t(size))
    do("fakecuda_model_result", c.byref(model))
    vram, link, migrated = model.bytes
    print(json.dumps({"ns": model.ns, "vram_bytes": vram, "link_bytes": link, "migrated_bytes": migrated}))
    for block in blocks:
        do("cuMemFree_v2", block)


if __name__ == "__main__":
    main()
