"""Prints the time that what is packaged bears, whenever it is made, in seconds since 1970. Standard library only."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FILE = ".source-date-epoch"
"""Only in an sdist, which has no history."""

NO_HISTORY = 315532800
"""1980-01-01, the first day that a zip archive knows: for a tree with neither."""


class HistoryError(Exception):
    """There is a history, and it cannot be read."""


def source_date(root: Path = ROOT) -> int:
    """$SOURCE_DATE_EPOCH, else what the sdist says, else the last commit's time, in seconds since 1970.

    Raises:
        HistoryError: git does not say.

    Source: https://reproducible-builds.org/specs/source-date-epoch/
    """
    said = os.environ.get("SOURCE_DATE_EPOCH")
    if said:
        return int(said)
    if (root / FILE).is_file():
        return int((root / FILE).read_text())
    if not (root / ".git").exists():
        return NO_HISTORY
    try:
        command = ["git", "-C", str(root), "log", "-1", "--format=%ct"]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    except FileNotFoundError as error:
        raise HistoryError(
            "git is missing, which knows the last commit; install it, or set SOURCE_DATE_EPOCH"
        ) from error
    except subprocess.CalledProcessError as error:
        raise HistoryError(f"{' '.join(command)}: {error.stderr.strip()}; or set SOURCE_DATE_EPOCH") from error


def main() -> int:
    """Prints it."""
    try:
        print(source_date())
    except HistoryError as error:
        print(f"make: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
