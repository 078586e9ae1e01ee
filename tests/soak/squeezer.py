"""Real memory pressure: the programs' memory cgroup is filled, or its limit lowered, as far as nobody has to be killed."""

import subprocess
import sys

from broken import BrokenError
from kinds import HOST_RESERVE_MIB, MIB
from machine import Group

LIMIT_BYTES = 1280 * MIB

KEPT_BYTES = (HOST_RESERVE_MIB + 16) * MIB
"""So much stays: a little more than programs leave, so that some ask for little and get it."""

_TAKER = """
import mmap, sys
taken = []
for line in sys.stdin:
    size = int(line)
    for block in [] if size else taken:
        block.close()
    taken = [mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)] if size else []
    print("done", flush=True)
"""


class Squeezer:
    """Squeezes a group.

    Args:
        group: whose limit is LIMIT_BYTES.
        marked: the environment of what is started.
    """

    def __init__(self, group: Group, marked: dict[str, str]) -> None:
        self._group = group
        self._is_lowered = False
        self._taker = subprocess.Popen(
            [sys.executable, "-S", "-c", _TAKER],
            env=marked,
            preexec_fn=group.enter,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def squeeze(self, share: float, by_limit: bool) -> int:
        """Takes a share of what can be spared, after giving back what was taken; answers how many bytes are left.

        Raises:
            BrokenError: the taker was killed.
        """
        self._group.limit(LIMIT_BYTES)
        self._take(0)
        taken = int(max(0, self._group.left_bytes() - KEPT_BYTES) * share) // MIB * MIB
        if by_limit:
            self._group.limit(LIMIT_BYTES - taken)
        else:
            self._take(taken)
        return self._group.left_bytes()

    def _take(self, size: int) -> None:
        assert self._taker.stdin is not None and self._taker.stdout is not None
        try:
            self._taker.stdin.write(f"{size}\n".encode())
            self._taker.stdin.flush()
        except BrokenPipeError:
            pass  # said below
        if self._taker.stdout.readline() != b"done\n":
            raise BrokenError(f"what fills the group ended with {self._taker.wait()}")

    def close(self) -> None:
        """Gives all back."""
        for pipe in (self._taker.stdin, self._taker.stdout):
            if pipe is not None:
                pipe.close()
        self._taker.wait()
        self._group.limit(LIMIT_BYTES)
