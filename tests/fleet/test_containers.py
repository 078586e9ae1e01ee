"""Containers of a real runtime, podman, that get GreenBoost as a device: docs/fleet.md, "Containers"."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing.jsonschema
from bed.images import get_roots
from bed.place import Place, PlaceError
from bed.steps import step
from harness.apt import Apt
from harness.cache import Cache

VRAM_MIB = 64
WITH_GPU = "--device nvidia.com/gpu=all"
WITH_BOTH = f"{WITH_GPU} --device greenboost.dev/gpu=all"
PATIENCE_S = 60.0

GRANTS = "the daemon at /run/greenboost/lease.sock grants host memory"
"""What the library says at info; a daemon that is busy may be asked again at the next chance."""

PROGRAMS = {
    "podman": "podman",
    "runc": "runc",
    "conmon": "conmon",
    "mmdebstrap": "mmdebstrap",
    "musl-gcc": "musl-tools",
    "busybox": "busybox-static",
}
"""What is needed, and the Debian package that has it."""

CONTAINERS_CONF = """
[containers]
netns = "none"
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "file"
"""
"""No systemd, no network, and no limits raised: what a place can give."""

STORAGE_CONF = """
[storage]
driver = "vfs"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
"""


MAKE_USER = """
useradd --create-home --uid 4321 lab
echo lab:200000:65536 | tee /etc/subuid /etc/subgid
install -d -o lab -g lab /run/user/4321 /home/lab/.config /home/lab/.config/containers
sed 's|^graphroot.*|graphroot = "/home/lab/storage"|; s|^runroot.*|runroot = "/run/user/4321/storage"|' \\
    /etc/containers/storage.conf >/home/lab/.config/containers/storage.conf
"""


def gpu_spec(driver: Path) -> str:
    """The GPU's own device, as its vendor's tool would describe it: here it is the simulated driver."""
    libraries = ("libcuda.so.1", "libnvidia-ml.so.1")
    mounts = [
        {
            "hostPath": str(driver / name),
            "containerPath": f"/usr/lib/x86_64-linux-gnu/{name}",
            "options": ["ro", "bind"],
        }
        for name in libraries
    ]
    edits = {"env": [f"FAKECUDA_VRAM={VRAM_MIB}MiB"], "mounts": mounts}
    devices = [{"name": "all", "containerEdits": edits}]
    return json.dumps({"cdiVersion": "0.3.0", "kind": "nvidia.com/gpu", "devices": devices})


class Node:
    """A machine with podman, three images, and a GPU of 64 MiB."""

    def __init__(self, place: Place, roots: Path) -> None:
        self.place, self._roots = place, roots
        self._daemon: subprocess.Popen[str] | None = None
        for path, text in {
            "/etc/containers/containers.conf": CONTAINERS_CONF,
            "/etc/containers/storage.conf": STORAGE_CONF,
            "/etc/cdi/nvidia.json": gpu_spec(roots / "driver"),
        }.items():
            place.path(path).parent.mkdir(parents=True, exist_ok=True)
            place.path(path).write_text(text)
        self.import_image("trainer")

    def import_command(self, name: str) -> str:
        change = '--change \'CMD ["/bin/fill", "512"]\''
        return f"tar -C {self._roots / name} -c . | podman import --quiet {change} - {name}"

    def import_image(self, name: str) -> None:
        self.run(self.import_command(name))

    def run(self, script: str, **options: Any) -> str:
        ended = self.place.run(script, **options)
        return ended.stdout + ended.stderr

    def start_daemon(self) -> None:
        self._daemon = self.place.start("exec greenboost daemon")
        self.wait_for(lambda: self.status()["daemon"] is not None)

    def stop_daemon(self) -> None:
        if self._daemon is not None:
            os.killpg(self._daemon.pid, signal.SIGTERM)
            self._daemon.communicate(timeout=PATIENCE_S)
            self._daemon = None

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.place.run("greenboost status --json", check=False).stdout)
        return found

    def leased_bytes(self) -> int:
        return int(self.status()["daemon"]["leases"]["held_bytes"])

    def wait_for(self, condition: Callable[[], Any]) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < until_s
            time.sleep(0.05)

    def start_container(self, name: str, arguments: str, options: str = "") -> None:
        self.run(f"podman run --detach --name {name} {WITH_BOTH} {options} trainer /bin/fill {arguments}")
        self.wait_for(lambda: "got" in self.logs(name))

    def logs(self, name: str) -> str:
        return self.run(f"podman logs {name}")


@pytest.fixture
def node(place: Callable[..., Place], fleet_dir: Path) -> Iterator[Node]:
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: {package})")
    made = Node(place("node"), get_roots(Cache(fleet_dir / "containers")))
    yield made
    made.stop_daemon()


SCHEMA = "golang-github-container-orchestrated-devices-container-device-interface-dev"


def get_schema(cache: Cache) -> dict[str, Any]:
    """The published schema's two files, as a Debian package has them."""
    try:
        version = re.search(r"^Version: (.*)$", Apt().show(SCHEMA), re.MULTILINE)
        assert version is not None
        folder = cache.made("cdi", (SCHEMA, version[1]), lambda folder: Apt().unpack(SCHEMA, version[1], folder))
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"{SCHEMA} cannot be had (Debian: apt-get update): {error}")
    return {name: json.loads(next(folder.rglob(name)).read_text()) for name in ("schema.json", "defs.json")}


def test_spec_is_one_by_the_published_schema(node: Node, fleet_dir: Path) -> None:
    files = get_schema(Cache(fleet_dir / "containers"))
    registry = referencing.Registry().with_resource(
        "defs.json", referencing.jsonschema.DRAFT7.create_resource(files["defs.json"])
    )
    schema = jsonschema.Draft7Validator(files["schema.json"], registry=registry)
    node.run("mkdir -p /etc/greenboost; echo HOST_LIMIT=128MiB >/etc/greenboost/ceilings")
    spec = json.loads(node.place.run("greenboost cdi generate --host-limit 32GiB").stdout)
    assert list(schema.iter_errors(spec)) == []
    spec["devices"][0]["containerEdits"]["mounts"][0].pop("hostPath")
    assert len(list(schema.iter_errors(spec))) == 1


def test_first_job_of_the_page_overflows_and_status_names_its_container(node: Node) -> None:
    node.start_daemon()
    node.run(step("containers-install"))
    assert node.run(f"podman run --rm {WITH_GPU} trainer") == f"got {VRAM_MIB} MiB\n"
    assert node.run(step("containers-run")) == "got 512 MiB\n"

    node.start_container("web", "256 /never 0")
    (program,) = node.status()["programs"]
    assert (program["container"]["engine"], program["container"]["name"]) == ("podman", "web")
    assert program["pid"] != 1
    text = node.run(step("containers-status"))
    assert "container: web (podman)" in text
    assert "fill" in text

    node.run("podman rm --force --time 0 web")
    node.wait_for(lambda: node.status()["daemon"]["leases"]["clients"] == 0)
    after = node.status()
    assert (after["programs"], after["daemon"]["leases"]["held_bytes"]) == ([], 0)


def test_container_with_the_least_rights_has_it_as_well(node: Node) -> None:
    node.start_daemon()
    node.run(step("containers-install"))
    least = "--read-only --tmpfs /run --cap-drop all --security-opt no-new-privileges --user 65534:65534"
    run = f"podman run --rm {WITH_BOTH} {least} -e GREENBOOST_LOG=info trainer"
    assert "got 512 MiB" in node.run(run)
    node.wait_for(lambda: GRANTS in node.run(run))


def test_user_sees_the_own_program_in_a_container_by_its_pid_outside(node: Node) -> None:
    node.run(step("containers-install"))
    node.start_container("web", "128 /never 0", "--user 65534:65534")
    seen = node.place.run("greenboost status --json", user="nobody", check=False).stdout
    (program,) = json.loads(seen)["programs"]
    assert node.place.path(f"/proc/{program['pid']}/comm").read_text() == "fill\n"
    assert program["container"]["id"] == node.run("podman inspect --format '{{.Id}}' web").strip()
    assert program["container"]["name"] is None  # podman's files are root's


def test_limit_of_the_container_is_what_leases_keep_within(node: Node) -> None:
    node.start_daemon()
    node.run(step("containers-install"))

    def is_refused_by_the_daemon() -> bool:
        """Where it took too long to answer, the program refuses by the same rule."""
        got_mib = int(node.run(f"podman run --rm --memory 256m {WITH_BOTH} trainer").split()[1])
        assert VRAM_MIB < got_mib < VRAM_MIB + 256
        return bool(node.status()["daemon"]["leases"]["refused"].keys() == {"cgroup"})

    node.wait_for(is_refused_by_the_daemon)


def test_container_starts_without_a_daemon_and_meets_each_new_one(node: Node) -> None:
    assert "no daemon listens at /run/greenboost/lease.sock" in node.run(step("containers-install"))
    node.start_container("web", "128 /tmp/go 256 /tmp/on 384 /never 0")
    for file, got_mib in (("/tmp/go", 256), ("/tmp/on", 384)):
        node.start_daemon()
        node.run(f"podman exec web touch {file}")
        node.wait_for(lambda got_mib=got_mib: f"got {got_mib} MiB" in node.logs("web"))
        node.wait_for(lambda got_mib=got_mib: node.leased_bytes() >= (got_mib - VRAM_MIB) << 20)
        node.stop_daemon()


def test_library_that_is_replaced_is_the_new_containers_and_not_the_old_ones(node: Node) -> None:
    node.start_daemon()
    install = "greenboost cdi install --copy-library /srv/greenboost"
    node.run(install)
    node.start_container("before", "128 /never 0")
    node.run("cp /srv/greenboost/libgreenboost.so /srv/next.so; echo >>/srv/next.so")
    assert "wrote /srv/greenboost/libgreenboost.so" in node.run(
        install, environment={"GREENBOOST_LIBRARY": "/srv/next.so"}
    )
    node.start_container("after", "128 /never 0")
    sizes = [
        node.run(f"podman exec {name} /bin/busybox stat -c %s /usr/lib/greenboost/libgreenboost.so")
        for name in ("before", "after")
    ]
    assert int(sizes[1]) == int(sizes[0]) + 1
    assert node.run("podman exec before /bin/fill 128") == "got 128 MiB\n"
    node.wait_for(lambda: node.status()["daemon"]["leases"]["clients"] == 2)
    assert {program["container"]["name"] for program in node.status()["programs"]} == {"before", "after"}


def test_image_with_an_older_glibc_than_the_hosts_has_it_all_the_same(node: Node) -> None:
    node.import_image("old-glibc")
    node.run(step("containers-install"))
    libc = "/lib64/ld-linux-x86-64.so.2 /lib/x86_64-linux-gnu/libc.so.6"
    assert "version 2.31" in node.run(f"podman run --rm old-glibc {libc}")
    assert "got 512 MiB" in node.run(f"podman run --rm {WITH_BOTH} old-glibc")


def test_program_of_an_image_with_musl_goes_on_after_one_line(node: Node) -> None:
    node.import_image("musl")
    node.run(step("containers-install"))
    ended = node.place.run(f"podman run --rm {WITH_BOTH} musl /bin/sh -c '/bin/fill 8; /bin/fill 8; echo done'")
    assert ended.stdout == "done\n"
    said = [line for line in ended.stderr.splitlines() if "greenboost" in line]
    assert len(said) == 2 and all("no glibc" in line for line in said)  # the shell is linked statically
    assert ended.stderr.count("libcuda.so.1") == 2


def test_environment_of_a_user_raises_nothing_that_the_administrator_allows(node: Node) -> None:
    node.run("mkdir -p /etc/greenboost; echo HOST_LIMIT=128MiB >/etc/greenboost/ceilings")
    node.run(step("containers-install"))
    hostile = "-e GREENBOOST_HOST_LIMIT=1TiB -e GREENBOOST_HOST_RESERVE=0 -e GREENBOOST_SOCKET=/nowhere -e LD_PRELOAD=/evil.so"
    assert f"got {VRAM_MIB + 128} MiB" in node.run(f"podman run --rm {WITH_BOTH} {hostile} trainer")
    lower = "-e GREENBOOST_HOST_LIMIT=32MiB"
    assert f"got {VRAM_MIB + 32} MiB" in node.run(f"podman run --rm {WITH_BOTH} {lower} trainer")
    without_ours = "-e GREENBOOST_DISABLE=1"
    assert f"got {VRAM_MIB} MiB" in node.run(f"podman run --rm {WITH_BOTH} {without_ours} trainer")


def test_rootless_container_overflows_leases_and_keeps_the_ceilings(node: Node) -> None:
    if shutil.which("newuidmap") is None:
        pytest.skip("newuidmap is not installed (Debian: uidmap)")
    node.start_daemon()
    node.run("mkdir -p /etc/greenboost; echo HOST_LIMIT=128MiB >/etc/greenboost/ceilings")
    node.run(step("containers-install"))
    node.run(MAKE_USER)
    own = {"HOME": "/home/lab", "XDG_RUNTIME_DIR": "/run/user/4321"}
    options = "-e GREENBOOST_HOST_LIMIT=1TiB -e GREENBOOST_LOG=info"
    run = f"cd; {node.import_command('trainer')}; podman run --rm {WITH_BOTH} {options} trainer"
    assert f"got {VRAM_MIB + 128} MiB" in node.run(run, user="lab", environment=own)
    node.wait_for(lambda: GRANTS in node.run(run, user="lab", environment=own))


def test_removed_device_cannot_be_asked_for_and_a_running_container_keeps_it(node: Node) -> None:
    node.run(step("containers-install"))
    node.start_container("web", "128 /tmp/go 256 /never 0")
    assert "removed /etc/cdi/greenboost.json" in node.run(step("containers-remove"))
    with pytest.raises(PlaceError, match=r"greenboost\.dev/gpu=all"):
        node.run(f"podman run --rm {WITH_BOTH} trainer")
    node.run("podman exec web touch /tmp/go")
    node.wait_for(lambda: "got 256 MiB" in node.logs("web"))
