"""A drill: takes RAM, page by page, until the daemon says that it is short, and gives it back at once.

It is the first that the OOM killer would choose (oom_score_adj 1000), takes small steps, looks after each, and stops at
a sixteenth of RAM whatever the daemon says.
"""

import mmap
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from greenboost_py.base.errors import GreenboostError, SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.pressure.levels import Level

STEP_BYTES = 256 << 20
KEPT_SHARE = 16
"""So much of RAM is never taken."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the drill is.

    Attributes:
        taken_bytes: RAM that it holds.
        available_bytes, total_bytes: of RAM, as the daemon sees it.
        level: what the daemon thinks of that.
    """

    taken_bytes: int
    available_bytes: int
    total_bytes: int
    level: Level


def drill(
    until: Level, read_status: Callable[[], dict[str, Any]], pause: Callable[[], None]
) -> Generator[Progress, None, None]:
    """Takes RAM until the daemon sees a level; gives it back when the caller is done.

    Args:
        until: NOTICE or WARN.
        read_status: asks the daemon.
        pause: lets the daemon look.

    Raises:
        GreenboostError: the daemon sees no RAM, or so much was taken that going on would be no drill any more.
    """
    blocks: list[mmap.mmap] = []
    try:
        while True:
            now = _progress(read_status(), len(blocks) * STEP_BYTES)
            yield now
            if now.level >= until:
                return
            if now.available_bytes < now.total_bytes // KEPT_SHARE + STEP_BYTES:
                raise GreenboostError(
                    f"1/{KEPT_SHARE} of RAM is left and the daemon has not said {until.name}; its thresholds are lower"
                )
            blocks.append(_take())
            pause()
    finally:
        for block in blocks:
            block.close()


def be_killed_first(root: SysRoot) -> None:
    """Puts this process at the top of the OOM killer's list. Source: proc(5), oom_score_adj."""
    try:
        root.write_text("proc/self/oom_score_adj", "1000")
    except SensorError:
        return  # it stops long before that matters


def _take() -> mmap.mmap:
    block = mmap.mmap(-1, STEP_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for offset in range(0, STEP_BYTES, mmap.PAGESIZE):
        block[offset] = 1
    return block


def _progress(status: dict[str, Any], taken_bytes: int) -> Progress:
    ram = next((each for each in status["resources"] if each["resource"] == "ram"), None)
    if ram is None:
        raise GreenboostError("the daemon does not see how much RAM there is")
    return Progress(taken_bytes, ram["available_bytes"], ram["total_bytes"], Level[ram["level"].upper()])
