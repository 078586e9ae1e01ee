"""scripts/kubernetes, with podman in the kubelet's place: docs/fleet.md, "Kubernetes"."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from bed.place import Place, new_place, reason_without_place
from bed.pods import podman_run, prepare_node, put_volumes
from bed.steps import step
from bed.wait import wait_until
from harness.cache import Cache

MIB = 1 << 20
VRAM_MIB, LIMIT_MIB = 64, 192
TRIES = 5
KUBECTL = Path(sysconfig.get_path("scripts"), "kubectl")
PROGRAMS = {"podman": "podman", "runc": "runc", "conmon": "conmon"}
"""What is needed, and the Debian package that has it."""

OPERATOR_MODELS = "cloudcoil.models.prometheus_operator>=0.80,<1"
"""The schemas of the Prometheus operator's kinds. In a folder of their own: they bring a plugin for pytest along."""

CHECK_MODELS = """
import importlib, json, sys
kinds = importlib.import_module("cloudcoil.models.prometheus_operator.v1")
for resource in json.load(sys.stdin):
    model = getattr(kinds, resource["kind"]).model_validate(resource)
    # What the schema does not know is left out by the model, and missed here.
    print(model.model_dump(by_alias=True, exclude_unset=True, mode="json") == resource)
"""


def get_wheels(cache: Cache, wheel: Path) -> Path:
    """What greenboost needs, as wheels, from the cache or the package registry."""
    with zipfile.ZipFile(wheel) as packed:
        (name,) = (name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
        needs = [line for line in packed.read(name).decode().splitlines() if line.startswith("Requires")]

    def download(folder: Path) -> None:
        with new_place("downloading", folders={"/wheels": folder}, online=True) as place:
            script = f"python3 -m venv /tmp/venv; /tmp/venv/bin/pip download --quiet --dest /wheels {wheel}"
            place.run(f"{script}; rm /wheels/greenboost-*", timeout_s=600)

    return cache.made("wheels", (*needs, sys.version), download)


class Node:
    """A node with the image, and the manifests as `kubectl apply -k` would send them."""

    def __init__(self, place: Place, repository: Path, wheel: Path) -> None:
        self.place = place
        prepare_node(place)
        for folder in ("scripts", "build/dist"):
            place.path(f"/tmp/checkout/{folder}").mkdir(parents=True)
        shutil.copytree(repository / "scripts", place.path("/tmp/checkout/scripts"), dirs_exist_ok=True)
        shutil.copy(wheel, place.path("/tmp/checkout/build/dist"))
        self.run(step("kubernetes-image"), timeout_s=300)
        path = f"{KUBECTL.parent}:/usr/bin:/bin"
        printed = self.run(step("kubernetes-manifests"), environment={"PATH": path, "HOME": "/nowhere"})
        self.resources = {each["kind"]: each for each in yaml.safe_load_all(printed)}
        self.spec = self.resources["DaemonSet"]["spec"]["template"]["spec"]
        put_volumes(place, self.spec, self.resources["ConfigMap"]["data"])

    def run(self, script: str, **options: Any) -> str:
        return self.place.run(f"cd /tmp/checkout; {script}", **options).stdout

    def in_daemon(self, script: str) -> str:
        return self.place.run(f"podman exec daemon sh -c '{script}'").stdout

    def logs(self, name: str) -> str:
        return self.run(f"podman logs {name} 2>&1")

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.in_daemon("greenboost status --json"))
        return found


@pytest.fixture(scope="module")
def node(repository: Path, fleet_dir: Path, wheel: Path) -> Iterator[Node]:
    """One on which the daemon's pod runs."""
    if (reason := reason_without_place()) is not None:
        pytest.skip(reason)
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: {package})")
    with new_place("node", folders={"/wheels": get_wheels(Cache(fleet_dir), wheel)}) as place:
        made = Node(place, repository, wheel)
        (install,), (daemon,) = made.spec["initContainers"], made.spec["containers"]
        made.run(podman_run(made.spec, install, "--rm"))
        made.run(podman_run(made.spec, daemon, "--detach --name daemon"))
        probe = " ".join(daemon["livenessProbe"]["exec"]["command"])
        wait_until(lambda: "daemon" in json.loads(made.in_daemon(f"{probe} --json || true") or "{}"), "it is alive")
        yield made


def test_first_container_leaves_on_the_node_what_programs_need(node: Node) -> None:
    spec = json.loads(node.place.path("/etc/cdi/greenboost.json").read_text())
    assert spec["kind"] == "greenboost.dev/gpu"
    library = node.place.path("/var/lib/greenboost/lib/libgreenboost.so")
    assert library.read_bytes()[:4] == b"\x7fELF"
    assert str(library).endswith(spec["devices"][0]["containerEdits"]["mounts"][0]["hostPath"])


def test_daemon_of_the_pod_has_the_rights_of_the_manifest_and_no_others(node: Node) -> None:
    status = dict(line.split(":\t") for line in node.in_daemon("cat /proc/self/status").splitlines() if ":\t" in line)
    # CAP_SYS_PTRACE and CAP_SYS_RESOURCE of linux/capability.h, as far as this machine has them to give.
    given = (1 << 19 | 1 << 24) & int(re.findall(r"^CapBnd:\t(.*)", Path("/proc/self/status").read_text(), re.M)[0], 16)
    for key in ("CapEff", "CapPrm", "CapBnd"):
        assert int(status[key], 16) == given
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert node.in_daemon("for place in / /etc /host/sys/fs/cgroup; do touch $place/x 2>&1 || true; done").count(
        "Read-only file system"
    ) == len(("/", "/etc", "/host/sys/fs/cgroup"))
    pid = node.place.run("sleep infinity >/dev/null 2>&1 & echo $!", user="nobody").stdout.strip()
    assert node.in_daemon(f"ls /proc/{pid}/fdinfo").split() == ["0", "1", "2"]
    node.run(f"kill {pid}")


def test_daemon_of_the_pod_answers_prometheus(node: Node) -> None:
    (daemon,) = node.spec["containers"]
    port = {each["name"]: each["containerPort"] for each in daemon["ports"]}[
        daemon["readinessProbe"]["httpGet"]["port"]
    ]
    address = f"http://127.0.0.2:{port}{daemon['readinessProbe']['httpGet']['path']}"  # 0.0.0.0 is every address
    text = node.in_daemon(f'python3 -c "import urllib.request as r; print(r.urlopen(\\"{address}\\").read().decode())"')
    assert "greenboost_build_info" in text


def test_program_of_a_pod_is_leased_memory_by_pid_and_refused_within_its_limit(node: Node, repository: Path) -> None:
    pod = node.place.run("cat /tmp/checkout/scripts/kubernetes/example/pod.yaml").stdout
    spec = yaml.safe_load(pod)["spec"]
    put_volumes(node.place, spec, {})
    (main,) = spec["containers"]
    main["image"] = node.spec["containers"][0]["image"]
    main["command"], main["args"] = ["sh", "-c"], ["sleep infinity | python3 /programs/fill.py 512 wait"]
    main["resources"]["limits"]["memory"] = f"{LIMIT_MIB}Mi"
    given = (
        f"--detach --name program --env=LD_LIBRARY_PATH=/driver --env=FAKECUDA_VRAM={VRAM_MIB}MiB"
        f" --volume={repository / 'build/fake_driver'}:/driver:ro"
        f" --volume={repository / 'tests/fleet/programs'}:/programs:ro"
    )
    for _ in range(TRIES):
        node.run("podman rm --force --ignore --time 0 program")
        node.run(podman_run(spec, main, given))
        wait_until(lambda: node.logs("program"), "the program says something")
        if "the daemon at" not in node.logs("program"):
            break  # else it missed its time for an answer, as it may on a busy machine
    got = re.search(r"^got (\d+) MiB$", node.logs("program"), re.MULTILINE)
    assert got is not None, node.logs("program")
    identity = node.run("podman inspect --format '{{.Id}}' program").strip()
    leases, text = node.status()["daemon"]["leases"], node.in_daemon("greenboost status")
    assert leases["clients"] == 1, node.logs("program")
    (lease,) = leases["programs"]
    group = node.run(f"cat /proc/{lease['pid']}/cgroup")
    node.run("podman rm --force --time 0 program")
    assert VRAM_MIB < int(got[1]) < LIMIT_MIB
    assert identity in group
    assert f"container: {identity[:12]} (podman)" in text
    assert lease["held_bytes"] >= (int(got[1]) - VRAM_MIB) * MIB
    # The container's limit, as the daemon sees it from a container of its own.
    assert leases["refused"].get("cgroup", 0) >= 1


def test_kinds_of_the_prometheus_operator_fit_its_schemas(repository: Path, fleet_dir: Path) -> None:
    def install(folder: Path) -> None:
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", folder)
        subprocess.run((*pip, OPERATOR_MODELS), check=True)

    models = Cache(fleet_dir).made("operator-models", (OPERATOR_MODELS, sys.version), install)
    kustomize = (KUBECTL, "kustomize", repository / "scripts/kubernetes/cluster")
    built = yaml.safe_load_all(subprocess.run(kustomize, stdout=subprocess.PIPE, check=True).stdout)
    resources = [each for each in built if each["apiVersion"] == "monitoring.coreos.com/v1"]
    assert [each["kind"] for each in resources] == ["PodMonitor", "PrometheusRule"]
    wrong = [{**each, "spec": {**each["spec"], "groupss": []}} for each in resources]
    check = (sys.executable, "-c", CHECK_MODELS)
    given = json.dumps([*resources, *wrong])
    said = subprocess.run(
        check, input=given, text=True, stdout=subprocess.PIPE, check=True, env={"PYTHONPATH": str(models)}
    )
    assert said.stdout.split() == ["True", "True", "False", "False"]
