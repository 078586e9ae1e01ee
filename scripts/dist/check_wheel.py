"""Says whether a wheel runs wherever its name says that it does; auditwheel looks which symbols its libraries need.

usage: check_wheel.py WHEEL

Exit code 1 where they are too new, or where it needs other libraries than the platform's own.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

_TAG = re.compile(r"manylinux_(\d+)_(\d+)_(\w+)$")


class WheelError(Exception):
    """The wheel's name promises what is inside cannot keep."""


def needed(wheel: Path) -> dict[str, Any]:
    """What auditwheel says of it.

    Raises:
        WheelError: it says nothing.
    """
    command = [sys.executable, "-m", "auditwheel", "show", "--json", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise WheelError(f"{wheel}: auditwheel cannot read it: {done.stderr.strip()}")
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def check(wheel: Path) -> str:
    """Compares the platform in its name with what it needs; returns the latter.

    Raises:
        WheelError: it needs more.
    """
    said = needed(wheel)
    promised, found = _TAG.search(wheel.stem), _TAG.search(said["overall_tag"])
    if promised is None:
        raise WheelError(f"{wheel}: no manylinux platform in its name")
    if found is None or found[3] != promised[3] or _version(found) > _version(promised):
        symbols = {
            library: sorted(versions, key=_numbers)[-1] for library, versions in said["versioned_symbols"].items()
        }
        raise WheelError(
            f"{wheel}: made for {promised[0]}, but needs {said['overall_tag']}:"
            f" newest symbols {symbols}, other libraries {sorted(said['external_libs'])}; see shim/base/loader.h"
        )
    return found[0]


def _version(tag: re.Match[str]) -> tuple[int, int]:
    return int(tag[1]), int(tag[2])


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def main() -> int:
    """Prints what it needs."""
    try:
        print(f"{sys.argv[1]}: needs {check(Path(sys.argv[1]))}")
    except WheelError as error:
        print(f"make: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
