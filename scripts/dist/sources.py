"""What is packaged: the files of a tree, and copies of them that do not depend on who made them."""

import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

TOP = (
    *(".ci", ".clang-format", ".clang-tidy", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile"),
    *("README.md", "docs", "greenboost_py", "pyproject.toml", "scripts", "shim", "tests"),
)
"""All that there is at the top level."""

LEFT_OUT = ("tests/sysroots",)
"""Captured machines: they have links to /dev, and pip unpacks no archive that has a link to an absolute path."""

_MADE = ("__pycache__",)


def files(root: Path) -> list[Path]:
    """The files and links to package, relative to the root, in order.

    In a checkout: those that git has or would add; in an sdist: all that there are.

    Raises:
        subprocess.CalledProcessError: git does not say.
    """
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *TOP]
        listed = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        found = {Path(name.decode()) for name in listed.split(b"\0") if name}
    else:
        found = {path.relative_to(root) for name in TOP for path in [root / name, *(root / name).rglob("*")]}
    return sorted(path for path in found if _is_packaged(root, path))


def _is_packaged(root: Path, path: Path) -> bool:
    is_source = not any(path.is_relative_to(folder) for folder in LEFT_OUT) and not set(_MADE) & set(path.parts)
    return is_source and ((root / path).is_symlink() or (root / path).is_file())


def mode(path: Path) -> int:
    """The permissions that a file is packaged with: what its owner may run, everybody may."""
    return 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644


@contextmanager
def copy(root: Path) -> Iterator[Path]:
    """A copy of what is packaged, gone afterwards. The umask says how its folders are."""
    with TemporaryDirectory(prefix="greenboost-") as folder:
        for path in files(root):
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / path, target, follow_symlinks=False)
            if not target.is_symlink():
                target.chmod(mode(root / path))
        yield Path(folder)
