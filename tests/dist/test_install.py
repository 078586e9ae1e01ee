"""The wheel in a clean environment does what it is for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import CLIENTS, environment
from packages import Environment, Packages, make_environment, run, version


def test_version_is_the_one_of_the_tree(installed: Environment) -> None:
    assert run([installed.greenboost, "--version"], installed.folder) == f"greenboost {version()}\n"
    metadata = "from importlib import metadata; print(metadata.version('greenboost'))"
    assert run([installed.python, "-c", metadata], installed.folder) == f"{version()}\n"


def test_program_runs_with_the_library_that_came_along(installed: Environment) -> None:
    maps = run([installed.greenboost, "run", "--", "cat", "/proc/self/maps"], installed.folder)
    mapped = {line.split()[-1] for line in maps.splitlines() if "libgreenboost" in line}
    assert mapped == {str(installed.library)}


@pytest.mark.parametrize("door", ["linked", "dlopened", "proc_address"])
def test_program_overflows_and_is_right(installed: Environment, door: str) -> None:
    env = environment(shim=False, FAKECUDA_VRAM="64MiB", log="info")
    del env["LD_PRELOAD"], env["PYTHONPATH"]
    command = [installed.greenboost, "run", "--", CLIENTS / door, "--vram", "64MiB"]
    done = subprocess.run(command, env=env, cwd=installed.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("ok"), done.stdout
    alone = subprocess.run([CLIENTS / door, "--vram", "64MiB"], env=env, capture_output=True, text=True, check=False)
    assert alone.returncode != 0, "it needs no host memory: it proves nothing"


def test_manual_is_found_beside_the_command(installed: Environment) -> None:
    if shutil.which("man") is None:
        pytest.skip("man is not installed (Debian: man-db)")
    path = f"{installed.folder / 'bin'}:{os.defpath}"
    found = run(["man", "--where", "greenboost-run"], installed.folder, PATH=path, MANPATH="")
    assert Path(found.strip()) == installed.folder / "share/man/man1/greenboost-run.1"


def test_bash_completes_with_the_installed_script(installed: Environment) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed (Debian: bash)")
    script = """
    source "$1"
    COMP_WORDS=(greenboost kernel) COMP_CWORD=1
    _greenboost_completion greenboost
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    place = installed.folder / "share/bash-completion/completions/greenboost"
    path = f"{installed.folder / 'bin'}:{os.defpath}"
    assert run(["bash", "--norc", "-c", script, "bash", place], installed.folder, PATH=path).split() == [
        "kernel-params"
    ]


def test_uninstall_leaves_nothing(packages: Packages, installed: Environment, tmp_path: Path) -> None:
    other = make_environment(tmp_path / "other")
    before = listing(other)
    other.pip("install", "--quiet", "--no-deps", packages.wheel)
    assert listing(other) != before
    other.pip("uninstall", "--quiet", "--yes", "greenboost")
    assert listing(other) == before


def listing(environment: Environment) -> set[Path]:
    """Its files, but for what Python caches."""
    return {path for path in environment.folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
