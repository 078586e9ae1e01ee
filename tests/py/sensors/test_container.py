import json
from pathlib import Path

import pytest
from trees import lay

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.container import Container, container_of, read_container

A, B = "3f" * 32, "c0" * 32
UID = "2c48913c-b29f-11e7-9350-020968147796"
UID_SYSTEMD = UID.replace("-", "_")
STATIC_UID = "8d5b1f3a" * 4


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", None),
        ("/user.slice/user-1000.slice/session-2.scope", None),
        ("/system.slice/sshd.service", None),
        ("/slurm/uid_1000/job_7/step_0/task_0", None),
        (f"/docker/{A}", Container("docker", A)),
        (f"/system.slice/docker-{A}.scope", Container("docker", A)),
        (f"/docker/buildkit/{A}", Container("containerd", A)),
        (f"/libpod_parent/libpod-{A}", Container("podman", A)),
        (f"/machine.slice/libpod-{A}.scope", Container("podman", A)),
        (f"/machine.slice/libpod-{A}.scope/container", Container("podman", A)),
        (f"/machine.slice/libpod-conmon-{A}.scope", None),
        (f"/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope", Container("podman", A)),
        (
            f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container",
            Container("podman", A),
        ),
        (f"/system.slice/nerdctl-{A}.scope", Container("containerd", A)),
        (f"/default/{A}", Container("containerd", A)),
        (f"/kubepods/besteffort/pod{UID}/{A}", Container("containerd", A, UID)),
        (f"/kubepods/pod{STATIC_UID}/{A}", Container("containerd", A, STATIC_UID)),
        (f"/kubepods/burstable/pod{UID}/crio-{A}", Container("cri-o", A, UID)),
        (f"/kubepods/burstable/pod{UID}/crio-conmon-{A}", None),
        (
            f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_SYSTEMD}.slice/cri-containerd-{A}.scope",
            Container("containerd", A, UID),
        ),
        (
            f"/kubepods.slice/kubepods-pod{UID_SYSTEMD}.slice/crio-{A}.scope/container",
            Container("cri-o", A, UID),
        ),
        (f"/kubepods.slice/kubepods-pod{UID_SYSTEMD}.slice/docker-{A}.scope", Container("docker", A, UID)),
        # Seen from a cgroup namespace beside it.
        (f"/../../libpod_parent/libpod-{A}", Container("podman", A)),
        # In another one: who is inside names what is below.
        (f"/docker/{A}/kubelet/kubepods/besteffort/pod{UID}/{B}", Container("docker", A)),
        (f"/system.slice/docker-{A}.scope/libpod_parent/libpod-{B}", Container("docker", A)),
        # Not quite.
        (f"/docker/{A[:-1]}", None),
        (f"/docker/{A}0", None),
        (f"/docker/{A.upper()}", None),
        (f"/system.slice/evil-{A}.scope", None),
        (f"/kubepods/podx/{A[:12]}", None),
    ],
)
def test_container_of_a_cgroup_path_is_engine_id_and_pod(path: str, found: Container | None) -> None:
    assert container_of(path) == found


def machine(tmp_path: Path, group: str, files: dict[str, str]) -> SysRoot:
    lay(tmp_path, {"proc/7/cgroup": f"0::{group}\n", **files})
    return SysRoot(tmp_path)


STORAGE = "var/lib/containers/storage/overlay-containers/containers.json"
NAMED = json.dumps([{"id": B, "names": ["other"]}, {"id": A, "names": ["web"]}])


@pytest.mark.parametrize(
    ("group", "files", "name"),
    [
        (f"/docker/{A}", {f"var/lib/docker/containers/{A}/config.v2.json": '{"Name": "/web"}'}, "web"),
        (f"/libpod_parent/libpod-{A}", {STORAGE: NAMED}, "web"),
        (
            f"/kubepods/pod{UID}/{A}",
            {f"var/log/containers/trainer-0_lab_main-{A}.log": "", f"var/log/containers/x_lab_y-{B}.log": ""},
            "lab/trainer-0/main",
        ),
        (f"/kubepods/pod{UID}/{A}", {f"var/log/containers/odd-{A}.log": ""}, None),
        (f"/docker/{A}", {}, None),
        (f"/default/{A}", {STORAGE: NAMED}, None),
        # A user's groups are the user's to name: root's container is not named for them.
        (f"/user.slice/user-7.slice/user@7.service/libpod-{A}.scope", {STORAGE: NAMED}, None),
    ],
)
def test_read_container_has_the_name_that_the_engine_wrote(
    tmp_path: Path, group: str, files: dict[str, str], name: str | None
) -> None:
    found = read_container(machine(tmp_path, group, files), 7)
    assert found is not None
    assert (found.id, found.name, found.label) == (A, name, name or A[:12])


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "7", '{"Name": 7}', '{"Name": "/"}', "[" * 100_000, "\0", "\udcff"]
)
def test_read_container_with_an_odd_file_of_the_engine_has_no_name(tmp_path: Path, text: str) -> None:
    root = machine(tmp_path, f"/docker/{A}", {})
    file = tmp_path / f"var/lib/docker/containers/{A}/config.v2.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode(errors="surrogateescape"))
    assert read_container(root, 7) == Container("docker", A)


@pytest.mark.parametrize(
    "text", ["[7]", '[{"id": 7}]', f'[{{"id": "{A}"}}]', f'[{{"id": "{A}", "names": [7, ""]}}]', "{}"]
)
def test_read_container_with_an_odd_list_of_the_storage_has_no_name(tmp_path: Path, text: str) -> None:
    assert read_container(machine(tmp_path, f"/libpod_parent/libpod-{A}", {STORAGE: text}), 7) == Container("podman", A)


def test_read_container_of_a_process_that_is_gone_or_in_none_is_none(tmp_path: Path) -> None:
    root = machine(tmp_path, "/system.slice/cron.service", {})
    assert read_container(root, 7) is None
    assert read_container(root, 8) is None
