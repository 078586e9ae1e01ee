"""Which container a process is in, by its cgroup's path, and what the container's engine calls it.

The path is the kernel's word. Of containers in containers the outermost counts: this machine's engine made it, while
whoever is inside may name the groups below as it likes.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.cgroup_place import read_cgroup_path

_SHORT = 12
"""As many digits as every engine shows."""

_GROUP = re.compile(r"(?:(?P<prefix>[a-z-]+)-)?(?P<id>[0-9a-f]{64})(?:\.scope)?")
"""A container's group: Docker and podman with systemd's or their own groups, containerd, CRI-O."""

_ENGINES = {
    "docker": "docker",
    "libpod": "podman",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "cri-o",
}
"""By what stands before the id; an engine's monitor, as libpod-conmon-, is in no container."""

_POD = re.compile(r"(?:[a-z-]*kubepods[a-z-]*-)?pod([0-9a-f]{8}[0-9a-f_-]{24,28})(?:\.slice)?")
"""A Kubernetes pod's group: its uid, with underscores for dashes under systemd; a static pod's has neither."""

_USERS = re.compile(r"user@\d+\.service")
"""What is below belongs to a user, who names the groups there: nothing of root's is looked up for them."""

_STORAGE = "var/lib/containers/storage"
_DOCKER = "var/lib/docker/containers"
_PODS = "var/log/containers"


@dataclass(frozen=True, slots=True)
class Container:
    """A container.

    Attributes:
        engine: docker, podman, containerd or cri-o.
        id: 64 hexadecimal digits.
        pod: the uid of its Kubernetes pod; None: it is in none.
        name: what its engine calls it, of a pod NAMESPACE/POD/CONTAINER; somebody's to choose, so not fit for a
            terminal as it is. None: not known, or not for this user to read.
    """

    engine: str
    id: str
    pod: str | None = None
    name: str | None = None

    @property
    def label(self) -> str:
        """Its name, else the beginning of its id."""
        return self.name or self.id[:_SHORT]


def container_of(path: str) -> Container | None:
    """The container that a cgroup belongs to. Pure.

    Args:
        path: the group, as /proc/PID/cgroup says.
    """
    pod, above = None, ""
    for part in path.split("/"):
        if (found := _POD.fullmatch(part)) is not None:
            pod = found[1].replace("_", "-")
        elif (group := _GROUP.fullmatch(part)) is not None:
            prefix = group["prefix"]
            engine = _ENGINES.get(prefix) if prefix else "docker" if above == "docker" else "containerd"
            if engine is not None:
                return Container(engine, group["id"], pod)
        above = part
    return None


def read_container(root: SysRoot, pid: int) -> Container | None:
    """The container that a process is in, with its name where that can be read.

    Raises:
        SensorError: /proc is malformed.
    """
    found = read_cgroup_path(root, pid)
    container = None if found is None else container_of(found[1])
    if found is None or container is None or any(_USERS.fullmatch(part) for part in found[1].split("/")):
        return container
    return replace(container, name=next(_names(root, container), None))


def _names(root: SysRoot, container: Container) -> Iterator[str]:
    """What the engine's files call it; what they hold beside is the engine's own affair, and never an error here."""
    try:
        if container.pod is not None:
            yield from _pod_names(root.names(_PODS) or (), container.id)
        if container.engine == "docker":
            yield from _docker_names(root.read_bytes(f"{_DOCKER}/{container.id}/config.v2.json"))
        if container.engine == "podman":
            for folder in root.folders(_STORAGE) or ():
                if folder.endswith("-containers"):
                    yield from _podman_names(root.read_bytes(f"{_STORAGE}/{folder}/containers.json"), container.id)
    except SensorError:
        return


def _pod_names(links: tuple[str, ...], identity: str) -> Iterator[str]:
    """Source: the kubelet's links to logs, POD_NAMESPACE_CONTAINER-ID.log; no part of them has an underscore."""
    for link in links:
        head, separator, tail = link.rpartition("-")
        parts = head.split("_")
        if separator and tail == f"{identity}.log" and len(parts) == 3:
            yield f"{parts[1]}/{parts[0]}/{parts[2]}"


def _docker_names(data: bytes | None) -> Iterator[str]:
    """Source: Docker's daemon/container, config.v2.json: `Name` has a slash in front."""
    found = _parse(data)
    if isinstance(found, dict) and isinstance(name := found.get("Name"), str) and name.strip("/"):
        yield name.removeprefix("/")


def _podman_names(data: bytes | None, identity: str) -> Iterator[str]:
    """Source: containers-storage, containers.json: a list of objects with `id` and `names`."""
    found = _parse(data)
    for each in found if isinstance(found, list) else ():
        if isinstance(each, dict) and each.get("id") == identity and isinstance(names := each.get("names"), list):
            yield from (name for name in names if isinstance(name, str) and name)


def _parse(data: bytes | None) -> object:
    try:
        found: object = None if data is None else json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found
