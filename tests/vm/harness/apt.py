"""Debian's packages: looked up and downloaded, never installed; of the machine's own release or of another."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True, slots=True)
class Apt:
    """Where packages come from.

    Attributes:
        options: of apt's tools.
    """

    options: tuple[str, ...] = ()

    def show(self, package: str) -> str:
        """What is said of a package's newest version.

        Raises:
            subprocess.CalledProcessError: there is none.
        """
        return _run("apt-cache", *self.options, "show", "--no-all-versions", package)

    def unpack(self, package: str, version: str, folder: Path) -> None:
        """Downloads a package, and unpacks what is in it into a folder.

        Raises:
            subprocess.CalledProcessError: it cannot be had.
        """
        # As whoever runs this: apt's own user could not write here.
        own = ("-o", "APT::Sandbox::User=root")
        _run("apt-get", "-qq", *self.options, *own, "download", f"{package}={version}", folder=folder)
        (deb,) = folder.glob("*.deb")
        _run("dpkg-deb", "--extract", str(deb), ".", folder=folder)
        deb.unlink()


def of_suite(suite: str, folder: Path) -> Apt:
    """Another of Debian's releases, from the mirror that the machine has.

    Args:
        suite: as testing.
        folder: where its lists go.

    Raises:
        subprocess.CalledProcessError: it cannot be had.
        LookupError: the machine has no mirror of Debian's.
    """
    said = _run("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages")
    mirrors = [line.removeprefix("Debian ") for line in said.splitlines() if line.startswith("Debian ")]
    if not mirrors:
        raise LookupError("apt has no mirror of Debian")
    (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
    sources = folder / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYRING}] {mirrors[0]} {suite} main\n")
    settings = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder,
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    apt = Apt(tuple(word for name, value in settings.items() for word in ("-o", f"{name}={value}")))
    _run("apt-get", "-qq", *apt.options, "update")
    return apt


def _run(*argv: str, folder: Path | None = None) -> str:
    done = subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return done.stdout
