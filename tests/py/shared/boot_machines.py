"""Machines that boot somehow, made of files; and what is planned for them, to be compared."""

import struct
from pathlib import Path

from trees import Files, lay

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.kernel_params.machine import Machine
from greenboost_py.kernel_params.plan import Plan

_VENDOR = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
_BOOT_AND_RUN_TIME = 6


def machine(root: Path, *parts: Files, is_live: bool = False) -> Machine:
    """A tree; later parts win, None leaves a file out."""
    lay(root, {path: content for part in parts for path, content in part.items()})
    return Machine(SysRoot(root), is_live)


def efi_variable(name: str, text: str) -> dict[str, str | bytes | None]:
    """What a boot loader says of itself, as Linux shows it: attributes, then UTF-16.

    Source: https://systemd.io/BOOT_LOADER_INTERFACE/
    """
    content = struct.pack("<I", _BOOT_AND_RUN_TIME) + f"{text}\0".encode("utf-16-le")
    return {f"sys/firmware/efi/efivars/{name}-{_VENDOR}": content}


def edits(plan: Plan) -> dict[str, str | None]:
    """What each file is to hold; None: it goes."""
    return {edit.path: None if edit.after is None else edit.after.decode() for edit in plan.edits}


def argvs(plan: Plan) -> list[str]:
    """The commands that are to run."""
    return [" ".join(command.argv) for command in plan.commands]
