"""A throwaway copy of this machine: its files, with a root, processes, a network, a name and memory cgroups of its own.

What is written there lies in memory; what runs there ends with it. Root alone can make one.

    this machine's root (read) + what is written (memory)   --overlayfs-->   /
    folders that are kept                                   --bind-->        where they are wanted
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

SETUP = Path(__file__).with_name("place.sh")
_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/bin"
_REPOSITORY = Path(__file__).resolve().parents[3]
_READY_S = 30.0
_CGROUPS = Path("/sys/fs/cgroup")
_NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--cgroup")


class PlaceError(Exception):
    """What was run in a place failed; the message has what it said."""


def reason_without_place() -> str | None:
    """Why this machine can have none; None: it can."""
    if os.geteuid() != 0:
        return "a place of its own can only be made by root"
    tried = subprocess.run(
        (
            "unshare",
            *_NAMESPACES,
            "--fork",
            "sh",
            "-ec",
            "mount -t tmpfs none /mnt; cd /mnt; mkdir u w m; " + _TRY_OVERLAY,
        ),
        capture_output=True,
        text=True,
    )
    return None if tried.returncode == 0 else f"no overlay file system here: {tried.stderr.strip()}"


_TRY_OVERLAY = "mount -t overlay none -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/m"


class Place:
    """A place that runs. See `new_place`.

    Attributes:
        name: its host name.
        pid: its process 1, as seen from this machine.
    """

    def __init__(self, name: str, pid: int, groups: Sequence[Path]) -> None:
        self.name, self.pid, self._groups = name, pid, groups

    def path(self, path: str) -> Path:
        """Where a file of the place is, seen from this machine."""
        return Path(f"/proc/{self.pid}/root", path.lstrip("/"))

    def run(
        self,
        script: str,
        *,
        timeout_s: float = 120.0,
        check: bool = True,
        environment: Mapping[str, str] | None = None,
        user: str = "root",
    ) -> subprocess.CompletedProcess[str]:
        """Runs a script in bash and waits for it; it ends at its first command that fails.

        Raises:
            PlaceError: it failed, and `check` is set; or it took too long.
        """
        process = self.start(script, environment=environment, user=user)
        try:
            output, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate()
            raise PlaceError(f"after {timeout_s} s:\n{script}\n--- stdout\n{output}\n--- stderr\n{errors}") from error
        if check and process.returncode:
            raise PlaceError(f"status {process.returncode}:\n{script}\n--- stdout\n{output}\n--- stderr\n{errors}")
        return subprocess.CompletedProcess(script, process.returncode, output, errors)

    def start(
        self, script: str, *, environment: Mapping[str, str] | None = None, user: str = "root"
    ) -> subprocess.Popen[str]:
        """Starts a script in bash, as the leader of a process group, with pipes; it ends with the place at the latest."""
        as_user = () if user == "root" else ("runuser", "-u", user, "--")
        return subprocess.Popen(
            ("nsenter", "--target", str(self.pid), "--all", "--root", "--wd", *as_user, "bash", "-ec", script),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": _PATH, "HOME": "/root", **(environment or {})},
            start_new_session=True,
            preexec_fn=lambda: _enter(self._groups),
        )


@contextmanager
def new_place(
    name: str, *, folders: Mapping[str, Path] | None = None, switch: "Switch | None" = None, online: bool = False
) -> Iterator[Place]:
    """Makes a place, and takes it away again with all that runs there.

    Its /run, /tmp and /dev/shm are empty. The repository is there as everything else is, where it is on this machine.

    Args:
        name: its host name.
        folders: this machine's folders by their paths in the place, where they can be written.
        switch: the network that it is on, as eth0; without one it has only its loopback device.
        online: it has this machine's network instead.
    """
    folder = Path(mkdtemp(prefix=f"place-{name}-"))
    groups = _new_groups(f"greenboost-test-{folder.name}")
    holder = None
    try:
        holder = subprocess.Popen(
            (
                *("setpriv", "--pdeathsig", "KILL"),  # who is killed himself leaves none running
                *("unshare", *_NAMESPACES, *(() if online else ("--net",)), "--fork", "--kill-child"),
                *("bash", "-e", str(SETUP), str(folder), name, str(_REPOSITORY)),
                *(word for pair in (folders or {}).items() for word in map(str, pair)),
            ),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": _PATH},
            preexec_fn=lambda: _enter(groups),
        )
        pid = _wait_until_ready(holder)
        if switch is not None:
            switch.connect(pid)
        yield Place(name, pid, groups)
    finally:
        if holder is not None:
            holder.kill()
            with holder:
                pass  # closes its pipe and waits
        shutil.rmtree(folder, ignore_errors=True)
        for group in groups:
            _remove_group(group)


def _wait_until_ready(holder: subprocess.Popen[str]) -> int:
    """The place's process 1, once it has moved there."""
    until_s = time.monotonic() + _READY_S
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
    while time.monotonic() < until_s and holder.poll() is None:
        for pid in children.read_text().split():
            if Path(f"/proc/{pid}/root/run/place").exists():
                return int(pid)
        time.sleep(0.01)
    holder.kill()
    assert holder.stderr is not None
    raise PlaceError(f"the place could not be made: {holder.stderr.read()}")


def _new_groups(name: str) -> list[Path]:
    """A cgroup in each hierarchy of this machine, for all that runs in a place."""
    tops = [_CGROUPS] if (_CGROUPS / "cgroup.procs").exists() else [top for top in _CGROUPS.iterdir() if top.is_dir()]
    tops = list({os.path.realpath(top): Path(os.path.realpath(top)) for top in tops}.values())
    groups = [top / name for top in tops]
    for group in groups:
        group.mkdir()
        for file in ("cpuset.cpus", "cpuset.mems"):  # cgroup v1 takes no process before they are set
            if (group / file).exists():
                (group / file).write_text((group.parent / file).read_text())
    return groups


def _enter(groups: Sequence[Path]) -> None:
    for group in groups:
        (group / "cgroup.procs").write_text(str(os.getpid()))


def _remove_group(group: Path) -> None:
    """Removes it and those below; the kernel takes a moment to see that its processes have gone."""
    until_s = time.monotonic() + 5
    for folder, _, _ in os.walk(group, topdown=False):
        while True:
            with suppress(FileNotFoundError):
                try:
                    os.rmdir(folder)
                except OSError:
                    if time.monotonic() > until_s:
                        raise
                    time.sleep(0.02)
                    continue
            break


class Switch:
    """A network of places, 10.77.0.0/24, which no other machine is on. See `new_switch`."""

    def __init__(self, pid: int) -> None:
        self._pid, self._count = pid, 0

    def connect(self, place_pid: int) -> str:
        """Gives a place a device eth0, and its address: 10.77.0.1, then .2 and so on."""
        self._count += 1
        address, port = f"10.77.0.{self._count}", f"port{self._count}"
        script = f"""
            ip link add {port} type veth peer name eth0 netns {place_pid}
            ip link set {port} master switch up
            nsenter --target {place_pid} --net sh -ec 'ip address add {address}/24 dev eth0; ip link set eth0 up'
        """
        subprocess.run(("nsenter", "--target", str(self._pid), "--net", "bash", "-ec", script), check=True)
        return address


@contextmanager
def new_switch() -> Iterator[Switch]:
    """Makes a network, and takes it away again."""
    holder = subprocess.Popen(
        ("unshare", "--net", "bash", "-ec", "ip link add switch type bridge; ip link set switch up; echo; exec cat"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    try:
        if not holder.stdout.readline():
            raise PlaceError("no network can be made")
        yield Switch(holder.pid)
    finally:
        holder.kill()
        holder.communicate()
