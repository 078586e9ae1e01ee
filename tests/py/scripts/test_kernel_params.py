import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def launcher(repository: Path) -> Path:
    return repository / "scripts" / "kernel-params"


def test_kernel_params_changes_nothing_and_says_so(launcher: Path) -> None:
    done = subprocess.run([launcher], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "nothing was done" in line


def test_kernel_params_help_tells_what_is_coming_and_its_exit_codes(launcher: Path) -> None:
    done = subprocess.run([launcher, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "It will:" in done.stdout
    assert "Exit codes:" in done.stdout


def test_kernel_params_with_an_unknown_argument_is_wrong_usage(launcher: Path) -> None:
    assert subprocess.run([launcher, "apply"], capture_output=True, check=False).returncode == 2


def test_kernel_params_needs_nothing_installed(launcher: Path, tmp_path: Path) -> None:
    # -I -S: no environment, no current directory, no installed package.
    done = subprocess.run(
        [sys.executable, "-I", "-S", launcher], cwd=tmp_path, env={"PATH": os.defpath}, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []
