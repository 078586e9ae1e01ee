"""The .deb: built as `make deb` does, taken apart, and installed in a Debian of its own, of which nothing is left."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import FAKE_DRIVER, ROOT
from packages import clean_environment, run

SOURCES = ("sources.list.d/debian.sources", "sources.list.d/ubuntu.sources", "sources.list")
"""Where this machine's own packages come from, under /etc/apt."""

INCLUDED = ("python3", "systemd", "dbus", "man-db", "libstdc++6", "zlib1g")
"""What an ordinary Debian has and the smallest has not."""

IN_ROOT = 'mount -t proc proc /proc && exec "$@"'


def need(*tools: str) -> None:
    """Leaves a test out, visibly, where a program is missing; each as `program` or `program:package`."""
    for tool in tools:
        program, _, package = tool.partition(":")
        if shutil.which(program) is None:
            pytest.skip(f"no {program} (Debian: {package or program})")


def build(wheel: Path, folder: Path, umask: int = -1, **settings: str) -> Path:
    """Builds the package in a folder."""
    need("dh:debhelper", "dpkg-buildpackage:dpkg-dev", "/usr/bin/python3:python3")
    variables = {"SOURCE_DATE_EPOCH": "1700000000", **settings}
    script = ROOT / "scripts/dist/deb/build.py"
    options = ["--wheel", wheel, "--work", folder / "work", "--out", folder]
    run([sys.executable, script, *options], umask=umask, **variables)
    (built,) = folder.glob("*.deb")
    return built


def unpack(deb: Path, folder: Path) -> Path:
    """What is in a package, with its control files in DEBIAN."""
    run(["dpkg-deb", "--raw-extract", deb, folder])
    return folder


@dataclass(frozen=True)
class Root:
    """A Debian in a folder."""

    folder: Path

    def command(self, *command: str) -> list[str]:
        """Runs there, with no network, and with processes and mounts that end with it."""
        spaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
        return [*spaces, "chroot", str(self.folder), "/bin/sh", "-c", IN_ROOT, "sh", *command]

    def environment(self, **settings: str) -> dict[str, str]:
        usual = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
        return usual | {"DEBIAN_FRONTEND": "noninteractive"} | settings

    def try_run(self, *command: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Runs a command, however it ends."""
        return subprocess.run(
            self.command(*command), env=self.environment(**settings), capture_output=True, text=True, check=False
        )

    def run(self, *command: str, **settings: str) -> str:
        """Runs a command that must succeed; what it says."""
        done = self.try_run(*command, **settings)
        assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def start(self, *command: str, **settings: str) -> "subprocess.Popen[str]":
        """Starts a command, to be talked to."""
        return subprocess.Popen(
            self.command(*command),
            env=self.environment(**settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def install(self, deb: Path) -> str:
        """As a person does: apt, of a file."""
        shutil.copyfile(deb, self.folder / deb.name)
        try:
            return self.run("apt-get", "install", "--yes", "--quiet", f"/{deb.name}")
        finally:
            (self.folder / deb.name).unlink()

    def bring_driver(self) -> str:
        """Puts the simulated driver there; where."""
        place = self.folder / "opt/driver"
        place.mkdir(parents=True)
        for path in FAKE_DRIVER.glob("*.so.1"):
            shutil.copy(path, place)
        return "/opt/driver"

    def files(self) -> dict[str, str]:
        """Every path, with its mode and where it leads; without what apt, dpkg and logs keep of any package."""
        kept = ("var/lib/apt", "var/lib/dpkg", "var/cache", "var/log", "proc", "sys", "dev", "tmp", "opt", "run")
        found = {}
        for at, folders, names in os.walk(self.folder):
            here = Path(at).relative_to(self.folder)
            folders[:] = [name for name in folders if str(here / name) not in kept]
            for name in (*folders, *names):
                path = self.folder / here / name
                link = os.readlink(path) if path.is_symlink() else ""
                found[str(here / name)] = f"{path.lstat().st_mode:o} {link}"
        return found

    def accounts(self) -> dict[str, str]:
        """Who there is."""
        return {name: (self.folder / "etc" / name).read_text() for name in ("passwd", "group", "shadow", "gshadow")}


def make_root(folder: Path) -> Root:
    """A small Debian, as this machine's own; it takes a minute, and the network."""
    if os.geteuid() != 0:
        pytest.skip("only root can make another system's root")
    need("mmdebstrap", "unshare:util-linux")
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    sources = [path for name in SOURCES if (path := Path("/etc/apt") / name).is_file()]
    codename = release.get("VERSION_CODENAME", "").strip('"')
    if not sources or not codename:
        pytest.skip("this machine does not say where its packages come from")
    options = ["--quiet", "--variant=minbase", f"--include={','.join(INCLUDED)}"]
    done = subprocess.run(
        ["mmdebstrap", *options, codename, str(folder), str(sources[0])],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"no Debian can be had here: {done.stderr.strip()[-300:]}")
    return Root(folder)


def bump(deb: Path, folder: Path, version: str) -> Path:
    """The same package with another version, and a library of other bytes."""
    tree = unpack(deb, folder / "bumped")
    control = tree / "DEBIAN/control"
    control.write_text(
        "".join(f"Version: {version}\n" if line.startswith("Version:") else line for line in _lines(control))
    )
    (library,) = tree.rglob("libgreenboost.so")
    with library.open("ab") as file:
        file.write(b"\0")
    out = folder / f"greenboost_{version}.deb"
    run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, out])
    shutil.rmtree(tree)
    return out


def _lines(path: Path) -> Sequence[str]:
    return path.read_text().splitlines(keepends=True)
