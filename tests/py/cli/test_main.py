import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import greenboost_py

GREENBOOST = [sys.executable, "-c", "from greenboost_py.cli.main import main; main()"]


def greenboost(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*GREENBOOST, *arguments], capture_output=True, text=True, check=False)


def test_greenboost_version_is_the_packages() -> None:
    done = greenboost("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"greenboost {greenboost_py.__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["run", "--help"], ["status", "-h"]])
def test_greenboost_help_goes_to_stdout_and_is_done(arguments: list[str]) -> None:
    done = greenboost(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: greenboost")


def test_greenboost_without_a_command_shows_help_and_is_wrong_usage() -> None:
    done = greenboost()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Commands:" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "greenboost: there is no command 'nonsense'; write one of run, status, .*"),
        (["--nonsense"], "greenboost: No such option:? '?--nonsense.*"),
        (["status", "--pid", "0"], "greenboost status: Invalid value for '--pid': 0 is not in the range.*"),
        (["status", "extra"], r"greenboost status: Got unexpected extra argument \(extra\).*"),
    ],
)
def test_greenboost_used_wrongly_is_one_line_and_exit_2(arguments: list[str], message: str) -> None:
    done = greenboost(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(message, line)


def test_greenboost_into_a_closed_pipe_says_nothing(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([*GREENBOOST, "--help"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_greenboost_run_starts_without_what_only_other_commands_need() -> None:
    source = "import sys, greenboost_py.cli.main as m; m.cli.get_command(None, 'run'); print(*sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout.split()
    assert "greenboost_py.cli.run" in modules
    assert not {"cffi", "psutil", "cuda", "pynvml", "json", "importlib.metadata", "greenboost_py.cli.status"} & set(
        modules
    )
