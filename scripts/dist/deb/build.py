"""Builds the .deb: a tree of what goes where, and Debian's own tools over it. `make deb` runs it.

The tree holds the wheel and the libraries that it needs, which pip fetches; Debian 12's own are older than what
greenboost works with.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from email.utils import formatdate
from pathlib import Path

import environment
import licences

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
LOCK = HERE / "requirements.lock"
DOCUMENTS = "usr/share/doc/greenboost"

TOOLS = {"dh": "debhelper", "dpkg-buildpackage": "dpkg-dev", environment.PYTHON: "python3"}
"""What is run, with the package that has it."""


def missing() -> list[str]:
    """The packages that are not installed here."""
    return [package for tool, package in TOOLS.items() if shutil.which(tool) is None]


def stage(wheel: Path, source: Path, epoch_s: int) -> None:
    """Makes a source tree for debhelper.

    Args:
        wheel: greenboost's.
        source: where; it is emptied first.
        epoch_s: the time that the package bears, in seconds since 1970.
    """
    shutil.rmtree(source, ignore_errors=True)
    debian, tree = source / "debian", source / "tree"
    shutil.copytree(HERE / "debian", debian)
    python = environment.make(tree, wheel, LOCK)
    place = tree / environment.PLACE
    shutil.copytree(place / "share/man/man1", debian / "man")
    shutil.copytree(place / "share/greenboost", tree / "usr/share/greenboost")
    shutil.rmtree(place / "share")
    _write_licences(tree)
    version = _run(python, HERE / "service_files.py", debian, tree)
    environment.prune(tree)
    (tree / "usr/bin").mkdir()
    (tree / "usr/bin/greenboost").symlink_to(f"../../{environment.PLACE}/bin/greenboost")
    shutil.copyfile(LOCK, tree / DOCUMENTS / LOCK.name)
    major, minor = _run(python, "-c", "import sys; print(*sys.version_info[:2])").split()
    values = {
        "VERSION": version,
        "DATE": formatdate(epoch_s),
        "SYSUSERS": (debian / "greenboost.sysusers").read_text().rstrip(),
        "PYTHON": f"{major}.{minor}",
        "PYTHON_NEXT": f"{major}.{int(minor) + 1}",
    }
    for path in debian.iterdir():
        if path.is_file():
            _fill(path, values)
    shutil.copyfile(ROOT / "CHANGELOG.md", source / "CHANGELOG.md")
    (source / "docs").mkdir()
    for path in (ROOT / "docs").glob("*.md"):
        shutil.copyfile(path, source / "docs" / path.name)


def _run(python: Path, *arguments: str | Path) -> str:
    """What a program says that the packaged interpreter runs, alone with what is packaged."""
    command = [python, "-I", "-B", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def _write_licences(tree: Path) -> None:
    folder = tree / DOCUMENTS / "third-party"
    folder.mkdir(parents=True)
    for information in environment.libraries(tree).glob("*.dist-info"):
        name = information.name.partition("-")[0]
        if name != "greenboost":
            (folder / f"{name}.txt").write_text(licences.text(information), "utf-8")


def _fill(path: Path, values: Mapping[str, str]) -> None:
    """Writes values in the place of their @NAME@; whatever else stands between two such signs stays."""
    text = path.read_text()
    path.write_text(re.sub("@([A-Z_]+)@", lambda match: values.get(match[1], match[0]), text))


def package(source: Path, out: Path, epoch_s: int) -> Path:
    """Runs Debian's tools over a source tree.

    Returns:
        The package, in its place.
    """
    command = ["dpkg-buildpackage", "--build=binary", "--no-sign", "--no-check-builddeps", "--no-pre-clean"]
    variables = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch_s), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    log = source.parent / "dpkg-buildpackage.log"
    with log.open("wb") as file:
        done = subprocess.run(command, cwd=source, env=variables, stdout=file, stderr=file, check=False)
    if done.returncode:
        sys.stderr.write(log.read_text("utf-8", "replace")[-2000:])
        sys.exit(f"make: dpkg-buildpackage failed; the rest of what it said is in {log}")
    (built,) = source.parent.glob("*.deb")
    out.mkdir(parents=True, exist_ok=True)
    return built.replace(out / built.name)


def main() -> None:
    """Builds it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--wheel", type=Path, required=True, help="greenboost's, for this machine")
    parser.add_argument("--out", type=Path, required=True, help="where the package goes")
    parser.add_argument("--work", type=Path, required=True, help="a folder that is emptied")
    parser.add_argument("--optional", action="store_true", help="missing tools are no error")
    given = parser.parse_args()
    if needed := missing():
        print(f"make: no .deb without {', '.join(needed)} (Debian, Ubuntu: apt-get install {' '.join(needed)})")
        sys.exit(0 if given.optional else 1)
    epoch_s = int(os.environ["SOURCE_DATE_EPOCH"])
    shutil.rmtree(given.work, ignore_errors=True)
    source = given.work.resolve() / "greenboost"
    stage(given.wheel.resolve(), source, epoch_s)
    print(package(source, given.out, epoch_s))


if __name__ == "__main__":
    main()
