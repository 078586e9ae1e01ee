"""A CUDA program that takes blocks until the driver says that there is no memory, shows that what it has is whole, and
gives it back.

    take.py NAME FOLDER    writes what it saw to FOLDER/NAME.json
"""

import json
import pathlib
import sys
import time

from cuda_program import MIB, CudaError, alloc, call, check, fill, free, init

BLOCK = 8 * MIB
OUT_OF_MEMORY = 2
REFUSALS = 3


def meminfo() -> dict[str, int]:
    """The machine's memory, in bytes."""
    lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    return {key: int(rest.split()[0]) << 10 for key, rest in (line.split(":") for line in lines)}


def group() -> pathlib.Path:
    """The program's own cgroup."""
    return pathlib.Path("/sys/fs/cgroup") / pathlib.Path("/proc/self/cgroup").read_text().strip().split("::/")[1]


def wait() -> None:
    """For a second. Who lost the daemon, as on a slow machine, finds it again where it waits."""
    for _ in range(10):
        call("cuCtxSynchronize")
        time.sleep(0.1)


name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
init()
blocks: list[int] = []
refusals = 0
while refusals < REFUSALS:
    try:
        pointer = alloc(BLOCK)
    except CudaError as error:
        assert error.code == OUT_OF_MEMORY, error
        refusals += 1
        wait()
        continue
    fill(pointer, BLOCK, len(blocks) % 251)
    blocks.append(pointer)
seen = {
    "taken_bytes": len(blocks) * BLOCK,
    "available_bytes": meminfo()["MemAvailable"],
    "group_events": (group() / "memory.events").read_text(),
}
(folder / f"{name}.full").touch()
while not (folder / "go-on").exists():
    wait()
for number, pointer in enumerate(blocks):
    check(pointer, 4096, number % 251)  # what a program takes for itself is not leased
    free(pointer)
(folder / f"{name}.json").write_text(json.dumps(seen))
