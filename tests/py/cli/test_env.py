"""`greenboost env`: what it prints is what `greenboost run` sets, for a shell and for programs."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

GREENBOOST = [sys.executable, "-c", "from greenboost_py.cli.main import main; main()"]
Env = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def env(library: Path, tmp_path: Path) -> Env:
    """A function that runs `greenboost env` with these arguments, in an environment that has nothing else."""

    def env_(
        *arguments: str, given: dict[str, str] | None = None, command: str = "env"
    ) -> "subprocess.CompletedProcess[bytes]":
        environment = {"PATH": os.environ["PATH"], "GREENBOOST_LIBRARY": str(library), "HOME": str(tmp_path)}
        return subprocess.run(
            [*GREENBOOST, command, *arguments], env=environment | (given or {}), capture_output=True, check=False
        )

    return env_


def null(done: "subprocess.CompletedProcess[bytes]") -> dict[str, str]:
    assert (done.returncode, done.stderr) == (0, b"")
    texts = os.fsdecode(done.stdout).split("\0")
    assert texts.pop() == ""
    return dict(text.split("=", 1) for text in texts)


def test_env_without_options_prints_the_library_alone(env: Env, library: Path) -> None:
    assert env().stdout.decode() == f"export LD_PRELOAD={library}\n"
    assert null(env("--null")) == {"LD_PRELOAD": str(library)}


def test_env_evaluated_by_a_shell_gives_what_run_gives(env: Env, library: Path) -> None:
    options = ["--vram-limit", "1.5 GiB", "--no-moves", "--socket", "/a'b $(c)\n`d`", "--profile", "pytorch"]
    by_run = env(*options, "--", "env", "-0", command="run")
    printed = env(*options)
    by_shell = subprocess.run(
        ["sh", "-ec", 'eval "$1"; exec env -0', "sh", printed.stdout],
        env={"PATH": os.environ["PATH"], "GREENBOOST_LIBRARY": str(library)},
        capture_output=True,
        check=True,
    )

    def ours(text: bytes) -> dict[bytes, bytes]:
        pairs = dict(one.split(b"=", 1) for one in text.split(b"\0") if one)
        return {name: value for name, value in pairs.items() if name.startswith((b"GREENBOOST_", b"LD_"))}

    remembered = {b"GREENBOOST_REMEMBER"}
    assert ours(by_run.stdout).keys() - ours(by_shell.stdout).keys() == remembered
    assert ours(by_shell.stdout).items() <= ours(by_run.stdout).items()
    assert ours(by_shell.stdout)[b"GREENBOOST_RETRY_FIRST"] == b"1"


def test_env_keeps_what_is_set_where_no_option_is_given(env: Env, library: Path) -> None:
    given = {"GREENBOOST_RETRY_FIRST": "0", "LD_PRELOAD": f"{library} ", "GREENBOOST_LOG": "off"}
    assert null(env("-0", "--profile", "pytorch", given=given)) == {"LD_PRELOAD": str(library)}
    assert null(env("-0", "--log", "debug", given=given))["GREENBOOST_LOG"] == "debug"
    assert "GREENBOOST_RETRY_FIRST" not in null(env("-0", "--profile", "none"))


def test_env_prints_bytes_that_are_no_text_as_they_are(env: Env, library: Path, tmp_path: Path) -> None:
    link = tmp_path / os.fsdecode(b"\xff'lib.so")
    link.symlink_to(library)
    done = env(given={"GREENBOOST_LIBRARY": str(link)})
    out = subprocess.run(
        ["sh", "-ec", b'eval "$1"; unset GREENBOOST_LIBRARY; printf %s "$LD_PRELOAD"', "sh", done.stdout],
        capture_output=True,
        check=True,
    )
    assert out.stdout == os.fsencode(link)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--vram-limit", "nonsense"], 2, b"--vram-limit"),
        (["--profile", "pytorhc"], 2, b"there is no profile 'pytorhc'"),
        (["program"], 2, b"program"),
    ],
)
def test_env_of_nonsense_prints_one_line_and_nothing_to_evaluate(
    env: Env, arguments: list[str], code: int, message: bytes
) -> None:
    done = env(*arguments)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (code, b"")
    assert message in line


def test_env_without_its_library_prints_nothing_to_evaluate(env: Env) -> None:
    done = env(given={"GREENBOOST_LIBRARY": "/no/such.so"})
    assert (done.returncode, done.stdout) == (1, b"")
