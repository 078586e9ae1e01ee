"""greenboost installed as docs/fleet.md says, once for all places."""

import sys
from pathlib import Path

from bed.place import new_place
from bed.steps import step
from harness.cache import Cache

OPT = "/opt/greenboost"


def get_installed(cache: Cache, wheel: Path) -> Path:
    """What is in /opt/greenboost then, from the cache or made now; what it needs comes from the package registry."""
    ingredients = (wheel.read_bytes().hex(), sys.version, step("install"))
    return cache.made("installed", ingredients, lambda folder: _install(wheel, folder))


def _install(wheel: Path, folder: Path) -> None:
    with new_place("installing", folders={OPT: folder}, online=True) as place:
        place.run(f"cd {wheel.parents[2]}\n" + step("install"), timeout_s=600)
