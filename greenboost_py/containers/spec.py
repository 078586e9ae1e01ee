"""The Container Device Interface spec: the library, the daemon's socket and the environment, as one device. Pure.

Source: the specification, SPEC.md of tags.cncf.io/container-device-interface.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from greenboost_py.base.ceilings import CEILINGS_PATH
from greenboost_py.base.shim_files import LIBRARY_NAME

KIND = "greenboost.dev/gpu"
DEVICE = "all"

FULL_NAME = f"{KIND}={DEVICE}"
"""What a user says after --device."""

_CDI_VERSION = "0.3.0"
"""The lowest that the specification's own `MinimumRequiredVersion` gives: no mount has a type (0.4.0), no device a host
path or a digit in front (0.5.0), nothing is annotated (0.6.0). Podman 4.1, the first to read specs, knows it."""

_LIBRARY_INSIDE = f"/usr/lib/greenboost/{LIBRARY_NAME}"
"""Where a container has the library, wherever the host does."""

_MOUNT_OPTIONS = ("ro", "nosuid", "nodev", "bind")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a container gets; paths are the host's.

    Attributes:
        library: the shim's library; absolute, links resolved.
        socket: the daemon's; its directory is what is mounted, for a daemon that starts anew makes a new socket.
        has_ceilings: whether the administrator's file is there.
        variables: the options that were given, as environment variables.
    """

    library: str
    socket: PurePosixPath
    has_ceilings: bool
    variables: Mapping[str, str]


def spec_text(contents: Contents) -> str:
    """The spec as a file has it."""
    return json.dumps(_spec(contents), indent=2) + "\n"


def is_ours(text: str) -> bool:
    """Whether a file is a spec of this kind; what cannot be read as one is not."""
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return isinstance(found, dict) and found.get("kind") == KIND


def _spec(contents: Contents) -> dict[str, Any]:
    folder = str(contents.socket.parent)
    environment = {
        "LD_PRELOAD": _LIBRARY_INSIDE,
        "GREENBOOST_SOCKET": str(contents.socket),
        **contents.variables,
    }
    mounts = [_mount(contents.library, _LIBRARY_INSIDE), _mount(folder, folder)]
    if contents.has_ceilings:
        mounts.append(_mount(f"/{CEILINGS_PATH}", f"/{CEILINGS_PATH}"))
    edits = {"env": [f"{name}={value}" for name, value in environment.items()], "mounts": mounts}
    return {"cdiVersion": _CDI_VERSION, "kind": KIND, "devices": [{"name": DEVICE, "containerEdits": edits}]}


def _mount(host: str, inside: str) -> dict[str, Any]:
    return {"hostPath": host, "containerPath": inside, "options": list(_MOUNT_OPTIONS)}
