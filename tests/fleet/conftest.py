"""Places with greenboost installed, and networks of them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from bed.installed import OPT, get_installed
from bed.place import Place, Switch, new_place, new_switch, reason_without_place
from bed.steps import step
from harness.cache import Cache

from greenboost_py import __version__


@pytest.fixture(scope="session")
def fleet_dir(repository: Path) -> Path:
    """Where what is made for these tests is kept."""
    return repository / "build/fleet"


@pytest.fixture(scope="session")
def wheel(repository: Path) -> Path:
    """What `make wheel` has made."""
    (found,) = (repository / "build/dist").glob(f"greenboost-{__version__}-*.whl")
    return found


@pytest.fixture(scope="session")
def installed(fleet_dir: Path, wheel: Path) -> Path:
    """What is in /opt/greenboost where greenboost is installed; where no place can be made, a visible skip."""
    if (reason := reason_without_place()) is not None:
        pytest.skip(reason)
    return get_installed(Cache(fleet_dir), wheel)


@pytest.fixture
def switch() -> Iterator[Switch]:
    """A network for places."""
    with new_switch() as made:
        yield made


@pytest.fixture
def place(installed: Path) -> Iterator[Callable[..., Place]]:
    """Makes places that have greenboost, as `new_place` does; they end with the test."""
    with ExitStack() as stack:

        def make(name: str, folders: Mapping[str, Path] | None = None, switch: Switch | None = None) -> Place:
            made = stack.enter_context(new_place(name, folders={OPT: installed, **(folders or {})}, switch=switch))
            made.run(step("link"))
            return made

        yield make
