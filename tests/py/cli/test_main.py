import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import greenboost_py
from greenboost_py.cli import main

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
        (["nonsense"], "greenboost: there is no command 'nonsense'; write one of run, env, status, .*"),
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
    assert not {"cffi", "rich", "cuda", "pynvml", "json", "importlib.metadata", "greenboost_py.cli.status"} & set(
        modules
    )


@pytest.mark.parametrize("name", main.cli.list_commands(click.Context(main.cli)))
def test_each_command_is_summed_up_by_its_own_help(name: str) -> None:
    context = click.Context(main.cli)
    command = main.cli.get_command(context, name)
    assert command is not None
    assert main._COMMANDS[name] == command.get_short_help_str(limit=1000)


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (["--help"], {}),
        (["--version"], {}),
        ([], {"_GREENBOOST_COMPLETE": "bash_complete", "COMP_WORDS": "greenboost ", "COMP_CWORD": "1"}),
    ],
)
def test_greenboost_that_runs_no_command_imports_none(words: list[str], environment: dict[str, str]) -> None:
    source = (
        "import sys, atexit\n"
        "atexit.register(lambda: print(*[name for name in sys.modules if name.startswith('greenboost_py.cli.')]))\n"
        "from greenboost_py.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", source, *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "greenboost_py.cli.main"


def test_status_without_a_daemon_or_programs_needs_no_c_parser(tmp_path: Path) -> None:
    source = (
        "import sys; from greenboost_py.base.sysroot import SysRoot; from greenboost_py.cli import status\n"
        f"status.SysRoot = lambda: SysRoot({str(tmp_path)!r}); status.command.main([], standalone_mode=False)\n"
        "print(*{'cffi', 'pycparser', 'greenboost_py.sensors.holders'} & set(sys.modules), sep='')"
    )
    environment = {**os.environ, "GREENBOOST_SOCKET": str(tmp_path / "nobody")}
    done = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("No program is running under GreenBoost.\n\n")
