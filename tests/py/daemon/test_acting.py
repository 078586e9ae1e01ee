"""What is done after a look, on trees that stand in for the machine; processes in them are ours alone."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from trees import lay

from greenboost_py.base.config import Config, NotifyConfig, RamConfig, TerminateConfig, TtmConfig
from greenboost_py.base.errors import GreenboostError, SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.base.units import parse_size
from greenboost_py.daemon.acting import FORGET_ERROR_S, WARNING_PRIORITY, Acting
from greenboost_py.daemon.view import View
from greenboost_py.daemon.watch import Watch
from greenboost_py.pressure.levels import Level

if TYPE_CHECKING:
    from tests.py.daemon.conftest import Recorder

MakeView = Callable[..., View]
GIB = 1 << 30
PAGE = 4096
PLENTY, SHORT = 20, 1
"""GiB available of 32."""

QUIET = replace(Config(), notify=NotifyConfig(desktop=False, wall="off"))


class Machine:
    """A tree, what watches it, and what acts on that.

    Args:
        tree: the root.
        config: what to do.
        recorder: the journal.
    """

    def __init__(self, tree: Path, config: Config, recorder: "Recorder") -> None:
        self.tree, self.recorder = tree, recorder
        root = SysRoot(tree)
        self.watch = Watch(root, config, None, lambda: ())
        self.acting = Acting(root, config, self.watch, recorder, {}, os.getpid())

    def set_ram(self, available_gib: int | None) -> None:
        """Writes /proc/meminfo; None: something that makes no sense."""
        lines = {"MemTotal": 32, "MemFree": 0, "MemAvailable": available_gib, "SwapTotal": 0, "SwapFree": 0}
        text = "".join(f"{name}: {(size or 0) << 20} kB\n" for name, size in lines.items())
        lay(self.tree, {"proc/meminfo": "nonsense" if available_gib is None else text})

    def run(self, *at_s: float) -> None:
        """Looks and acts at these times, and ends."""
        asyncio.run(self._run(at_s))

    async def _run(self, at_s: tuple[float, ...]) -> None:
        for now_s in at_s:
            self.acting.act(self.watch.look(now_s))
        await self.acting.stop()

    def said(self, part: str) -> list[str]:
        return [message for message in self.recorder.messages() if part in message]


@pytest.fixture
def hog() -> "Iterator[subprocess.Popen[bytes]]":
    """A process of ours that may be ended; it holds next to nothing, whatever the tree says of it."""
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as child:
        try:
            yield child
        finally:
            child.kill()


def put_process(tree: Path, pid: int, name: str = "hog", ram_gib: int = 16) -> None:
    """Enters a process in a tree."""
    folder = tree / "proc" / str(pid)
    folder.mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} ({name}) S 1 {pid} {pid} 0 -1 4194304 " + "0 " * 12 + "500 0 0\n")
    (folder / "status").write_text(f"Name:\t{name}\nUid:\t1000\t1000\t1000\t1000\nRssAnon:\t{ram_gib << 20} kB\n")
    (folder / "oom_score_adj").write_text("0\n")


def is_ended(child: "subprocess.Popen[bytes]") -> bool:
    """Whether the signal came: what was sent before this is answered in its order."""
    try:
        child.communicate(b"\n", timeout=30)
    except BrokenPipeError:
        child.wait(30)
    return child.returncode == -15


def with_terminate(**fields: object) -> Config:
    return replace(QUIET, terminate=TerminateConfig(**fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "is_asked"),
    [
        (Config().terminate, False),
        (TerminateConfig(largest_holder=True), True),
        (TerminateConfig(largest_holder=True, spare=("hog",)), False),
        (TerminateConfig(largest_holder=True, after_s=60.0), False),
    ],
)
def test_critical_ram_ends_the_largest_holder_only_if_configured(
    tmp_path: Path, recorder: "Recorder", hog: "subprocess.Popen[bytes]", config: TerminateConfig, is_asked: bool
) -> None:
    machine = Machine(tmp_path, replace(QUIET, terminate=config), recorder)
    machine.set_ram(SHORT)
    put_process(tmp_path, hog.pid)
    machine.run(100.0, 101.0, 102.5, 104.0)
    assert is_ended(hog) is is_asked
    line = f"terminate: hog (pid {hog.pid}), the largest holder of RAM (16.0 GiB), was sent SIGTERM"
    assert machine.said("SIGTERM") == ([line] if is_asked else [])


def test_nobody_is_ended_once_ram_has_recovered_meanwhile(
    tmp_path: Path, recorder: "Recorder", hog: "subprocess.Popen[bytes]"
) -> None:
    machine = Machine(tmp_path, with_terminate(largest_holder=True, after_s=0.0), recorder)
    put_process(tmp_path, hog.pid)

    async def run() -> None:
        for then, now_s in ((PLENTY, 1.0), (None, 100.0)):
            machine.set_ram(SHORT)
            view = machine.watch.look(now_s)
            machine.set_ram(then)
            machine.acting.act(view)
        await machine.acting.stop()

    asyncio.run(run())
    assert not is_ended(hog)
    assert [line.rpartition(": ")[2] for line in machine.said("terminate")] == ["by now RAM is no longer critical"] * 2


def test_nobody_small_is_ended_though_ram_was_unknown_at_first(
    tmp_path: Path, recorder: "Recorder", hog: "subprocess.Popen[bytes]"
) -> None:
    machine = Machine(tmp_path, with_terminate(largest_holder=True, after_s=0.0), recorder)
    put_process(tmp_path, hog.pid, ram_gib=3)

    async def run() -> None:
        for available_gib, now_s in ((None, 1.0), (SHORT, 2.0)):
            machine.set_ram(available_gib)
            machine.acting.act(machine.watch.look(now_s))
        await machine.acting.stop()

    asyncio.run(run())
    assert not is_ended(hog)
    assert machine.said("terminate") == ["terminate: nobody who may be ended holds a tenth of RAM or more"]


@pytest.fixture
def halo(repository: Path, tmp_path: Path) -> Path:
    """A copy of an APU's tree, with 40 GiB in GTT."""
    return Path(shutil.copytree(repository / "tests/sysroots/strix-halo", tmp_path / "halo", symlinks=True))


def limit(tree: Path) -> int:
    return int((tree / "sys/module/ttm/parameters/pages_limit").read_text())


def test_the_limit_on_drivers_is_set_at_the_first_look_and_put_back_at_the_end(
    halo: Path, recorder: "Recorder"
) -> None:
    before = limit(halo)
    machine = Machine(halo, replace(QUIET, ttm=TtmConfig(limit=parse_size("48GiB"))), recorder)
    assert limit(halo) == before
    pages = 48 * GIB // PAGE

    async def run() -> None:
        machine.acting.act(machine.watch.look(1.0))
        assert limit(halo) == pages
        machine.acting.act(machine.watch.look(2.0))
        await machine.acting.stop()

    asyncio.run(run())
    assert limit(halo) == before
    assert machine.said("pages_limit") == [
        f"ttm.pages_limit: {before} → {pages}",
        f"ttm.pages_limit: {pages} → {before}",
    ]


def test_a_limit_that_is_a_share_waits_until_ram_is_known(halo: Path, recorder: "Recorder") -> None:
    before = limit(halo)
    machine = Machine(halo, replace(QUIET, ttm=TtmConfig(limit=parse_size("25%"))), recorder)
    machine.set_ram(None)

    async def run() -> None:
        machine.acting.act(machine.watch.look(1.0))
        assert limit(halo) == before
        machine.set_ram(PLENTY)
        machine.acting.act(machine.watch.look(2.0))
        assert limit(halo) == 8 * GIB // PAGE
        await machine.acting.stop()

    asyncio.run(run())
    assert limit(halo) == before


@pytest.mark.parametrize("is_asked", [False, True])
def test_the_limit_is_lowered_to_what_is_in_use_while_critical_if_asked(
    halo: Path, recorder: "Recorder", is_asked: bool
) -> None:
    before = limit(halo)
    always = RamConfig(*[parse_size("100%")] * 3)
    config = replace(QUIET, ram=always, ttm=TtmConfig(lower_when_critical=is_asked))
    machine = Machine(halo, config, recorder)

    async def run() -> None:
        view = machine.watch.look(1.0)
        assert view.ram_level is Level.CRITICAL
        machine.acting.act(view)
        assert limit(halo) == (40 * GIB // PAGE if is_asked else before)
        await machine.acting.stop()

    asyncio.run(run())
    assert limit(halo) == before


def errors_at(make_view: MakeView, *looks: tuple[float, list[GreenboostError]]) -> list[View]:
    return [make_view({"ram": Level.OK}, at_s, tuple(errors)) for at_s, errors in looks]


def test_what_cannot_be_read_is_said_once_and_again_after_it_was_well(
    tmp_path: Path, recorder: "Recorder", make_view: MakeView
) -> None:
    machine = Machine(tmp_path, QUIET, recorder)
    swaps, psi = SensorError("/proc/swaps", "odd: 1"), SensorError("/proc/pressure/memory", "odd")
    changed = SensorError("/proc/swaps", "odd: 2")
    driver = GreenboostError("the driver does not answer")
    views = errors_at(
        make_view,
        (0.0, [swaps]),
        (1.0, [swaps, driver]),
        (2.0, [changed, psi]),  # the file reads otherwise each time, and is the same trouble
        (3.0, []),
        (4.0, [changed]),  # nor is one that comes and goes news
        (5.0, []),
        (4.0 + FORGET_ERROR_S, [swaps]),
    )
    for view in views:
        machine.acting.act(view)
    assert recorder.messages() == [
        "/proc/swaps: odd: 1",
        "the driver does not answer",
        "/proc/pressure/memory: odd",
        "/proc/swaps: odd: 1",
    ]
    assert {entry["PRIORITY"] for entry in recorder.entries} == {str(WARNING_PRIORITY)}


def test_a_malformed_file_is_one_line_however_often_it_is_looked_at(halo: Path, recorder: "Recorder") -> None:
    (halo / "proc/swaps").write_text("nonsense\n")
    machine = Machine(halo, QUIET, recorder)
    machine.run(*(float(at_s) for at_s in range(20)))
    (line,) = recorder.messages()
    assert line.startswith("/proc/swaps: ")
