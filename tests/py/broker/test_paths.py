from pathlib import Path

import pytest

from greenboost_py.base.errors import GreenboostError
from greenboost_py.broker.paths import SocketPlace, client_paths, server_place

OWN = {"XDG_RUNTIME_DIR": "/run/user/1000"}
SYSTEM = Path("/run/greenboost/lease.sock")


@pytest.mark.parametrize(
    ("environment", "euid", "path", "is_for_all"),
    [
        ({}, 0, "/run/greenboost/lease.sock", True),
        (OWN, 0, "/run/greenboost/lease.sock", True),
        (OWN, 1000, "/run/user/1000/greenboost/lease.sock", False),
        ({"RUNTIME_DIRECTORY": "/run/gb"}, 0, "/run/gb/lease.sock", True),
        ({"RUNTIME_DIRECTORY": "/run/gb:/run/other"}, 0, "/run/gb/lease.sock", True),
        ({"RUNTIME_DIRECTORY": "/run/gb"}, 990, "/run/gb/lease.sock", True),
        (OWN | {"RUNTIME_DIRECTORY": "/run/user/1000/gb"}, 1000, "/run/user/1000/gb/lease.sock", False),
        ({"GREENBOOST_SOCKET": "/tmp/s", "RUNTIME_DIRECTORY": "/run/gb"}, 0, "/tmp/s", True),
        (OWN | {"GREENBOOST_SOCKET": "/tmp/s"}, 1000, "/tmp/s", False),
        (OWN | {"GREENBOOST_SOCKET": "", "RUNTIME_DIRECTORY": ""}, 1000, "/run/user/1000/greenboost/lease.sock", False),
    ],
)
def test_server_place_is_the_first_that_is_set(
    environment: dict[str, str], euid: int, path: str, is_for_all: bool
) -> None:
    assert server_place(environment, euid) == SocketPlace(Path(path), is_for_all)


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({}, "set XDG_RUNTIME_DIR"),
        ({"XDG_RUNTIME_DIR": "run"}, "XDG_RUNTIME_DIR=run: not an absolute path"),
        ({"GREENBOOST_SOCKET": "lease.sock"}, "GREENBOOST_SOCKET=lease.sock: not an absolute path"),
        ({"RUNTIME_DIRECTORY": "gb"}, "RUNTIME_DIRECTORY=gb: not an absolute path"),
    ],
)
def test_server_place_without_a_usable_one_is_an_error(environment: dict[str, str], complaint: str) -> None:
    with pytest.raises(GreenboostError, match=complaint):
        server_place(environment, 1000)


@pytest.mark.parametrize(
    ("environment", "paths"),
    [
        ({}, [SYSTEM]),
        (OWN, [SYSTEM, Path("/run/user/1000/greenboost/lease.sock")]),
        (OWN | {"GREENBOOST_SOCKET": "/tmp/s"}, [Path("/tmp/s")]),
        ({"GREENBOOST_SOCKET": "", "XDG_RUNTIME_DIR": ""}, [SYSTEM]),
        ({"XDG_RUNTIME_DIR": "run"}, [SYSTEM]),
        (OWN | {"GREENBOOST_SOCKET": "s"}, []),
    ],
)
def test_client_paths_are_in_order(environment: dict[str, str], paths: list[Path]) -> None:
    assert list(client_paths(environment)) == paths
