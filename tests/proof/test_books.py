"""The books balance to the byte, whoever is killed: daemons and programs end by SIGKILL at random, and others take their place.

Programs under the shim allocate and free past the end of VRAM all the time. Now and then everybody is told to hold still; then
what the daemon has on its books is what the programs' own counters say, program by program.
"""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness import SANITIZER_RUNTIME, environment
from machine import Daemon, daemon, until_equal

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.programs import read_programs

PROGRAMS = 5
ROUNDS_BETWEEN_CHECKS = 10

pytestmark = pytest.mark.skipif(bool(SANITIZER_RUNTIME), reason="Python programs cannot be run under a sanitizer")

WORKER = """
import random, select, sys, time
from cuda_program import *
init()
chance = random.Random(int(sys.argv[1]))
blocks, is_still = [], False
print("ready", flush=True)
while True:
    if select.select([sys.stdin], [], [], 0.02 if is_still else 0)[0]:
        line = sys.stdin.readline()
        if not line:
            break
        is_still = line == "still\\n"
        print(line.strip(), flush=True)
    if is_still:
        call("cuCtxSynchronize")  # where a program waits, the connection is looked after
    elif len(blocks) < 24 and chance.random() < 0.6:
        try:
            blocks.append(alloc(chance.randint(1, 2 << 20)))
        except CudaError as error:
            assert error.code == 2, error
    elif blocks:
        free(blocks.pop(chance.randrange(len(blocks))))
"""


class Programs:
    """The programs that run."""

    def __init__(self, broker: Callable[[], Daemon], chance: random.Random) -> None:
        self._broker, self._chance = broker, chance
        self.running: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        env = environment(FAKECUDA_VRAM="4MiB", socket=str(self._broker().socket), log="error")
        command = [sys.executable, "-c", WORKER, str(self._chance.randrange(1 << 30))]
        program = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.running.append(program)
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"

    def kill_one(self) -> None:
        program = self.running.pop(self._chance.randrange(len(self.running)))
        program.kill()
        program.communicate()

    def tell(self, word: str) -> None:
        for program in self.running:
            assert program.stdin is not None and program.stdout is not None
            program.stdin.write(word + "\n")
            program.stdin.flush()
        for program in self.running:
            assert program.stdout is not None
            assert program.stdout.readline() == word + "\n", f"a program ended with {program.wait()}"

    def end(self) -> None:
        for program in self.running:
            program.kill()
            program.communicate()

    def held(self) -> dict[int, int]:
        """By their own counters: host memory by process."""
        held = {}
        for program in self.running:
            (found,) = read_programs(SysRoot(), os.geteuid(), program.pid).programs
            held[program.pid] = found.page.host_bytes
        return held


def check(programs: Programs, broker: Daemon) -> None:
    programs.tell("still")
    held = programs.held()
    # Who holds nothing has no reason to look for a daemon.
    expected = {pid: (size, 0) for pid, size in held.items() if size}

    def booked() -> dict[int, tuple[int, int]]:
        leases = broker.status()["leases"]["programs"]
        return {each["pid"]: (each["held_bytes"], each["pending_bytes"]) for each in leases if each["held_bytes"]}

    until_equal(expected, booked)
    until_equal((sum(held.values()), 0), lambda: sums(broker, "held_bytes", "pending_bytes"))
    leases = broker.status()["leases"]
    descriptors = len(os.listdir(f"/proc/{broker.process.pid}/fd"))
    assert descriptors <= 20 + 3 * leases["clients"], f"{descriptors} descriptors for {leases['clients']} clients"
    programs.tell("go")


def sums(broker: Daemon, *names: str) -> tuple[int, ...]:
    leases = broker.status()["leases"]
    return tuple(leases[name] for name in names)


@pytest.mark.parametrize("rounds", [30, pytest.param(500, marks=pytest.mark.soak)])
def test_books_balance_whoever_is_killed(tmp_path: Path, rounds: int) -> None:
    chance = random.Random(rounds)
    with ExitStack() as ending:
        brokers = [ending.enter_context(daemon(tmp_path / "daemon"))]
        programs = Programs(lambda: brokers[-1], chance)
        ending.callback(programs.end)
        for _ in range(PROGRAMS):
            programs.start()
        for number in range(1, rounds + 1):
            if chance.random() < 0.3:
                brokers[-1].kill()
                brokers.append(ending.enter_context(daemon(tmp_path / "daemon")))
            else:
                programs.kill_one()
                programs.start()
            if number % ROUNDS_BETWEEN_CHECKS == 0:
                check(programs, brokers[-1])
        programs.end()
        programs.running.clear()
        until_equal((0, 0), lambda: sums(brokers[-1], "clients", "held_bytes"))
