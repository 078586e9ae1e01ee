"""Triggers on the running kernel, where it gives any."""

import select
from pathlib import Path

import pytest

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.daemon.psi_trigger import UNPRIVILEGED_WINDOW_US, WINDOW_US, PsiTrigger


def test_trigger_absent_psi_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        PsiTrigger(SysRoot(tmp_path))


def test_trigger_on_something_else_is_an_os_error_and_leaves_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "proc/pressure").mkdir(parents=True)
    (tmp_path / "proc/pressure/memory").write_text("some avg10=0.00\n")
    # A plain file takes what is written, but epoll takes no plain file.
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(PermissionError):
        trigger = PsiTrigger(SysRoot(tmp_path))
        trigger.close()
    assert len(set(Path("/proc/self/fd").iterdir())) == len(before)


def test_trigger_of_this_kernel_is_quiet_while_nothing_stalls() -> None:
    try:
        trigger = PsiTrigger(SysRoot())
    except OSError as error:
        pytest.skip(f"this kernel gives no trigger on memory pressure: {error}")
    try:
        assert trigger.window_us in (WINDOW_US, UNPRIVILEGED_WINDOW_US)
        waiting = select.epoll()
        waiting.register(trigger.fileno(), select.EPOLLIN)
        fired = bool(waiting.poll(timeout=0))
        waiting.close()
        assert trigger.has_fired() is fired or fired is False
    finally:
        trigger.close()
