"""How programs behave, one generator each: it does a little between two yields, and gives all back when it is closed."""

import ctypes as c
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from cuda_program import call, init
from families import OF_A_CONTEXT
from holding import Holding

BLOCKS_MAX = 24


def churn(seed: int, holding: Holding | None = None) -> Iterator[None]:
    """Takes and gives back at random."""
    holding = holding or Holding(seed)
    chance = holding.chance
    try:
        while True:
            choice = chance.random()
            if len(holding.blocks) < BLOCKS_MAX and choice < 0.5:
                holding.take(most=chance.choice((1 << 12, 1 << 18, 1 << 20, 4 << 20)))
            elif holding.blocks and choice < 0.9:
                holding.drop()
            elif holding.blocks:
                holding.check(chance.randrange(len(holding.blocks)))
            yield
    finally:
        holding.drop_all()


def threads(seed: int) -> Iterator[None]:
    """Four threads do so, each with blocks of its own; all of them pause where this yields."""
    context = c.c_void_p()
    call("cuCtxGetCurrent", c.byref(context))
    each = [churn(seed + number, Holding(seed + number)) for number in range(4)]

    def burst(steps: Iterator[None]) -> None:
        call("cuCtxSetCurrent", context)
        for _ in range(6):
            next(steps)

    try:
        with ThreadPoolExecutor(len(each)) as pool:
            while True:
                list(pool.map(burst, each))
                yield
    finally:  # by now no thread is in one of them, whatever another one raised
        for steps in each:
            steps.close()


def contexts(seed: int) -> Iterator[None]:
    """Contexts on every device come and go, some with blocks that are still held."""
    own, count = c.c_void_p(), c.c_int()
    call("cuCtxGetCurrent", c.byref(own))
    call("cuDeviceGetCount", c.byref(count))
    chance = Holding(seed).chance
    while True:
        device = chance.randrange(count.value)
        context = init(device)
        try:
            holding = Holding(chance.randrange(1 << 30), OF_A_CONTEXT, device)
            for _ in range(chance.randrange(12)):
                holding.take()
                yield
            for _ in range(chance.randrange(len(holding.blocks) + 1)):
                holding.drop()
                yield
            for at in range(len(holding.blocks)):
                holding.check(at)
        finally:
            call("cuCtxDestroy_v2", context)
            call("cuCtxSetCurrent", own)


def forks(seed: int) -> Iterator[None]:
    """Has children now and then; CUDA does not work in them, but it answers, and they end well."""
    holding = Holding(seed)
    steps = churn(seed, holding)
    try:
        for number in range(1 << 62):
            next(steps)
            if number % 40 == 20:
                _have_child(holding, with_exec=number % 80 == 20)
            yield
    finally:
        steps.close()


def _have_child(holding: Holding, with_exec: bool) -> None:
    child = os.fork()
    if not child:
        try:
            if with_exec:
                os.execv("/bin/true", ["true"])
            from cuda_program import alloc_code, code_of

            alloc_code(1 << 20)
            for block, _ in holding.blocks[:3]:
                code_of("cuMemFree_v2", block.pointer)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"a child ended with {status}"


def spike(seed: int) -> Iterator[None]:
    """Takes much at once, and gives all of it back."""
    holding = Holding(seed)
    try:
        while True:
            for _ in range(holding.chance.randrange(4, BLOCKS_MAX)):
                holding.take(1 << 20)
            yield
            holding.drop_all()
            yield
    finally:
        holding.drop_all()


def fill(seed: int) -> Iterator[None]:
    """Takes until there is no more, then holds it for long."""
    holding = Holding(seed)
    try:
        while True:
            while len(holding.blocks) < 80 and holding.take(1 << 20):
                yield
            for number in range(200):
                if holding.blocks and number % 10 == 0:
                    holding.check(holding.chance.randrange(len(holding.blocks)))
                yield
            for _ in range(holding.chance.randrange(len(holding.blocks) + 1)):
                holding.drop()
                yield
    finally:
        holding.drop_all()


def stubborn(seed: int) -> Iterator[None]:
    """Is told that there is no memory, and asks again at once, many times."""
    holding = Holding(seed)
    try:
        while True:
            for _ in range(30):
                holding.take(2 << 20)
            yield
            while len(holding.blocks) > 8:
                holding.drop()
    finally:
        holding.drop_all()


def leak(seed: int) -> Iterator[None]:
    """Takes some, and ends with all of it."""
    holding = Holding(seed)
    for _ in range(holding.chance.randrange(5, 60)):
        holding.take()
        yield


BEHAVIOURS = {each.__name__: each for each in (churn, threads, contexts, forks, spike, fill, stubborn, leak)}
