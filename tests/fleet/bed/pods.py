"""A node's stand-in for the kubelet: podman runs what a pod's spec says, with the rights and the folders that it says.

Source: the pod's specification, kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1. A field that is not
known here is an error, not left out.
"""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from bed.place import Place

Spec = Mapping[str, Any]

CONTAINERS_CONF = """
[containers]
netns = "none"
cgroupns = "private"
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
volumes = ["/usr:/usr:ro", "/wheels:/wheels:ro"]
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "file"
"""
"""As containerd and CRI-O do with cgroup v2, each container has a cgroup namespace of its own. Programs are this machine's."""

STORAGE_CONF = """
[storage]
driver = "overlay"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
"""

BASE = """
mkdir -p /var/lib/containers /usr/lib/greenboost
mount -t tmpfs storage /var/lib/containers
mkdir -p base/{etc,proc,sys,dev,run,tmp,usr,wheels,var}
ln -s usr/bin usr/sbin usr/lib usr/lib64 base
cp /etc/ld.so.cache base/etc
printf 'root:x:0:0::/:/bin/sh\\nnobody:x:65534:65534::/:/bin/sh\\n' >base/etc/passwd
printf '[global]\\nno-index = true\\nfind-links = /wheels\\n' >base/etc/pip.conf
tar -C base -c . | podman import --quiet --change ENV=PATH=/usr/bin:/bin:/usr/local/bin - docker.io/library/python:3.13-slim
"""
"""An image of the name that the Containerfile begins with, which has this machine's programs, and no network."""

KNOWN_OF_POD = {
    *("containers", "initContainers", "volumes", "hostPID", "securityContext", "automountServiceAccountToken"),
    *("serviceAccountName", "serviceAccount", "enableServiceLinks", "dnsPolicy", "nodeSelector", "tolerations"),
    *("priorityClassName", "terminationGracePeriodSeconds", "runtimeClassName", "restartPolicy"),
}
KNOWN_OF_CONTAINER = {
    *("name", "image", "command", "args", "env", "securityContext", "resources", "volumeMounts", "ports"),
    *("livenessProbe", "readinessProbe"),
}
KNOWN_RIGHTS = {
    *("runAsUser", "runAsGroup", "runAsNonRoot", "seccompProfile", "privileged", "allowPrivilegeEscalation"),
    *("readOnlyRootFilesystem", "capabilities"),
}


def prepare_node(node: Place) -> None:
    """Has podman run there; `/wheels` is a folder of the node's."""
    for path, text in (("containers.conf", CONTAINERS_CONF), ("storage.conf", STORAGE_CONF)):
        node.path(f"/etc/containers/{path}").parent.mkdir(parents=True, exist_ok=True)
        node.path(f"/etc/containers/{path}").write_text(text)
    node.run(f"cd /tmp; {BASE}")


def put_volumes(node: Place, spec: Spec, config: Mapping[str, str]) -> None:
    """Makes the folders of the node that a pod asks to be made, and the files of its ConfigMap."""
    for volume in spec["volumes"]:
        folder = node.path(_source(volume))
        if "configMap" in volume:
            folder.mkdir(parents=True)
            for name, text in config.items():
                (folder / name).write_text(text)
        elif volume["hostPath"]["type"] == "DirectoryOrCreate":
            folder.mkdir(parents=True, exist_ok=True)
        else:
            assert volume["hostPath"]["type"] == "Directory" and folder.is_dir()


def podman_run(spec: Spec, container: Spec, options: str = "") -> str:
    """The command that runs a container of a pod.

    Args:
        spec: the pod's.
        container: one of its containers.
        options: further ones of podman's.
    """
    rights = {**spec["securityContext"], **container["securityContext"]}
    for known, said in ((KNOWN_OF_POD, spec), (KNOWN_OF_CONTAINER, container), (KNOWN_RIGHTS, rights)):
        assert not said.keys() - known
    assert rights["seccompProfile"] == {"type": "RuntimeDefault"} and not rights.get("privileged")
    words = ["podman", "run", *options.split(), *_rights(rights), *_volumes(spec, container)]
    words += [f"--memory={container['resources']['limits']['memory'].removesuffix('i')}"]
    words += ["--pid=host"] if spec.get("hostPID") else []
    words += [f"--env={each['name']}={each['value']}" for each in container.get("env", ())]
    command = container.get("command", [])
    words += [f"--entrypoint={command[0]}"] if command else []
    return shlex.join([*words, container["image"], *command[1:], *container.get("args", [])])


def _rights(rights: Spec) -> Iterator[str]:
    yield f"--user={rights['runAsUser']}:{rights.get('runAsGroup', 0)}"
    for name in rights["capabilities"].get("drop", ()):
        yield f"--cap-drop={name}"
    for name in rights["capabilities"].get("add", ()):
        yield f"--cap-add={name}"
    if not rights["allowPrivilegeEscalation"]:
        yield "--security-opt=no-new-privileges"
    if rights.get("readOnlyRootFilesystem"):
        yield from ("--read-only", "--read-only-tmpfs=false")


def _volumes(spec: Spec, container: Spec) -> Iterator[str]:
    sources = {volume["name"]: _source(volume) for volume in spec["volumes"]}
    for mount in container["volumeMounts"]:
        mode = "ro" if mount.get("readOnly") else "rw"
        yield f"--volume={sources[mount['name']]}:{mount['mountPath']}:{mode},rbind"


def _source(volume: Spec) -> str:
    return f"/tmp/config/{volume['name']}" if "configMap" in volume else volume["hostPath"]["path"]
