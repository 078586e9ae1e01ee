"""Imports in greenboost_py point rightwards only: docs/architecture.md."""

import ast
from pathlib import Path

import pytest

LEVELS = [
    {"cli"},
    {"daemon", "service", "doctor", "screen", "schedulers"},
    {"actions", "kernel_params", "planning", "profiles", "containers"},
    {"broker", "probe"},
    {"pressure"},
    {"sensors"},
    {"base"},
]
"""From left to right; two in one pair of braces do not know each other."""

LEVEL = {package: level for level, packages in enumerate(LEVELS) for package in packages}


def imported(file: Path, package: Path) -> set[str]:
    """The modules of greenboost_py that a file imports, wherever in it, as `package.module`."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = file.relative_to(package.parent).parts[: -node.level] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.removeprefix("greenboost_py.") for name in names if name.startswith("greenboost_py.")}
    return found


def violations(package: Path) -> list[str]:
    """Every import that points to the left or sideways, as `file imports what`."""
    found = []
    for file in sorted(package.glob("*/**/*.py")):
        here = file.relative_to(package).parts[0]
        for name in sorted(imported(file, package)):
            there = name.split(".")[0]
            if there != here and there in LEVEL and LEVEL[there] <= LEVEL.get(here, len(LEVELS)):
                found.append(f"{file.relative_to(package)} imports {name}")
    return found


def test_every_import_points_rightwards(repository: Path) -> None:
    assert violations(repository / "greenboost_py") == []


def test_every_package_has_its_place_and_is_distributed(repository: Path) -> None:
    packages = {path.parent.name for path in (repository / "greenboost_py").glob("*/__init__.py")}
    assert packages <= set(LEVEL)
    listed = (repository / "pyproject.toml").read_text()
    assert [package for package in sorted(packages) if f'"greenboost_py.{package}"' not in listed] == []


def test_the_package_itself_imports_nothing(repository: Path) -> None:
    tree = ast.parse((repository / "greenboost_py/__init__.py").read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def test_special_files_are_read_in_one_place(repository: Path) -> None:
    # /proc/self/exe is this process, not the machine: base.launch may open it as it is.
    readers = {
        str(file.relative_to(repository))
        for file in (repository / "greenboost_py").glob("**/*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if node.value.startswith(("/proc/", "/sys/", "/etc/")) and node.value != "/proc/self/exe"
    }
    assert readers == set()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("base/units.py", "import greenboost_py.cli.main"),
        ("base/units.py", "from greenboost_py.sensors import programs"),
        ("sensors/ram.py", "from greenboost_py import cli"),
        ("sensors/ram.py", "def f():\n    from greenboost_py.pressure.model import Level"),
        ("sensors/ram.py", "from ..cli import main"),
        ("sensors/gpu/nvml.py", "from ...broker import server"),
        ("actions/notify.py", "from greenboost_py.kernel_params import plan"),
        ("new/thing.py", "from greenboost_py.base import units"),
    ],
)
def test_an_import_that_points_back_is_found(tmp_path: Path, file: str, text: str) -> None:
    path = tmp_path / "greenboost_py" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert len(violations(tmp_path / "greenboost_py")) == 1
