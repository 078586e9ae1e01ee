"""glibc 2.31, where the loader's calls are in libdl and threads in libpthread: Debian 11's, unpacked, never installed."""

import lzma
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import NO_DAEMON, ROOT
from packages import clean_environment

PACKAGES = ("libc6", "libc6-dev", "linux-libc-dev")
RELEASE = "bullseye"
TRIPLET = "x86_64-linux-gnu"


class NotHereError(Exception):
    """It cannot be had on this machine."""


@dataclass(frozen=True)
class OldGlibc:
    """A system's root with nothing but the C library and what compiling against it takes."""

    root: Path

    @property
    def libraries(self) -> Path:
        return self.root / "lib" / TRIPLET

    @property
    def cc(self) -> list[str]:
        """A compiler for it."""
        lib = self.root / "usr/lib" / TRIPLET
        return ["cc", f"--sysroot={self.root}", f"-B{lib}", f"-L{lib}"]

    def compile(self, source: str, target: Path, *flags: str) -> Path:
        """Compiles a program, or with the flags for it a library."""
        target.with_suffix(".c").write_text(source)
        subprocess.run([*self.cc, "-o", target, target.with_suffix(".c"), *flags], check=True)
        return target

    def run(
        self, command: Sequence[str | Path], preload: Path | None, driver: Path, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program by its loader, with a library in it or without."""
        loader = self.libraries / "ld-linux-x86-64.so.2"
        with_it = [] if preload is None else ["--preload", preload]
        env = clean_environment(GREENBOOST_SOCKET=NO_DAEMON, **settings)
        return subprocess.run(
            [loader, "--library-path", f"{self.libraries}:{driver}", *with_it, *command],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )


def unpack(root: Path) -> OldGlibc:
    """Fetches it from where this machine's own packages come from.

    Raises:
        NotHereError: there is no such place, or another kind of machine.
    """
    if os.uname().machine != "x86_64" or shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NotHereError("glibc 2.31 is taken from Debian, for x86-64 (Debian: apt, dpkg)")
    try:
        site = _mirror()
        index = lzma.decompress(_get(f"{site}/dists/{RELEASE}/main/binary-amd64/Packages.xz")).decode()
        for package in PACKAGES:
            found = re.search(rf"^Package: {package}\n(?:.+\n)*?Filename: (.+)\n", index, re.MULTILINE)
            if found is None:
                raise NotHereError(f"{site} has no {package} of {RELEASE}")
            deb = root / "package.deb"
            deb.write_bytes(_get(f"{site}/{found[1]}"))
            subprocess.run(["dpkg-deb", "--extract", deb, root], check=True)
            deb.unlink()
    except urllib.error.URLError as error:
        raise NotHereError(f"Debian's mirror does not give {RELEASE}: {error}") from error
    for link in root.rglob("*"):
        if link.is_symlink() and os.path.isabs(target := os.readlink(link)):
            link.unlink()
            link.symlink_to(f"{root}{target}")
    return OldGlibc(root)


def _mirror() -> str:
    """Where apt has packages from.

    Raises:
        NotHereError: it does not say.
    """
    asked = ["apt-get", "indextargets", "--format", "$(SITE) $(ORIGIN)", "Created-By: Packages"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines()
    sites = [site for site, _, origin in (line.partition(" ") for line in said) if origin == "Debian"]
    if not sites:
        raise NotHereError("apt knows no mirror of Debian's")
    return sites[0]


def _get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=60) as answer:
        content: bytes = answer.read()
        return content


def make_artifacts(old: OldGlibc, build: Path) -> None:
    """Compiles the library, the simulated driver and the clients against it, as on a system of that time."""
    command = ["make", "--silent", "test-artifacts", f"BUILD={build}", f"CC={' '.join(old.cc)}"]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
