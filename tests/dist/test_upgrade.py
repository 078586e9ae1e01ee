"""A newer package over one in use: programs under the shim go on with the library they have, and keep their leases."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import environment
from machine import Daemon, configure, start_daemon, until_equal
from packages import Environment, Packages, build, copy_tree, make_environment, version

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.programs import read_programs

NEWER = "7.8.9"
MIB = 1 << 20

WORKER = """
import sys
from cuda_program import *
init()
blocks = []
print("ready", flush=True)
for line in sys.stdin:
    word, _, mib = line.strip().partition(" ")
    if word == "take":
        blocks.append((alloc(int(mib) * MIB), int(mib) * MIB))
        fill(*blocks[-1], len(blocks))
    elif word == "give":
        free(blocks.pop()[0])
    elif word == "check":
        for number, block in enumerate(blocks, 1):
            check(*block, number)
    synchronize()  # where a program waits, the connection is looked after
    print(line.strip(), flush=True)
for pointer, _ in blocks:
    free(pointer)
"""


class Program:
    """A program under the environment's `greenboost run`, on a card of 4 MiB, that does what it is told."""

    def __init__(self, installed: Environment, socket: Path) -> None:
        env = environment(shim=False, FAKECUDA_VRAM="4MiB", socket=str(socket), log="error")
        del env["LD_PRELOAD"]
        command = [installed.greenboost, "run", "--", installed.python, "-c", WORKER]
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._hear("ready")

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self._hear(line)

    def _hear(self, expected: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == expected + "\n", f"it ended with {self.process.wait()}"

    def held_bytes(self) -> int:
        """Host memory, by its own counters."""
        (found,) = read_programs(SysRoot(), os.geteuid(), self.process.pid).programs
        return found.page.host_bytes

    def library(self) -> tuple[int, str]:
        """What it has mapped: the inode, and what the kernel calls it now."""
        lines = Path(f"/proc/{self.process.pid}/maps").read_text().splitlines()
        (mapped,) = {tuple(line.split(maxsplit=5)[4:]) for line in lines if "libgreenboost.so" in line}
        return int(mapped[0]), mapped[1]

    def end(self) -> int:
        """Lets it give everything back and end."""
        _, _ = self.process.communicate()
        return self.process.returncode


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a later version: the library is the same but for one text in it."""
    tree = copy_tree(tmp_path_factory.mktemp("newer") / "tree")
    for file, old, new in (
        ("greenboost_py/__init__.py", version(), NEWER),
        ("shim/driver/driver.c", '"found %s"', '"has found %s"'),
    ):
        text = (tree / file).read_text()
        assert old in text
        (tree / file).write_text(text.replace(old, new))
    build(tree, tree.parent, "--wheel")
    (wheel,) = tree.parent.glob("*.whl")
    return wheel


@pytest.fixture
def upgraded(installed: Environment, packages: Packages, tmp_path: Path) -> Environment:
    """An environment of its own that has the wheel; what it needs it borrows from the other."""
    mine = make_environment(tmp_path / "environment")
    mine.pip("install", "--quiet", "--no-deps", packages.wheel)
    (mine.site / "borrowed.pth").write_text(f"{installed.site}\n")
    return mine


@contextmanager
def daemon_of(installed: Environment, folder: Path) -> Iterator[Daemon]:
    folder.mkdir(exist_ok=True)
    configure(folder)
    running = start_daemon(folder, command=(installed.greenboost,))
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.end()


def booked(broker: Daemon) -> dict[int, int]:
    leases: list[dict[str, Any]] = broker.status()["leases"]["programs"]
    return {each["pid"]: each["held_bytes"] for each in leases if each["held_bytes"]}


def test_upgrade_keeps_programs_and_their_leases(upgraded: Environment, newer: Path, tmp_path: Path) -> None:
    folder = tmp_path / "daemon"
    programs = []
    try:
        with daemon_of(upgraded, folder) as older:
            programs = [Program(upgraded, older.socket) for _ in range(3)]
            for number, program in enumerate(programs, 5):
                program.tell("take 3")
                program.tell(f"take {number}")
            held = {program.process.pid: program.held_bytes() for program in programs}
            assert all(size >= 4 * MIB for size in held.values()), held
            until_equal(held, lambda: booked(older))
            before = upgraded.library.stat()
            content = upgraded.library.read_bytes()
            assert {program.library()[0] for program in programs} == {before.st_ino}

            upgraded.pip("install", "--quiet", "--no-deps", newer)

            assert upgraded.library.read_bytes() != content
            assert upgraded.library.stat().st_ino != before.st_ino, "the library was written in place"
            for program in programs:
                inode, name = program.library()
                assert inode == before.st_ino and name.endswith("(deleted)"), name
            until_equal(held, lambda: booked(older))
        with daemon_of(upgraded, folder) as restarted:
            for program in programs:
                program.tell("check")
            until_equal(held, lambda: booked(restarted))
            for program in programs:
                program.tell("take 6")
                program.tell("check")
                program.tell("give")
            until_equal(held, lambda: booked(restarted))
            programs.append(Program(upgraded, restarted.socket))
            programs[-1].tell("take 9")
            assert programs[-1].library() == (upgraded.library.stat().st_ino, str(upgraded.library))
            until_equal({each.process.pid: each.held_bytes() for each in programs}, lambda: booked(restarted))
            assert [program.end() for program in programs] == [0, 0, 0, 0]
            until_equal({}, lambda: booked(restarted))
    finally:
        for program in programs:
            if program.process.poll() is None:
                program.process.kill()
                program.process.communicate()


def test_newer_version_is_what_runs_afterwards(upgraded: Environment, newer: Path) -> None:
    upgraded.pip("install", "--quiet", "--no-deps", newer)
    said = subprocess.run([upgraded.greenboost, "--version"], capture_output=True, text=True, check=True).stdout
    assert said == f"greenboost {NEWER}\n"
