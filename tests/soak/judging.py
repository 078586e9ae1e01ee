"""A program of the soak's, and whether it ended as it should: by our signal, well, or for want of memory, and in silence."""

import json
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from broken import BrokenError
from harness import HELD
from kinds import Kind
from schedule import Program

_EXPECTED = [
    re.compile(rf"greenboost\[\d+\] {words}")
    for words in (
        r"warning admission: refused \d+ bytes of host memory: ",
        r"warning lease: the daemon at \S+ ",
        r"info log: |warning log: \d+ lines said, nothing more will be",
    )
]
"""The lines that a program may write to stderr."""

_NO_MEMORY = "OUT_OF_MEMORY"


@dataclass
class Running:
    """A program, and where it writes."""

    program: Program
    kind: Kind
    process: subprocess.Popen[bytes]
    err: Path
    out: Path
    report: Path
    heard: bytes = b""
    is_stopped: bool = False

    @property
    def label(self) -> str:
        """What people are told."""
        return f"{self.kind.name} (pid {self.process.pid}, seed {self.program.seed})"

    def host_limit_bytes(self) -> int:
        """What it was told to take at most."""
        return int(dict(self.program.settings)["host_limit"].removesuffix("MiB")) << 20


def judge(running: Running, code: int, sent: signal.Signals | None) -> str:
    """In a word how a program ended.

    Raises:
        BrokenError: not as it should.
    """
    err = running.err.read_text(errors="replace")
    if sent is not None and code == -sent:
        _judge_lines(running, err)
        return f"SIG{sent.name[3:]}"
    if code == 0:
        _judge_lines(running, err)
        _judge_report(running)
        return "well"
    if code == 1 and not running.kind.talks and _NO_MEMORY in err:
        return "out of memory"
    raise BrokenError(f"{running.label} ended with {code}: {tail(running.err)}")


def _judge_lines(running: Running, err: str) -> None:
    lines = err.splitlines()
    if not running.kind.talks and _NO_MEMORY in err:  # killed while it said so, or its child did
        lines = [line for line in lines if line.startswith("greenboost[")]
    for line in lines:
        if not any(pattern.match(line) for pattern in _EXPECTED):
            raise BrokenError(f"{running.label} writes: {line}")


def _judge_report(running: Running) -> None:
    """The simulated driver's own word on what was done to it."""
    if not running.report.exists():
        raise BrokenError(f"{running.label} ended well, but the driver did not: it wrote no report")
    report = json.loads(running.report.read_text())
    held = {name: report[name] for name in HELD if report[name]}
    if report["violations"] or (held and not running.kind.keeps):
        raise BrokenError(f"{running.label} left {held or 'nothing'}, and did wrong: {report['violations'][:3]}")


def tail(path: Path) -> str:
    """The last that a program wrote."""
    return " | ".join(path.read_text(errors="replace").splitlines()[-3:]) or "it says nothing"
