"""The field of a Ray runtime_env: what it may hold, what is refused and how, and what a worker gets for it."""

import json
from pathlib import Path

import pytest

from greenboost_py.base.errors import LibraryError, UsageError
from greenboost_py.base.options import Option, OptionKind, load_options
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.schedulers.ray_field import Asked, read_field, worker_variables

MINE = """
description = "what the test sets"
set.retry-first = { value = true, why = "the test" }
set.movable = { value = true, why = "the test" }
set.log = { value = "info", why = "the test" }
[[match]]
program = ["mine"]
[[example]]
command = "mine"
"""


@pytest.fixture
def library(tmp_path: Path) -> str:
    """A file that stands for the library."""
    path = tmp_path / "libgreenboost.so"
    path.touch()
    return str(path)


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        (False, None),
        (True, Asked()),
        ({}, Asked()),
        ({"vram_limit": "8GiB"}, Asked({"GREENBOOST_VRAM_LIMIT": "8GiB"})),
        ({"vram_limit": 8 << 30}, Asked({"GREENBOOST_VRAM_LIMIT": str(8 << 30)})),
        ({"host_limit": "75%", "profile": "pytorch"}, Asked({"GREENBOOST_HOST_LIMIT": "75%"}, "pytorch")),
        ({"moves": False, "movable": True}, Asked({"GREENBOOST_MOVES": "0", "GREENBOOST_MOVABLE": "1"})),
        ({"moves": "off", "movable": 1}, Asked({"GREENBOOST_MOVES": "off", "GREENBOOST_MOVABLE": "1"})),
        (
            {"fallback": "host", "socket": "/run/x"},
            Asked({"GREENBOOST_FALLBACK": "host", "GREENBOOST_SOCKET": "/run/x"}),
        ),
        ({"host_limit": None, "profile": None}, Asked()),
    ],
)
def test_field_that_makes_sense_is_read(value: object, asked: Asked | None) -> None:
    assert read_field(json.loads(json.dumps(value))) == asked


@pytest.mark.parametrize(
    ("value", "place", "why"),
    [
        (1, "", "write true, or options"),
        ("8GiB", "", "write true, or options"),
        ([], "", "write true, or options"),
        ({"vram_limt": "8GiB"}, "", "there is no option 'vram_limt'; there are vram_limit, "),
        ({"vram-limit": "8GiB"}, "", "there is no option 'vram-limit'"),
        ({"VRAM_LIMIT": "8GiB"}, "", "there is no option 'VRAM_LIMIT'"),
        ({"vram_limt": None, "x": 1}, "", "there is no option 'x'"),
        ({"vram_limit": "8 parsecs"}, "vram_limit", "'8 parsecs'"),
        ({"vram_limit": -1}, "vram_limit", "'-1'"),
        ({"vram_limit": 1 << 64}, "vram_limit", "too large"),
        ({"vram_limit": 1.5}, "vram_limit", "1.5 is not accepted"),
        ({"vram_limit": True}, "vram_limit", "'True'"),
        ({"vram_limit": ["8GiB"]}, "vram_limit", "['8GiB'] is not accepted"),
        ({"vram_limit": ""}, "vram_limit", "'' is not accepted"),
        ({"fallback": "hosts"}, "fallback", "'hosts' is not accepted; write one of auto, split"),
        ({"moves": "perhaps"}, "moves", "'perhaps' is not accepted"),
        ({"moves": 2}, "moves", "'2' is not accepted"),
        ({"socket": "lease.sock"}, "socket", "write an absolute path"),
        ({"socket": "/run/\0x"}, "socket", "write an absolute path"),
        ({"profile": 7}, "profile", "7 is not the name of a profile"),
        ({"profile": True}, "profile", "True is not the name of a profile"),
    ],
)
def test_field_that_makes_none_is_refused_in_one_line_that_says_where(value: object, place: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_field(json.loads(json.dumps(value)))
    line = str(caught.value)
    assert line.startswith('runtime_env["greenboost"]' + (f'["{place}"]: ' if place else ": "))
    assert why in line
    assert "\n" not in line


@pytest.mark.parametrize("option", load_options(), ids=lambda option: option.id)
def test_each_option_can_be_in_the_field(option: Option) -> None:
    value = {OptionKind.SIZE: "1GiB", OptionKind.SWITCH: True, OptionKind.PATH: "/x"}.get(option.kind)
    asked = read_field({option.id: option.choices[0] if value is None else value})
    assert asked is not None
    assert list(asked.chosen) == [option.env_name]


def test_worker_keeps_what_ray_would_preload_after_the_library(library: str) -> None:
    node = {"GREENBOOST_LIBRARY": library, "LD_PRELOAD": "libnode.so"}
    made = worker_variables(Asked(), SysRoot(), node, {})
    assert made == {"LD_PRELOAD": f"{library}:${{LD_PRELOAD}}"}
    made = worker_variables(Asked(), SysRoot(), node, {"LD_PRELOAD": "libown.so"})
    assert made == {"LD_PRELOAD": f"{library}:libown.so"}


def test_worker_gets_a_profile_but_for_what_is_set_already(library: str, tmp_path: Path) -> None:
    folder = tmp_path / "etc/greenboost/profiles.d"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(MINE)
    asked = Asked({"GREENBOOST_MOVABLE": "0"}, "mine")
    made = worker_variables(asked, SysRoot(tmp_path), {"GREENBOOST_LIBRARY": library}, {"GREENBOOST_LOG": "error"})
    del made["LD_PRELOAD"]
    assert made == {"GREENBOOST_MOVABLE": "0", "GREENBOOST_RETRY_FIRST": "1"}


def test_worker_of_a_profile_that_is_not_there_is_refused(library: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no profile 'nonesuch'"):
        worker_variables(Asked(profile="nonesuch"), SysRoot(tmp_path), {"GREENBOOST_LIBRARY": library}, {})


def test_worker_on_a_node_without_the_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="there is no such file"):
        worker_variables(Asked(), SysRoot(tmp_path), {"GREENBOOST_LIBRARY": str(tmp_path / "gone.so")}, {})
