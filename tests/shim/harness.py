"""Runs a program on the simulated driver, with or without the shim, and says how it ended and what it left behind."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("GREENBOOST_TEST_BUILD", "build")
SHIM = BUILD / "libgreenboost.so"
FAKE_DRIVER = BUILD / "fake_driver"
CLIENTS = BUILD / "clients"
PROGRAMS = Path(__file__).parent / "programs"
# What a sanitized library needs in front of it when the program itself is not sanitized.
SANITIZER_RUNTIME = os.environ.get("GREENBOOST_TEST_RUNTIME", "")
# How often one call is made to fail where a test goes through all of them: under a sanitizer a run costs four times as much.
FAILURES_OF_A_CALL = 3 if SANITIZER_RUNTIME else 8
# No daemon of this machine's is asked: a test that wants one names its socket.
NO_DAEMON = "/nonexistent/greenboost/lease.sock"
HELD = ("device_bytes", "host_bytes", "registered_bytes", "managed_bytes", "vmm_handles_bytes", "reserved_va_bytes")


@dataclass(frozen=True)
class Hook:
    """A CUDA row of hooks.def. `parameters` and `arguments` have their parentheses."""

    kind: str  # HOOK, or SUBMIT: only passes the gate
    symbol: str
    name: str
    version: int
    stream: str
    parameters: str
    arguments: str

    @property
    def form(self) -> str:
        """What cudaTypedefs.h calls the type of this function."""
        suffix = re.search(r"_pt[sd][sz]$", self.symbol) if self.stream == "PER_THREAD" else None
        return f"PFN_{self.name}_v{self.version}{suffix[0] if suffix else ''}"


def hooks() -> list[Hook]:
    """The CUDA rows, in order."""
    rows = re.findall(
        r'^GB_CUDA_(HOOK|SUBMIT)\((\w+), "(\w+)", (\d+), (\w+), (\(.*?\)), (\(.*?\))\)$',
        (ROOT / "shim/hooks.def").read_text(),
        re.MULTILINE,
    )
    return [Hook(kind, symbol, name, int(version), *rest) for kind, symbol, name, version, *rest in rows]


@dataclass
class Ended:
    """How a program ended."""

    code: int
    out: str
    err: str
    report: dict = field(default_factory=dict)

    @property
    def said(self) -> list[str]:
        """The shim's own lines on stderr."""
        return [line for line in self.err.splitlines() if line.startswith("greenboost[")]

    def held(self) -> dict[str, int]:
        """What the driver still holds, by kind, zeros left out."""
        return {kind: self.report[kind] for kind in HELD if self.report[kind]}

    def calls(self, symbol: str) -> int:
        """How often the driver's own `symbol` was called."""
        return self.report["calls"].get(symbol, 0)


def environment(shim: bool = True, **settings: str) -> dict[str, str]:
    """The child's environment: `vram_limit="1GiB"` becomes GREENBOOST_VRAM_LIMIT, capitals go as they are."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("GREENBOOST_", "FAKECUDA_"))}
    env["LD_LIBRARY_PATH"] = str(FAKE_DRIVER)
    env["PYTHONPATH"] = str(PROGRAMS)
    env["GREENBOOST_SOCKET"] = NO_DAEMON
    env.setdefault("ASAN_OPTIONS", "detect_leaks=0")
    preload = [SANITIZER_RUNTIME, str(SHIM) if shim else ""]
    env["LD_PRELOAD"] = ":".join(filter(None, preload))
    for key, value in settings.items():
        env[key if key.isupper() else "GREENBOOST_" + key.upper()] = value
    return env


def run(command: list[str], tmp_path: Path, shim: bool = True, stdin: str = "", **settings: str) -> Ended:
    """Runs the command to its end. The driver's report is read where the program got as far as writing one."""
    report = tmp_path / "report.json"
    report.unlink(missing_ok=True)
    env = environment(shim, FAKECUDA_REPORT=str(report), **settings)
    done = subprocess.run(command, env=env, input=stdin, capture_output=True, text=True, timeout=240)
    left = json.loads(report.read_text()) if report.exists() else {}
    return Ended(done.returncode, done.stdout, done.stderr, left)


def run_program(source: str, tmp_path: Path, **settings) -> Ended:
    """Runs Python source that begins with everything from `cuda_program`."""
    return run([sys.executable, "-c", "from cuda_program import *\n" + source], tmp_path, **settings)


def succeed(source: str, tmp_path: Path, **settings) -> Ended:
    """Like `run_program`, for a program that must end well, and be clean when it does."""
    ended = run_program(source, tmp_path, **settings)
    assert ended.code == 0, ended.err
    assert ended.report["violations"] == []
    assert ended.held() == {}
    return ended


def compile_c(tmp_path: Path, source: str, *flags: str, name: str = "program") -> Path:
    """A program (or, with the flags for it, a library) of C source."""
    (tmp_path / f"{name}.c").write_text(source)
    target = tmp_path / name
    subprocess.run(["cc", "-o", target, tmp_path / f"{name}.c", *flags], check=True)
    return target
