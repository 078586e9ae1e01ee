"""On which line of a TOML text a key stands: tomllib tells what a text says, not where."""

import tomllib
from collections.abc import Iterator
from typing import Any

_STATEMENT_LINES_MAX = 100
_STATEMENT_CHARACTERS_MAX = 1 << 14
"""A statement of many lines is parsed once for each of them: beyond this, where the keys are is left unknown."""

Path = tuple[str, ...]


def key_lines(text: str, depth_max: int = 2) -> dict[Path, int]:
    """Where tables and keys first appear.

    The text is parsed statement by statement by tomllib itself, so quoted and dotted keys, inline tables and texts of
    many lines need no grammar of our own.

    Args:
        text: valid TOML.
        depth_max: longer paths are left out.

    Returns:
        Line numbers, from 1, by path; for example `("ram", "warn")`. After a statement that is too long to be looked
        at, nothing is known any more.
    """
    lines: dict[Path, int] = {}
    table: Path = ()
    for number, text_of_one, said in _statements(text):
        is_header = text_of_one.lstrip(" \t").startswith("[")
        paths = list(_paths(said, depth_max))
        if is_header:
            table = paths[-1] if paths else ()
        for path in paths:
            full = path if is_header else table + path
            if len(full) <= depth_max:
                lines.setdefault(full, number)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Each header and each pair of key and value: its first line's number, its text, and what it says."""
    pending, first = "", 1
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if not pending:
            first = number
        pending += line + "\n"
        try:
            said = tomllib.loads(pending)
        except (ValueError, RecursionError):
            if number - first >= _STATEMENT_LINES_MAX or len(pending) > _STATEMENT_CHARACTERS_MAX:
                return
            continue  # a text or an array that goes on
        if said:
            yield first, pending, said
        pending = ""


def _paths(said: dict[str, Any], depth_max: int) -> Iterator[Path]:
    """Every path in what one statement says, a table's before those in it."""
    waiting: list[tuple[Path, Any]] = [((), said)]
    while waiting:
        path, value = waiting.pop()
        if path:
            yield path
        if isinstance(value, list):
            value = value[0] if len(value) == 1 and value[0] == {} else None  # [[name]]
        if isinstance(value, dict) and len(path) <= depth_max:
            waiting += [((*path, key), below) for key, below in reversed(value.items())]
