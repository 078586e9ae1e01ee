"""A Debian on a disk, with systemd, as a user would have it: made once, in a minute, from Debian's packages."""

import hashlib
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from harness.cache import Cache

from greenboost_py.service.layout import UNIT, USER

RELEASE = "bookworm"
"""Debian 12, whose Python is the oldest that greenboost takes."""

VENV = "/opt/greenboost"
"""Where greenboost goes: a virtual environment that has what greenboost needs, and not greenboost itself."""

_PYTHON = "3.11"
"""The release's own."""

_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "udev", "kmod", "procps", "iproute2", "util-linux-extra"),
    *("python3", "python3-venv", "man-db", "ca-certificates"),
    *("grub-common", "grub2-common", "grub-pc-bin"),
    *("earlyoom", "nohang", "systemd-oomd"),
)
"""A machine's own, what greenboost needs, GRUB's tools, and those who also watch memory."""

_DISABLED = ("earlyoom", "nohang-desktop", "nohang", "systemd-oomd")
"""Who watches memory does so only where a test asks for it."""

_WHEEL_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")

_UNITS = tuple(Path(__file__).with_name(f"guest-test.{kind}") for kind in ("service", "timer"))

_DISK_MIB = 2048
"""Sparse: what it takes on the disk is what is in it."""

_CUSTOMIZE = f"""
set -e
chroot "$1" systemctl disable --quiet {" ".join(_DISABLED)} 2>/dev/null || true
chroot "$1" python3 -m venv {VENV}
mkdir "$1/tmp/wheels"
cp "$2"/* "$1/tmp/wheels"
chroot "$1" sh -c '{VENV}/bin/pip install --quiet --disable-pip-version-check --no-index --no-deps /tmp/wheels/*.whl'
rm -r "$1/tmp/wheels"
cp "$3" "$4" "$1/etc/systemd/system"
chroot "$1" systemctl enable --quiet guest-test.timer
mkdir -p "$1/mnt/test" "$1/usr/lib/modules"
echo guest >"$1/etc/hostname"
echo '127.0.0.1 localhost guest' >"$1/etc/hosts"
echo '/dev/root / ext4 errors=remount-ro 0 1' >"$1/etc/fstab"
# Nothing of these is part of a test, and each takes seconds.
chroot "$1" systemctl mask --quiet systemd-firstboot apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \\
    e2scrub_all.timer e2scrub_reap.service man-db.timer fstrim.timer grub-common.service systemd-timesyncd.service \\
    systemd-pstore.service ldconfig.service getty@tty1.service serial-getty@ttyS0.service
"""


class NoRootError(Exception):
    """There is no Debian in the cache, and none can be made."""


def get_root(cache: Cache) -> Path:
    """A folder with Debian's files, owned as they are there.

    Raises:
        NoRootError: it could not be made.
    """
    requirements = _requirements()
    ingredients = (RELEASE, *_PACKAGES, *requirements, _CUSTOMIZE, *(unit.read_text() for unit in _UNITS))
    try:
        return cache.made("root", ingredients, lambda place: _make_root(place, requirements)) / "root"
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise NoRootError(f"Debian's packages cannot be had: {getattr(error, 'stderr', '') or error}") from error


def get_disk(cache: Cache) -> Path:
    """The same on a disk without partitions: an ext4 file system.

    Raises:
        NoRootError: as `get_root`.
    """
    root = get_root(cache)
    return cache.made("disk", (root.parent.name,), lambda place: _make_disk(root, place)) / "disk"


def get_installed_disk(cache: Cache, wheel: Path) -> Path:
    """The same with greenboost on it, whose service starts with the system.

    Raises:
        NoRootError: as `get_root`.
    """
    root = get_root(cache)

    def make(place: Path) -> None:
        mine = place / "root"
        _run("cp", "-a", "--reflink=auto", str(root), str(mine))
        shutil.copy(wheel, mine / "tmp")
        pip = (f"{VENV}/bin/pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps")
        _run("chroot", str(mine), *pip, f"/tmp/{wheel.name}")
        (mine / "tmp" / wheel.name).unlink()
        _run("chroot", str(mine), "systemd-sysusers", "--inline", f'u {USER} - "{USER}" / -')
        _run("chroot", str(mine), f"{VENV}/bin/greenboost", "service", "install", "--root", "/")
        _run("chroot", str(mine), "systemctl", "enable", "--quiet", UNIT)
        _make_disk(mine, place)
        shutil.rmtree(mine)

    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return cache.made("installed", (root.parent.name, digest), make) / "disk"


def _make_disk(root: Path, place: Path) -> None:
    _run("mkfs.ext4", "-q", "-F", "-d", str(root), "-O", "^has_journal", str(place / "disk"), f"{_DISK_MIB}M")


def _requirements() -> tuple[str, ...]:
    """What greenboost needs, as its project says."""
    project = tomllib.loads((Path(__file__).resolve().parents[3] / "pyproject.toml").read_text())["project"]
    return tuple(project["dependencies"])


def _make_root(place: Path, requirements: tuple[str, ...]) -> None:
    root, wheels = place / "root", place / "wheels"
    platforms = [word for platform in _WHEEL_PLATFORMS for word in ("--platform", platform)]
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    _run(
        *(*pip, "download", "--dest", str(wheels), "--only-binary=:all:", "--python-version", _PYTHON, *platforms),
        *requirements,
    )
    _run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(_PACKAGES)}", RELEASE, str(root))
    _run("sh", "-c", _CUSTOMIZE, "sh", str(root), str(wheels), *map(str, _UNITS))
    shutil.rmtree(wheels)


def _run(*argv: str) -> None:
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
