import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from greenboost_py.actions import child
from greenboost_py.actions.alert import Alert
from greenboost_py.actions.child import run_child
from greenboost_py.actions.hooks import Hooks, plan
from greenboost_py.base.config import HooksConfig
from greenboost_py.pressure.levels import Level

MakeAlert = Callable[..., Alert]

PATH = {"PATH": "/usr/bin:/bin"}


def children() -> set[str]:
    """This process' children, running or not reaped. Source: proc(5), /proc/pid/task/tid/children."""
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that has just ended
            found.update((task / "children").read_text().split())
    return found


@pytest.fixture(autouse=True)
def _leaves_no_child() -> Iterator[None]:
    """Nothing that a test started is left, running or not reaped."""
    before = children()
    yield
    assert children() <= before


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def gone(pid: int) -> bool:
    """Waits for somebody else's child, which got SIGKILL, to be gone."""
    while is_running(pid):
        await asyncio.sleep(0.01)
    return True


@pytest.mark.parametrize(
    ("level", "argv"), [(Level.OK, ("o",)), (Level.NOTICE, ()), (Level.WARN, ("w", "1")), (Level.CRITICAL, ("c",))]
)
def test_plan_takes_the_command_of_the_level(make_alert: MakeAlert, level: Level, argv: tuple[str, ...]) -> None:
    config = HooksConfig(on_ok=("o",), on_warn=("w", "1"), on_critical=("c",))
    hook = plan(config, make_alert(level), {})
    assert (() if hook is None else hook.argv) == argv


def test_plan_hands_on_the_environment_but_what_is_the_daemons(make_alert: MakeAlert) -> None:
    environment = {
        "LANG": "C",
        "NOTIFY_SOCKET": "/x",
        "WATCHDOG_USEC": "1",
        "LISTEN_FDS": "1",
        "GREENBOOST_LEVEL": "old",
    }
    hook = plan(HooksConfig(on_critical=("c",)), make_alert(), environment)
    assert hook is not None
    assert hook.environment["GREENBOOST_LEVEL"] == "critical"
    assert hook.environment["GREENBOOST_HEADLINE"].startswith("RAM is nearly exhausted: ")
    assert hook.environment["LANG"] == "C"
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"} & set(hook.environment)


def test_run_gives_the_command_the_reading_and_a_session_of_its_own(tmp_path: Path, make_alert: MakeAlert) -> None:
    script = 'echo "$GREENBOOST_LEVEL $GREENBOOST_AVAILABLE_BYTES $1 $(cat | wc -c)" >"$0"; cut -d" " -f6 </proc/$$/stat >>"$0"'
    out = tmp_path / "out"
    hooks = Hooks(HooksConfig(on_critical=("sh", "-c", script, str(out), "a;b $(c)")))
    assert asyncio.run(hooks.run(make_alert(), PATH)) is None
    first, session = out.read_text().splitlines()
    assert first == f"critical {1 << 30} a;b $(c) 0"
    assert int(session) != os.getsid(0)


def test_run_without_a_command_for_the_level_does_nothing(make_alert: MakeAlert) -> None:
    assert asyncio.run(Hooks(HooksConfig(on_warn=("false",))).run(make_alert(), PATH)) is None


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (("no-such-program",), "hook: no-such-program: No such file or directory"),
        (("/dev/null",), "hook: /dev/null: Permission denied"),
        (("sh", "-c", "exit 7"), "hook: sh: ended with status 7"),
        (("sh", "-c", "kill -9 $$"), "hook: sh: ended by signal 9"),
        (("a\0b",), "hook: a\0b: embedded null byte"),
    ],
)
def test_run_of_a_command_that_fails_is_one_line(make_alert: MakeAlert, argv: tuple[str, ...], problem: str) -> None:
    assert asyncio.run(Hooks(HooksConfig(on_critical=argv)).run(make_alert(), PATH)) == problem


def test_run_past_its_time_ends_the_whole_group(
    tmp_path: Path, make_alert: MakeAlert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "GRACE_S", 0.1)
    pids = tmp_path / "pids"
    # Neither the shell nor its child heeds SIGTERM.
    script = f'trap "" TERM; sleep 1000 & echo $$ $! >{pids}.new; mv {pids}.new {pids}; wait; wait; sleep 1000'
    hooks = Hooks(HooksConfig(on_critical=("sh", "-c", script), timeout_s=0.5))

    async def run() -> str | None:
        problem = await hooks.run(make_alert(), PATH)
        # The time may be over before the shell has come to write: then there is nobody to look for.
        for pid in pids.read_text().split() if pids.exists() else ():
            assert await gone(int(pid))
        return problem

    assert asyncio.run(run()) == "hook: sh: took longer than 0.5 s, and was ended"


def test_run_that_is_cancelled_ends_the_whole_group(tmp_path: Path, make_alert: MakeAlert) -> None:
    os.mkfifo(tmp_path / "started")
    script = f"sleep 1000 & echo $! >{tmp_path}/started; wait"
    hooks = Hooks(HooksConfig(on_critical=("sh", "-c", script), timeout_s=1000))

    async def run() -> None:
        task = asyncio.create_task(hooks.run(make_alert(), PATH))
        pid = int(await asyncio.to_thread((tmp_path / "started").read_text))
        assert is_running(pid)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await gone(pid)

    asyncio.run(run())


def test_run_of_a_command_that_still_runs_does_not_start_another(tmp_path: Path, make_alert: MakeAlert) -> None:
    os.mkfifo(tmp_path / "go")
    config = HooksConfig(on_warn=("true",), on_critical=("sh", "-c", f"read line <{tmp_path}/go"), timeout_s=1000)
    hooks = Hooks(config)

    async def run() -> None:
        first = asyncio.create_task(hooks.run(make_alert(), PATH))
        await asyncio.sleep(0)
        assert await hooks.run(make_alert(), PATH) == "hook: sh: still running since the last time, not started again"
        assert await hooks.run(make_alert(Level.WARN), PATH) is None, "another level has its own"
        await asyncio.to_thread((tmp_path / "go").write_text, "\n")
        assert await first is None
        again = asyncio.create_task(hooks.run(make_alert(), PATH))
        await asyncio.to_thread((tmp_path / "go").write_text, "\n")
        assert await again is None, "it may run again"

    asyncio.run(run())


def test_run_child_does_not_hold_up_the_loop() -> None:
    async def run() -> int:
        task = asyncio.create_task(run_child(["sleep", "0.2"], PATH, 1000))
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert asyncio.run(run()) > 1


def test_run_child_inherits_no_descriptor_and_no_ignored_signal(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; assert sorted(map(int, os.listdir('/proc/self/fd')))[:3] == [0, 1, 2];"
        "assert len(os.listdir('/proc/self/fd')) == 4; assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL"
    )

    async def run() -> child.Outcome:
        return await run_child([sys.executable, "-I", "-c", script], PATH, 1000)

    with open(tmp_path / "open", "w"):
        assert asyncio.run(run()).status == 0
    assert signal.getsignal(signal.SIGTERM) is not None


def test_run_child_is_no_better_protected_than_others() -> None:
    own = Path("/proc/self/oom_score_adj")
    before = own.read_text()
    own.write_text("500")  # what a child inherits; a daemon has -900, which only a service manager may give
    try:
        waits = 'until [ "$(cat /proc/self/oom_score_adj)" = 0 ]; do sleep 0.01; done'
        assert asyncio.run(run_child(["sh", "-c", waits], {"PATH": os.defpath}, 10)).problem is None
    finally:
        own.write_text(before)
