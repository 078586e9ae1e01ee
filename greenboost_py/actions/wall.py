"""The last resort: every terminal of everybody who is logged in, by the program for it (wall of util-linux)."""

import shutil
from collections.abc import Mapping

from greenboost_py.actions.alert import Alert
from greenboost_py.actions.alert_text import broadcast_body, headline
from greenboost_py.actions.child import run_child
from greenboost_py.pressure.levels import Level

TEXT_BYTES_MAX = 1000
"""Half a terminal's screen."""

DEADLINE_S = 10.0
_TERMINAL_S = "5"
"""A terminal that does not take the text (stopped by Ctrl-S) is given up after so many seconds. Source: wall(1)."""


def lowest_level(wall: str) -> Level | None:
    """The configuration's word as a level.

    Args:
        wall: `warn`, `critical` or `off`; None stands for the last.
    """
    return {"warn": Level.WARN, "critical": Level.CRITICAL}.get(wall)


def text(alert: Alert, users: Mapping[int, str]) -> str:
    """What is written: lines that everybody may read, printable throughout, at most `TEXT_BYTES_MAX` bytes.

    Args:
        alert: what to tell.
        users: login names by user id.
    """
    lines = f"{headline(alert)}\n{broadcast_body(alert, users)}".splitlines()
    safe = "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in lines)
    return safe.encode("utf-8", "replace")[:TEXT_BYTES_MAX].decode("utf-8", "ignore") + "\n"


async def write(message: str, environment: Mapping[str, str]) -> str | None:
    """Writes to every terminal that takes messages.

    Args:
        message: from `text`.
        environment: where PATH is.

    Returns:
        One line on why nobody was told; None: done.
    """
    program = shutil.which("wall", path=environment.get("PATH"))
    if program is None:
        return "wall: not installed (util-linux, bsdutils)"
    outcome = await run_child([program, "--timeout", _TERMINAL_S], environment, DEADLINE_S, message)
    return outcome.problem
