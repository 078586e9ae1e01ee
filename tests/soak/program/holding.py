"""What a program holds: blocks, each with contents that no other has, compared byte for byte before it is given back."""

import ctypes as c
import os
import random
import sys
from collections.abc import Callable, Sequence

from cuda_program import CudaError, call, read, stream, write
from families import ALL, Block
from vmm_program import OUT_OF_MEMORY

BLOCK_MAX = 4 << 20
_SHIFT = 1 << 16

Family = Callable[[int, c.c_void_p, int], Block]


class Holding:
    """The blocks of one thread.

    Args:
        seed: of sizes, kinds and contents.
        families: the ways to take memory; without mapping where the driver has none.
        device: the current context's.
    """

    def __init__(self, seed: int, families: Sequence[Family] = ALL, device: int = 0) -> None:
        self.chance = random.Random(seed)
        self.blocks: list[tuple[Block, int]] = []
        self._families = [each for each in families if each.__name__ != "mapped" or _can_map()]
        self._device = device
        self._stream = stream()
        self._contents = self.chance.randbytes(BLOCK_MAX + (2 << 20) + _SHIFT)
        self._taken = 0

    def take(self, least: int = 1, most: int = BLOCK_MAX) -> bool:
        """Takes a block and fills it; False: there is no memory."""
        family = self.chance.choice(self._families)
        try:
            block = family(self.chance.randint(least, most), self._stream, self._device)
        except CudaError as error:
            if error.code != OUT_OF_MEMORY:
                raise
            return False
        self._taken += 1
        write(block.pointer, self._content(block, self._taken))
        self.blocks.append((block, self._taken))
        return True

    def check(self, at: int) -> None:
        """Compares a block with what was written to it."""
        block, number = self.blocks[at]
        got, expected = read(block.pointer, block.size), self._content(block, number)
        if got != expected:
            first = next(i for i in range(block.size) if got[i] != expected[i])
            sys.exit(f"block {number}, {block.size} bytes at {block.pointer:#x}: byte {first} is not what was written")

    def drop(self, at: int | None = None) -> None:
        """Compares a block, any if none is named, and gives it back."""
        at = self.chance.randrange(len(self.blocks)) if at is None else at
        self.check(at)
        block, _ = self.blocks.pop(at)
        block.give_back()

    def drop_all(self) -> None:
        """Compares all and gives them back."""
        while self.blocks:
            self.drop()
        call("cuStreamSynchronize", self._stream)

    def _content(self, block: Block, number: int) -> bytes:
        begin = number * 4099 % _SHIFT
        return self._contents[begin : begin + block.size]


def _can_map() -> bool:
    return "no-vmm" not in os.environ.get("FAKECUDA_CAPS", "")
