"""A CUDA program that goes on until its stdin ends, holds still when it is told to, and knows what it wrote where.

usage: program.py BEHAVIOUR SEED

Says "ready", and repeats every line that it is told when it has come to it: still, and go. When stdin ends it compares
all that it holds, gives it back and exits 0. SOAK_FAULT makes it misbehave, so that it is seen whether anybody notices.
"""

import os
import select
import subprocess
import sys
from pathlib import Path

import holding
from behaviours import BEHAVIOURS
from books import descriptor
from cuda_program import call, init, write

STILL = "still"
PACE_S = 0.002  # eight programs leave a machine with two cores something
HELD_AT = 16  # host_bytes in the page (shim/abi/greenboost_abi.h)


def hears(wait_s: float) -> bool:
    """Whether a line, or the end, can be read."""
    return bool(select.select([sys.stdin], [], [], wait_s)[0])


def misbehave(fault: str) -> None:
    """Does what must not be, where the program holds still."""
    if fault == "counters":
        page = descriptor()
        held = int.from_bytes(os.pread(page, 8, HELD_AT), sys.byteorder)
        os.pwrite(page, (held + 1).to_bytes(8, sys.byteorder), HELD_AT)
    elif fault == "pattern":
        holding.write = lambda pointer, data: write(pointer, data[:-1] + bytes([data[-1] ^ 1]))
    elif fault == "status":
        sys.exit(3)
    elif fault == "file":
        (Path(os.environ["TMPDIR"]) / f"left-{os.getpid()}").touch()
    elif fault == "process":
        subprocess.Popen(["sleep", "600"], start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    elif fault == "noise":
        print("greenboost[1] error tier: 4096 bytes stay held: free answered 1", file=sys.stderr)


def main() -> None:
    """Behaves, and converses."""
    name, seed = sys.argv[1], int(sys.argv[2])
    fault = os.environ.get("SOAK_FAULT", "")
    context = init()
    call("cuCtxSynchronize")  # from its first call that is hooked it has counters to show
    print("ready", flush=True)
    steps = BEHAVIOURS[name](seed)
    is_still = False
    while True:
        if hears(0.02 if is_still else PACE_S):
            line = sys.stdin.readline()
            if not line:
                break
            is_still = line.strip() == STILL
            if is_still:
                misbehave(fault)
            print(line.strip(), flush=True)
        if is_still:
            call("cuCtxSynchronize")  # where a program waits, the connection is looked after
        elif next(steps, steps) is steps:
            return
    steps.close()
    call("cuCtxDestroy_v2", context)


if __name__ == "__main__":
    main()
