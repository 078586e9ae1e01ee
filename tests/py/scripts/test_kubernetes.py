"""scripts/kubernetes: what Kustomize makes of it, held against the published schemas and against the code."""

import copy
import re
import subprocess
import sysconfig
import tomllib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from greenboost_py.base import config_file
from greenboost_py.base.config import MetricsConfig
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.base.units import parse_size
from greenboost_py.broker.paths import server_place
from greenboost_py.containers.spec import Contents, spec_text

Resource = dict[str, Any]
Built = Callable[[str], dict[str, Resource]]

FIRST_VERSION = 30
"""Of Kubernetes: 1.30 brought recursive read-only mounts."""

OPERATORS = "monitoring.coreos.com/v1"


def documents(text: str) -> dict[str, Resource]:
    """The resources of a text by their kinds, of which there is one each."""
    found = [each for each in yaml.safe_load_all(text) if each is not None]
    assert len({each["kind"] for each in found}) == len(found)
    return {each["kind"]: each for each in found}


@pytest.fixture(scope="session")
def scripts(repository: Path) -> Path:
    return repository / "scripts"


@pytest.fixture(scope="session")
def built(scripts: Path) -> Built:
    """What `kubectl apply -k` would send."""
    kubectl = Path(sysconfig.get_path("scripts"), "kubectl")

    def build(name: str) -> dict[str, Resource]:
        done = subprocess.run(
            (kubectl, "kustomize", scripts / "kubernetes" / name),
            capture_output=True,
            text=True,
            env={"HOME": "/nowhere"},
        )
        assert (done.returncode, done.stderr) == (0, "")
        return documents(done.stdout)

    return build


@pytest.fixture(scope="session")
def daemon_set(built: Built) -> Resource:
    return built("cluster")["DaemonSet"]


def pod_spec(daemon_set: Resource) -> Resource:
    spec: Resource = daemon_set["spec"]["template"]["spec"]
    return spec


def containers(spec: Resource) -> list[Resource]:
    return [*spec.get("initContainers", ()), *spec["containers"]]


def mounts(spec: Resource, container: Resource) -> dict[str, tuple[str, bool]]:
    """The node's path and whether it is read-only, by the path in the container."""
    paths = {each["name"]: each["hostPath"]["path"] for each in spec["volumes"] if "hostPath" in each}
    return {
        each["mountPath"]: (paths[each["name"]], each.get("readOnly", False))
        for each in container["volumeMounts"]
        if each["name"] in paths
    }


def versions() -> list[str]:
    newest = int(kubernetes_validate.latest_version().split(".")[1])
    return [f"1.{FIRST_VERSION}", f"1.{newest}"]


@pytest.mark.parametrize("version", versions())
@pytest.mark.parametrize("overlay", ["base", "cluster", "example"])
def test_manifests_of_kubernetes_fit_the_published_schemas(built: Built, overlay: str, version: str) -> None:
    for resource in built(overlay).values():
        if resource["apiVersion"] != OPERATORS:
            kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "template", "spec", "hostPid"), True),
        (("spec", "template", "spec", "hostPID"), "yes"),
        (("spec", "template", "spec", "containers", 0, "securityContext", "capabilities", "adds"), ["KILL"]),
        (("spec", "template", "spec", "volumes", 0), {"hostPath": {"path": "/"}}),
        (("spec", "selector"), "all"),
    ],
)
def test_daemon_set_with_a_mistake_does_not_fit_the_schema(
    daemon_set: Resource, path: tuple[str | int, ...], value: object
) -> None:
    wrong: Any = copy.deepcopy(daemon_set)
    inner = wrong
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_rules_of_the_operator_are_those_of_prometheus(built: Built, scripts: Path) -> None:
    rules = yaml.safe_load((scripts / "prometheus/greenboost.rules.yaml").read_text())
    assert rules["groups"]
    assert built("cluster")["PrometheusRule"]["spec"] == rules


def test_pod_monitor_finds_the_port_of_the_daemons_pods(built: Built, daemon_set: Resource) -> None:
    monitor = built("cluster")["PodMonitor"]
    labels = daemon_set["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert monitor["spec"]["jobLabel"] in labels
    assert monitor["metadata"]["namespace"] == daemon_set["metadata"]["namespace"]
    ports = [port["name"] for each in containers(pod_spec(daemon_set)) for port in each.get("ports", ())]
    assert [each["port"] for each in monitor["spec"]["podMetricsEndpoints"]] == ports == ["metrics"]


def test_network_policy_lets_in_prometheus_alone_and_nothing_out(built: Built) -> None:
    spec = built("cluster")["NetworkPolicy"]["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == []
    (rule,) = spec["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": "metrics"}]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]


def test_daemon_set_listens_where_programs_and_prometheus_look(built: Built, daemon_set: Resource) -> None:
    spec = pod_spec(daemon_set)
    (daemon,) = spec["containers"]
    socket = server_place({}, spec["securityContext"]["runAsUser"]).path
    assert mounts(spec, daemon)[str(socket.parent)] == (str(socket.parent), False)
    listen = tomllib.loads(built("cluster")["ConfigMap"]["data"]["config.toml"])["metrics"]["listen"]
    (port,) = daemon["ports"]
    assert listen.endswith(f":{port['containerPort']}")
    assert MetricsConfig().listen.endswith(f":{port['containerPort']}")


def test_config_of_the_pods_has_no_mistakes_and_lies_where_the_daemon_looks(
    built: Built, daemon_set: Resource, tmp_path: Path
) -> None:
    config = built("cluster")["ConfigMap"]
    path = tmp_path / config_file.SYSTEM_FILE
    path.parent.mkdir(parents=True)
    (text,) = config["data"].values()
    path.write_text(text)
    assert not config_file.load(SysRoot(tmp_path), config_file.SYSTEM_FILE, required=True).notify.desktop
    spec = pod_spec(daemon_set)
    (volume,) = (each["name"] for each in spec["volumes"] if "configMap" in each)
    (mounted,) = (each for each in spec["containers"][0]["volumeMounts"] if each["name"] == volume)
    (name,) = config["data"]
    assert f"{mounted['mountPath']}/{name}" == f"/{config_file.SYSTEM_FILE}"


def test_daemon_set_has_no_more_rights_than_the_service(daemon_set: Resource, repository: Path) -> None:
    unit = (repository / "greenboost_py/service/files/greenboostd.service").read_text()

    def of_unit(key: str) -> str:
        (value,) = re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)
        return str(value)

    spec = pod_spec(daemon_set)
    assert not {"hostNetwork", "hostIPC"} & spec.keys()
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in containers(spec):
        rights = each["securityContext"]
        assert rights["capabilities"]["drop"] == ["ALL"]
        assert (rights["privileged"], rights["allowPrivilegeEscalation"]) == (False, False)
        assert rights["readOnlyRootFilesystem"] is True
    install, daemon = containers(spec)
    assert "add" not in install["securityContext"]["capabilities"]
    added = daemon["securityContext"]["capabilities"]["add"]
    assert [f"CAP_{name}" for name in added] == of_unit("CapabilityBoundingSet").split()
    # Kubernetes leaves off the B of MiB.
    assert parse_size(f"{daemon['resources']['limits']['memory']}B") == parse_size(of_unit("MemoryMax"))


def test_daemon_set_writes_to_nothing_of_the_node_but_what_programs_need(daemon_set: Resource) -> None:
    spec = pod_spec(daemon_set)
    written = {
        path for each in containers(spec) for path, is_read_only in mounts(spec, each).values() if not is_read_only
    }
    assert written == {"/run/greenboost", "/etc/cdi", "/var/lib/greenboost/lib"}


def test_nothing_asks_the_api_server_for_anything(built: Built) -> None:
    assert not [kind for kind in built("cluster") if "Role" in kind]
    assert built("cluster")["ServiceAccount"]["automountServiceAccountToken"] is False


def test_example_gets_what_a_container_gets_by_its_device(built: Built, daemon_set: Resource) -> None:
    install = containers(pod_spec(daemon_set))[0]
    library = f"{install['args'][install['args'].index('--copy-library') + 1]}/libgreenboost.so"
    socket = PurePosixPath(server_place({}, 0).path)
    (device,) = yaml.safe_load(spec_text(Contents(library, socket, True, {})))["devices"]
    edits = device["containerEdits"]
    pod = built("example")["Pod"]["spec"]
    (main,) = pod["containers"]
    assert [f"{each['name']}={each['value']}" for each in main["env"]] == edits["env"]
    # A pod mounts the folders that the device's files lie in, and sees what is put there anew.
    found = mounts(pod, main)
    assert len(found) == len(edits["mounts"])
    for mount in edits["mounts"]:
        assert "ro" in mount["options"]
        inside, host = PurePosixPath(mount["containerPath"]), PurePosixPath(mount["hostPath"])
        is_folder = str(inside) in found
        folder, of_host = (inside, host) if is_folder else (inside.parent, host.parent)
        assert found[str(folder)] == (str(of_host), True)


def test_example_finds_on_the_node_what_the_daemons_pod_puts_there(built: Built, daemon_set: Resource) -> None:
    spec, pod = pod_spec(daemon_set), built("example")["Pod"]["spec"]
    put = {path for each in containers(spec) for path, _ in mounts(spec, each).values()}
    assert {path for path, _ in mounts(pod, pod["containers"][0]).values()} <= put
