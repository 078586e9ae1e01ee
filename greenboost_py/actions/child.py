"""A program that is run on the side: never waited for without end, and never left behind.

A child is watched by its pidfd and reaped here, so that its process group can be signalled without the risk that the
number has meanwhile become somebody else's: until it is reaped, its pid is its own.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot

GRACE_S = 2.0
"""Between SIGTERM and SIGKILL."""

REAP_S = 1.0
"""After SIGKILL a process is gone at once, unless it is stuck in the kernel; that is not waited for."""

INPUT_BYTES_MAX = 4096
"""What a child is given to read goes into a pipe before the child starts, so it must fit: a page always does."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended.

    Attributes:
        status: its exit status; negative: the signal that ended it; None: it could not be started, or is stuck.
        problem: one line on what went wrong; None: it exited with 0.
    """

    status: int | None
    problem: str | None


async def run_child(
    argv: Sequence[str], environment: Mapping[str, str], timeout_s: float, input_text: str = ""
) -> Outcome:
    """Runs a program, without a shell, in a session of its own; its output goes to our stderr.

    After `timeout_s` its process group gets SIGTERM, and SIGKILL after `GRACE_S`; at once if this is cancelled.

    Args:
        argv: the program, looked up in the PATH of `environment`, and its arguments.
        environment: all that it gets.
        timeout_s: seconds.
        input_text: what it reads on stdin; at most `INPUT_BYTES_MAX` bytes; empty: /dev/null.
    """
    try:
        process, pidfd = _start(argv, environment, input_text.encode("utf-8", "replace")[:INPUT_BYTES_MAX])
    except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
        return Outcome(None, f"{argv[0]}: {getattr(error, 'strerror', None) or error}")
    try:
        _protect_no_more(process.pid)
        return await _wait(process, pidfd, argv[0], timeout_s)
    finally:
        os.close(pidfd)


def _protect_no_more(pid: int) -> None:
    """The daemon is the last that the OOM killer would choose; what it starts is like any other program."""
    with contextlib.suppress(SensorError):
        SysRoot().write_text(f"proc/{pid}/oom_score_adj", "0")


def _start(argv: Sequence[str], environment: Mapping[str, str], data: bytes) -> "tuple[subprocess.Popen[bytes], int]":
    if data:
        stdin, writer = os.pipe2(os.O_CLOEXEC)
        os.write(writer, data)
        os.close(writer)
    else:
        stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        process = subprocess.Popen(argv, env=environment, stdin=stdin, stdout=2, stderr=2, start_new_session=True)
    finally:
        os.close(stdin)
    try:
        return process, os.pidfd_open(process.pid)
    except OSError:  # out of descriptors: a child that cannot be watched does not run
        process.kill()
        process.wait()
        raise


async def _wait(process: "subprocess.Popen[bytes]", pidfd: int, name: str, timeout_s: float) -> Outcome:
    is_over = False
    try:
        is_over = await _has_ended(pidfd, timeout_s)
        if not is_over:
            _signal_group(process, signal.SIGTERM)
            await _has_ended(pidfd, GRACE_S)
    finally:
        if not is_over:
            # Whoever of the group is left; the number is still the child's group, for the child is not reaped yet.
            _signal_group(process, signal.SIGKILL)
            await _has_ended(pidfd, REAP_S)
        status = process.poll()
    if not is_over:
        return Outcome(status, f"{name}: took longer than {timeout_s:g} s, and was ended")
    return Outcome(status, None if status == 0 else f"{name}: {_ending(status)}")


def _signal_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    # Not permitted: a program that took other rights (setuid) ends by itself, or not.
    with contextlib.suppress(PermissionError):
        os.killpg(process.pid, number)


async def _has_ended(pidfd: int, timeout_s: float) -> bool:
    """Waits for a process to end, without reaping it: its pidfd becomes readable. Source: pidfd_open(2)."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), timeout_s)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(pidfd)
    return True


def _ending(status: int | None) -> str:
    return f"ended by signal {-status}" if status is not None and status < 0 else f"ended with status {status}"
