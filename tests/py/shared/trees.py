"""A folder that stands in for a machine's /."""

from collections.abc import Mapping
from pathlib import Path

Files = Mapping[str, str | bytes | None]


def lay(root: Path, files: Files) -> None:
    """Writes files, and the folders that they lie in.

    Args:
        root: the folder.
        files: what each file holds, by its path there; a text is UTF-8, and its lone surrogates are bytes that are not
            (PEP 383); None: there is no such file.
    """
    for path, content in files.items():
        if content is not None:
            place = root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape"))
