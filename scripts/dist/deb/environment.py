"""What the .deb has in /usr/lib: a virtual environment of the system's Python, with greenboost and what it needs.

An environment, because so the interpreter itself keeps the user's and the system's own libraries away.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PLACE = "usr/lib/greenboost"
PYTHON = "/usr/bin/python3"

LAUNCHER = f"""#!/{PLACE}/bin/python3 -I
from greenboost_py.cli.main import main

main()
"""

FOLDERS_LEFT_OUT = frozenset({"tests", "__pycache__", "bin"})
ENDINGS_LEFT_OUT = (".pyi", ".pxd", ".pxi", ".pyx", ".h", ".hpp", ".c", ".cpp", ".a", ".in")
"""What only compilers, type checkers and the libraries' own tests read."""

PARTS_LEFT_OUT = {
    "yaml/_yaml.*": "a copy of libyaml, which PyYAML does without",
    "gguf/scripts": "gguf's own commands, which need more libraries",
    "numpy/_core/_*_tests.*": "numpy's own tests",
}
"""What else of the libraries, with the reason."""

KEPT = "greenboost_py"
"""Whose headers are read when it runs."""


def make(tree: Path, wheel: Path, lock: Path) -> Path:
    """Makes the environment in a tree.

    Args:
        tree: what will be /.
        wheel: greenboost's.
        lock: the libraries and their versions.

    Returns:
        Its interpreter.
    """
    place = tree / PLACE
    (place / "bin").mkdir(parents=True)
    python = place / "bin/python3"
    python.symlink_to(PYTHON)
    (place / "pyvenv.cfg").write_text(f"home = {os.path.dirname(PYTHON)}\ninclude-system-site-packages = false\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install", "--quiet"]
    options = ["--no-deps", "--no-compile", "--only-binary=:all:", "--no-warn-script-location"]
    subprocess.run([*pip, *options, f"--requirement={lock}", str(wheel)], check=True)
    for command in (place / "bin").iterdir():
        if command != python:
            command.unlink()
    launcher = place / "bin/greenboost"
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)
    return python


def libraries(tree: Path) -> Path:
    """Where the libraries of an environment are."""
    (found,) = (tree / PLACE / "lib").glob("python3.*/site-packages")
    return found


def prune(tree: Path) -> None:
    """Takes away what nothing in greenboost reads, what says where and when it was installed, and rights to execute."""
    place = libraries(tree)
    parts = [path for pattern in PARTS_LEFT_OUT for path in place.glob(pattern)]
    for path in (*parts, *place.rglob("*")):
        part = path.relative_to(place).parts
        is_information = part[0].endswith(".dist-info") and len(part) == 2 and path.name != "METADATA"
        is_read_by_others = part[0] != KEPT and (path.name in FOLDERS_LEFT_OUT or path.name.endswith(ENDINGS_LEFT_OUT))
        if path in parts or is_information or is_read_by_others:
            _remove(path)
        elif path.is_file():
            path.chmod(0o644)  # nothing of it is run by itself


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
