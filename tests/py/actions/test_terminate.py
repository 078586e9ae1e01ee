import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from greenboost_py.actions.terminate import (
    AGAIN_S,
    GRACE_S,
    Facts,
    Terminator,
    candidates,
    choose,
    is_ending,
    read_facts,
    read_protected,
)
from greenboost_py.base.config import TerminateConfig
from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.pressure.levels import Level
from greenboost_py.sensors.holders import Holder

MakeHolder = Callable[..., Holder]

GIB = 1 << 30
GPU = "0000:c4:00.0"
RAM_BYTES = 32 * GIB
FACTS = Facts(start_ticks=4711, parent=1, is_kernel_thread=False, is_exempt=False)


def test_candidates_count_gtt_and_leave_out_the_small(make_holder: MakeHolder) -> None:
    holders = [
        make_holder(1, ram_bytes=4 * GIB),
        make_holder(2, ram_bytes=GIB, gtt_bytes={GPU: 20 * GIB}),
        make_holder(3, ram_bytes=3 * GIB, vram_bytes={GPU: 20 * GIB}),
        make_holder(4),
    ]
    assert [holder.pid for holder in candidates(holders, RAM_BYTES)] == [2, 1]
    assert candidates(holders[3:], 0) == ()


@pytest.mark.parametrize(
    ("facts", "protected", "spare", "is_chosen"),
    [
        (FACTS, set(), (), True),
        (None, set(), (), False),
        (replace(FACTS, start_ticks=4712), set(), (), False),
        (replace(FACTS, is_kernel_thread=True), set(), (), False),
        (replace(FACTS, is_exempt=True), set(), (), False),
        (FACTS, {4711}, (), False),
        (FACTS, {1, 2}, ("other", "pytho", "pythons"), True),
        (FACTS, set(), ("other", "python"), False),
    ],
)
def test_choose_takes_nobody_who_may_not_be_asked(
    make_holder: MakeHolder, facts: Facts | None, protected: set[int], spare: tuple[str, ...], is_chosen: bool
) -> None:
    holder = make_holder(4711, ram_bytes=GIB)
    assert choose([holder], {4711: facts}, frozenset(protected), spare) == (holder if is_chosen else None)


def test_choose_takes_the_next_where_the_largest_is_spared(make_holder: MakeHolder) -> None:
    holders = [make_holder(1, ram_bytes=9, name="postgres"), make_holder(2, ram_bytes=8)]
    facts = {pid: replace(FACTS, start_ticks=pid) for pid in (1, 2)}
    chosen = choose(holders, facts, frozenset(), ("postgres",))
    assert chosen is not None
    assert chosen.pid == 2


def test_choose_knows_a_long_name_by_what_the_kernel_keeps_of_it(make_holder: MakeHolder) -> None:
    holder = make_holder(4711, ram_bytes=9, name="a-very-long-pro")
    assert choose([holder], {4711: FACTS}, frozenset(), ("a-very-long-program-name",)) is None


def stat_line(pid: int, name: str = "x", parent: int = 1, flags: int = 0, start: int = 77) -> str:
    return f"{pid} ({name}) S {parent} 0 0 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 {start} 0 0\n"


def process(root: Path, pid: int, stat: str, score: str = "0\n") -> None:
    (root / f"proc/{pid}").mkdir(parents=True)
    (root / f"proc/{pid}/stat").write_text(stat)
    (root / f"proc/{pid}/oom_score_adj").write_text(score)


@pytest.mark.parametrize(
    ("stat", "score", "facts"),
    [
        (stat_line(5), "0\n", Facts(77, 1, False, False)),
        (stat_line(5, name="a) S 9 (b\n"), "-999\n", Facts(77, 1, False, False)),
        (stat_line(5, parent=2, flags=0x00208040), "0\n", Facts(77, 2, True, False)),
        (stat_line(5), "-1000\n", Facts(77, 1, False, True)),
    ],
)
def test_read_facts_reads_stat_after_the_name(tmp_path: Path, stat: str, score: str, facts: Facts) -> None:
    process(tmp_path, 5, stat, score)
    assert read_facts(SysRoot(tmp_path), 5) == facts


@pytest.mark.parametrize(
    "stat", ["", "5 (x) S 1", stat_line(5).replace("77", "x"), stat_line(5).replace(" 1 ", " -1 ")]
)
def test_read_facts_of_a_malformed_file_is_an_error(tmp_path: Path, stat: str) -> None:
    process(tmp_path, 5, stat)
    with pytest.raises(SensorError, match="/proc/5/stat"):
        read_facts(SysRoot(tmp_path), 5)


def test_read_facts_of_the_real_proc_agrees_with_the_system() -> None:
    facts = read_facts(SysRoot(), os.getpid())
    assert facts is not None
    assert (facts.parent, facts.is_kernel_thread) == (os.getppid(), False)
    assert read_facts(SysRoot(), 2**22 + 1) is None, "above the largest pid that there can be"


def test_read_protected_is_the_line_of_parents(tmp_path: Path) -> None:
    for pid, parent in ((40, 30), (30, 20), (20, 0), (50, 40)):
        process(tmp_path, pid, stat_line(pid, parent=parent))
    assert read_protected(SysRoot(tmp_path), 40) == {1, 20, 30, 40}
    assert {1, os.getpid(), os.getppid()} <= read_protected(SysRoot(), os.getpid())


def test_read_protected_of_a_circle_ends(tmp_path: Path) -> None:
    process(tmp_path, 40, stat_line(40, parent=41))
    process(tmp_path, 41, stat_line(41, parent=40))
    assert read_protected(SysRoot(tmp_path), 40) == {1, 40, 41}


@pytest.fixture
def victim() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


class Scene:
    """A terminator, and holders as they are shown to it, one list after the other; the last one stays."""

    def __init__(self, *looks: Sequence[Holder], level: Level = Level.CRITICAL, spare: tuple[str, ...] = ()) -> None:
        self.looks = list(looks)
        self.level = level
        config = TerminateConfig(largest_holder=True, after_s=2.0, spare=spare)
        self.terminator = Terminator(SysRoot(), config, RAM_BYTES, os.getpid())

    def act(self, since_s: float = 0.0, at_s: float = 2.0) -> str | None:
        return self.terminator.act(since_s, at_s, self.holders, lambda: self.level)

    def holders(self) -> Sequence[Holder]:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


@pytest.fixture
def holder_of(make_holder: MakeHolder) -> Callable[[int], Holder]:
    """A function that makes the true holder of a pid, with 16 GiB."""

    def make(pid: int) -> Holder:
        facts = read_facts(SysRoot(), pid)
        assert facts is not None
        return make_holder(pid, ram_bytes=16 * GIB, name="sleep", start_ticks=facts.start_ticks)

    return make


def is_alive(process: "subprocess.Popen[bytes]") -> bool:
    """Whether it still runs; a signal that was sent has arrived, for the sender's call returns after it is queued."""
    with open(f"/proc/{process.pid}/status") as status:
        pending = next(line for line in status if line.startswith("ShdPnd"))
    return process.poll() is None and int(pending.split()[1], 16) == 0


def test_act_ends_the_largest_holder(victim: "subprocess.Popen[bytes]", holder_of: Callable[[int], Holder]) -> None:
    holder = holder_of(victim.pid)
    line = Scene([replace(holder, pid=os.getpid(), ram_bytes=30 * GIB), holder]).act()
    assert line == f"terminate: sleep (pid {victim.pid}), the largest holder of RAM (16.0 GiB), was sent SIGTERM"
    assert victim.wait() == -signal.SIGTERM


def test_act_spares_a_name(victim: "subprocess.Popen[bytes]", holder_of: Callable[[int], Holder]) -> None:
    scene = Scene([holder_of(victim.pid)], spare=("sleep",))
    assert scene.act() == "terminate: nobody who may be ended holds a tenth of RAM or more"
    assert scene.act(at_s=4) is None, "said once"
    assert scene.act(since_s=9, at_s=12) is not None, "and once more when it has become critical again"
    assert is_alive(victim)


def test_act_spares_a_process_that_has_the_number_of_another(
    victim: "subprocess.Popen[bytes]", holder_of: Callable[[int], Holder]
) -> None:
    holder = holder_of(victim.pid)
    scene = Scene([replace(holder, start_ticks=holder.start_ticks - 1)])
    assert scene.act() == "terminate: nobody who may be ended holds a tenth of RAM or more"
    assert is_alive(victim)


@pytest.mark.parametrize("change", ["freed", "another is larger", "reused"])
def test_act_looks_again_right_before_the_signal(
    victim: "subprocess.Popen[bytes]", holder_of: Callable[[int], Holder], change: str
) -> None:
    holder = holder_of(victim.pid)
    other = subprocess.Popen(["sleep", "1000"])
    try:
        then = {
            "freed": [replace(holder, ram_bytes=GIB)],
            "another is larger": [holder, replace(holder_of(other.pid), ram_bytes=20 * GIB)],
            "reused": [replace(holder, start_ticks=holder.start_ticks + 1)],
        }[change]
        line = Scene([holder], then).act()
        assert line is not None
        assert line.endswith("was not ended: by now it has ended, or is not the largest")
        assert is_alive(victim)
        assert is_alive(other)
    finally:
        other.kill()
        other.wait()


def test_act_of_a_process_that_ends_meanwhile_says_so(
    victim: "subprocess.Popen[bytes]", holder_of: Callable[[int], Holder]
) -> None:
    holder = holder_of(victim.pid)
    looks = 0

    def end_at_the_second_look() -> Sequence[Holder]:
        nonlocal looks
        looks += 1
        if looks == 2:
            victim.kill()
            victim.wait()
        return [holder]

    line = Scene([]).terminator.act(0, 2, end_at_the_second_look, lambda: Level.CRITICAL)
    assert line is not None
    assert line.endswith("was not ended: by now it has ended, or is not the largest")


def test_act_looks_at_the_level_again_right_before_the_signal(
    victim: "subprocess.Popen[bytes]", holder_of: Callable[[int], Holder]
) -> None:
    line = Scene([holder_of(victim.pid)], level=Level.WARN).act()
    assert line is not None
    assert line.endswith("was not ended: by now RAM is no longer critical")
    assert is_alive(victim)


def test_act_asks_nobody_twice_and_the_next_only_after_the_grace(holder_of: Callable[[int], Holder]) -> None:
    # A shell that does not heed SIGTERM stays the largest holder.
    command = ["sh", "-c", 'trap "" TERM; echo ready; read line']
    stubborn = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        scene = Scene([holder_of(stubborn.pid)])
        assert "was sent SIGTERM" in str(scene.act())
        assert not scene.terminator.is_due(Level.CRITICAL, 0, 2 + GRACE_S - 0.1)
        assert scene.terminator.is_due(Level.CRITICAL, 0, 2 + GRACE_S)
        assert "nobody who may be ended" in str(scene.act(at_s=2 + GRACE_S))
    finally:
        stubborn.kill()
        stubborn.communicate()


def test_act_asks_nobody_else_while_the_first_is_about_to_end(holder_of: Callable[[int], Holder]) -> None:
    # One that is stopped takes no signal, like one that is stuck in the kernel.
    stuck, innocent = (subprocess.Popen(["sleep", "1000"]) for _ in range(2))
    try:
        stuck.send_signal(signal.SIGSTOP)
        os.waitpid(stuck.pid, os.WUNTRACED)
        scene = Scene([replace(holder_of(stuck.pid), ram_bytes=20 * GIB), holder_of(innocent.pid)])
        assert f"sleep (pid {stuck.pid})" in str(scene.act())
        assert scene.act(at_s=2 + GRACE_S) is None
        assert scene.act(at_s=2 + 100 * GRACE_S) is None
        assert is_alive(innocent)
        stuck.send_signal(signal.SIGCONT)
        assert stuck.wait() == -signal.SIGTERM
        assert "was sent SIGTERM" in str(scene.act(at_s=2 + 101 * GRACE_S))
        assert innocent.wait() == -signal.SIGTERM
    finally:
        for process in (stuck, innocent):
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("SigPnd:\t0000000000000000\nShdPnd:\t0000000000004000\n", True),
        ("SigPnd:\t0000000000004100\nShdPnd:\t0000000000000000\n", True),
        ("SigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\nSigBlk:\t0000000000004000\n", False),
        ("", False),
    ],
)
def test_is_ending_is_a_sigterm_that_was_not_taken(tmp_path: Path, status: str, expected: bool) -> None:
    (tmp_path / "proc/5").mkdir(parents=True)
    (tmp_path / "proc/5/status").write_text(status)
    assert is_ending(SysRoot(tmp_path), 5) is expected
    assert is_ending(SysRoot(tmp_path), 6) is False


def test_is_ending_of_a_malformed_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "proc/5").mkdir(parents=True)
    (tmp_path / "proc/5/status").write_text("SigPnd:\t-1\n")
    with pytest.raises(SensorError, match="/proc/5/status"):
        is_ending(SysRoot(tmp_path), 5)


def test_act_that_may_not_signal_says_so(
    victim: "subprocess.Popen[bytes]", holder_of: Callable[[int], Holder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    line = Scene([holder_of(victim.pid)]).act()
    assert line is not None
    assert line.endswith("was not ended: Operation not permitted")


@pytest.mark.parametrize(
    ("is_on", "level", "at_s", "is_due"),
    [
        (True, Level.CRITICAL, 12.0, True),
        (True, Level.CRITICAL, 11.9, False),
        (True, Level.WARN, 100.0, False),
        (False, Level.CRITICAL, 100.0, False),
    ],
)
def test_is_due_only_where_it_is_wanted_and_has_lasted(is_on: bool, level: Level, at_s: float, is_due: bool) -> None:
    terminator = Terminator(SysRoot(), TerminateConfig(is_on, 2.0), RAM_BYTES, os.getpid())
    assert terminator.is_due(level, 10.0, at_s) == is_due


def test_is_due_after_finding_nobody_only_after_a_while() -> None:
    scene = Scene([])
    scene.act()
    assert not scene.terminator.is_due(Level.CRITICAL, 0, 2 + AGAIN_S / 2)
    assert scene.terminator.is_due(Level.CRITICAL, 0, 2 + AGAIN_S)


def test_terminating_is_off_by_default() -> None:
    assert not TerminateConfig().largest_holder
