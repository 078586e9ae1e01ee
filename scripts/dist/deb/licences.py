"""What the libraries in the .deb allow: a file for each, of its own words."""

from email.parser import Parser
from pathlib import Path


def text(information: Path) -> str:
    """What one library allows.

    Args:
        information: its folder *.dist-info.

    Raises:
        ValueError: it does not say.
    """
    metadata = Parser().parsestr((information / "METADATA").read_text("utf-8"))
    licence = metadata["License-Expression"] or metadata["License"]
    texts = sorted(path for path in information.rglob("*") if path.is_file() and _is_licence(path))
    if licence is None and not texts:
        raise ValueError(f"{information.name} says nothing of its licence")
    parts = [f"{metadata['Name']} {metadata['Version']}", f"Licence: {licence or 'see below'}"]
    return "\n\n".join([*parts, *(_shown(path, information) for path in texts)]) + "\n"


def _is_licence(path: Path) -> bool:
    return path.name.upper().startswith(("LICEN", "COPYING", "NOTICE", "AUTHORS")) or "licenses" in path.parts


def _shown(path: Path, information: Path) -> str:
    content = path.read_text("utf-8", "replace").strip()
    return f"--- {path.relative_to(information)}\n\n{content}"
