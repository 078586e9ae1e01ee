"""What an installation puts where, written down before it is done, so that it can be finished or undone at any time."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from greenboost_py.base.errors import InstallError, SensorError
from greenboost_py.base.sysroot import SysRoot

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Record:
    """What was installed.

    Attributes:
        version: of the greenboost that wrote it.
        is_complete: whether that installation came to its end.
        files: by path, the digests of what was written there: one, or while it is being replaced two.
        folders: those that were missing, the outermost first.
        made_user: whether the daemon's user was missing.
    """

    version: str
    is_complete: bool
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    made_user: bool = False

    def to_bytes(self) -> bytes:
        """The file's content: JSON."""
        content = {
            "format": _FORMAT,
            "version": self.version,
            "complete": self.is_complete,
            "files": {path: list(digests) for path, digests in self.files.items()},
            "folders": list(self.folders),
            "made_user": self.made_user,
        }
        return (json.dumps(content, indent=2) + "\n").encode()


def parse_record(data: bytes, source: str) -> Record:
    """Reads a record.

    Raises:
        InstallError: it is not one, or one that this version cannot read.
    """
    try:
        content: Any = json.loads(data)
        if content["format"] != _FORMAT:
            raise InstallError(f"{source} was written by another version of greenboost: use that one")
        record = Record(
            version=_checked(content["version"], str),
            is_complete=_checked(content["complete"], bool),
            files={_path(path): tuple(map(_digest, digests)) for path, digests in content["files"].items()},
            folders=tuple(map(_path, content["folders"])),
            made_user=_checked(content["made_user"], bool),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InstallError(
            f"{source} is damaged: remove it, then run 'greenboost service install --force', which writes it anew"
        ) from error
    return record


def read_record(root: SysRoot, path: str) -> Record | None:
    """The record of the present installation; None: there is none.

    Raises:
        InstallError: there is one that cannot be read.
    """
    try:
        data = root.read_bytes(path)
    except SensorError as error:
        raise InstallError(str(error)) from error
    return None if data is None else parse_record(data, f"/{path}")


def digest(data: bytes) -> str:
    """What tells one content from another."""
    return hashlib.sha256(data).hexdigest()


def survey(root: SysRoot, paths: Iterable[str]) -> dict[str, str | None]:
    """What is at each path: the digest of a file, None for nothing, and a few words for what is no readable file."""
    return {path: _look(root, path) for path in paths}


def _look(root: SysRoot, path: str) -> str | None:
    if root.link_text(path) is not None:
        return "a link"
    try:
        data = root.read_bytes(path)
    except SensorError as error:
        return error.text
    if data is None:
        return "closed" if root.is_closed(path) else None
    return digest(data)


def _checked(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(value)
    return value


def _digest(value: Any) -> str:
    text: str = _checked(value, str)
    return text


def _path(value: Any) -> str:
    """A path that is inside the tree: what a record names will be removed."""
    path = PurePosixPath(_checked(value, str))
    if path.is_absolute() or not path.parts or ".." in path.parts:
        raise ValueError(value)
    return str(path)
