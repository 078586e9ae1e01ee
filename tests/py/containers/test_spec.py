import json
import re
from pathlib import PurePosixPath
from typing import Any

import pytest

from greenboost_py.base.options import load_options
from greenboost_py.containers.spec import DEVICE, FULL_NAME, KIND, Contents, is_ours, spec_text

CONTENTS = Contents("/opt/greenboost/lib/libgreenboost.so", PurePosixPath("/run/greenboost/lease.sock"), True, {})


def made(**changes: Any) -> dict[str, Any]:
    values = {name: getattr(CONTENTS, name) for name in Contents.__dataclass_fields__} | changes
    found: dict[str, Any] = json.loads(spec_text(Contents(**values)))
    return found


def edits(spec: dict[str, Any]) -> dict[str, Any]:
    (device,) = spec["devices"]
    found: dict[str, Any] = device["containerEdits"]
    return found


def test_names_are_as_the_specification_wants_them() -> None:
    """SPEC.md, "Kind" and "CDI Devices"; a digit in front, or a dot in the class, would need a newer version."""
    vendor, slash, kind_class = KIND.partition("/")
    assert slash
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label) for label in vendor.split("."))
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*[A-Za-z0-9]", kind_class)
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_.:-]*[A-Za-z0-9]", DEVICE)
    assert f"{KIND}={DEVICE}" == FULL_NAME
    spec = made()
    assert (spec["kind"], spec["devices"][0]["name"]) == (KIND, DEVICE)


def test_spec_has_nothing_that_its_version_does_not() -> None:
    """0.3.0: mounts without a type, devices without host paths, no annotations, no groups."""
    spec = made(variables={option.env_name: "1" for option in load_options()})
    assert spec.keys() == {"cdiVersion", "kind", "devices"}
    assert spec["cdiVersion"] == "0.3.0"
    assert spec["devices"][0].keys() == {"name", "containerEdits"}
    assert edits(spec).keys() == {"env", "mounts"}
    for mount in edits(spec)["mounts"]:
        assert mount.keys() == {"hostPath", "containerPath", "options"}
        assert all(mount[side].startswith("/") for side in ("hostPath", "containerPath"))
        assert mount["options"] == ["ro", "nosuid", "nodev", "bind"]
    assert all(re.fullmatch(r"[A-Z_]+=.+", each) for each in edits(spec)["env"])


@pytest.mark.parametrize("has_ceilings", [False, True])
def test_mounts_are_library_socket_directory_and_ceilings_where_they_are(has_ceilings: bool) -> None:
    found = edits(made(has_ceilings=has_ceilings))
    mounts = {mount["hostPath"]: mount["containerPath"] for mount in found["mounts"]}
    library = mounts.pop("/opt/greenboost/lib/libgreenboost.so")
    assert f"LD_PRELOAD={library}" in found["env"]
    ceilings = {"/etc/greenboost/ceilings": "/etc/greenboost/ceilings"} if has_ceilings else {}
    assert mounts == {"/run/greenboost": "/run/greenboost"} | ceilings


def test_options_are_in_the_environment_and_name_the_socket_only_once() -> None:
    variables = {"GREENBOOST_HOST_LIMIT": "32GiB", "GREENBOOST_SOCKET": "/srv/gb/lease.sock"}
    found = edits(made(variables=variables, socket=PurePosixPath("/srv/gb/lease.sock")))
    assert found["env"][1:] == ["GREENBOOST_SOCKET=/srv/gb/lease.sock", "GREENBOOST_HOST_LIMIT=32GiB"]
    assert found["mounts"][1]["hostPath"] == "/srv/gb"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", "null", '{"kind": "nvidia.com/gpu"}', '{"kind": ["greenboost.dev/gpu"]}']
)
def test_file_of_somebody_elses_is_not_ours(text: str) -> None:
    assert not is_ours(text)
    assert is_ours(spec_text(CONTENTS))
