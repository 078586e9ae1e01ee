"""/etc/greenboost/ceilings: what a node's administrator allows counts, whatever a job's environment says."""

from collections.abc import Callable
from pathlib import Path

import pytest
from bed.place import Place
from bed.steps import step

VRAM_MIB, HOST_MIB = 64, 128
PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture
def node(place: Callable[..., Place], repository: Path) -> Callable[..., str]:
    """Runs a program that takes all it can get, on a node with a card of 64 MiB; what it said."""
    made = place("node")
    card = {"LD_LIBRARY_PATH": str(repository / "build/fake_driver"), "FAKECUDA_VRAM": f"{VRAM_MIB}MiB"}

    def run(ceilings: str | None, **environment: str) -> str:
        if ceilings is not None:
            made.run(f"mkdir -p /etc/greenboost; printf '%s\n' '{ceilings}' >/etc/greenboost/ceilings")
        ended = made.run(
            f"greenboost run -- python3 {PROGRAMS / 'fill.py'} 512", environment={**card, **environment}, user="nobody"
        )
        return ended.stdout + ended.stderr

    return run


HOSTILE = {"GREENBOOST_HOST_LIMIT": "1TiB", "GREENBOOST_SOCKET": "/nowhere", "GREENBOOST_HOST_RESERVE": "0"}


def test_environment_can_lower_what_the_ceilings_allow_and_not_raise_it(node: Callable[..., str]) -> None:
    ceilings = f"HOST_LIMIT={HOST_MIB}MiB"
    assert "got 512 MiB" in node(None, **HOSTILE)
    assert f"got {VRAM_MIB + HOST_MIB} MiB" in node(ceilings, **HOSTILE)
    assert f"got {VRAM_MIB + HOST_MIB} MiB" in node(ceilings)
    assert f"got {VRAM_MIB + 32} MiB" in node(ceilings, GREENBOOST_HOST_LIMIT="32MiB")
    assert f"got {32 + HOST_MIB} MiB" in node(f"VRAM_LIMIT=50%\n{ceilings}", GREENBOOST_VRAM_LIMIT="1T", **HOSTILE)


def test_reserve_of_the_ceilings_leaves_a_program_that_wants_all_only_vram(node: Callable[..., str]) -> None:
    assert f"got {VRAM_MIB} MiB" in node("HOST_RESERVE=100%", **HOSTILE)


def test_line_that_cannot_be_read_is_told_and_the_others_count(node: Callable[..., str]) -> None:
    said = node(f"HOST_LIMIT={HOST_MIB}MiB\nHOST_LIMIT=lots", **HOSTILE)
    assert "HOST_LIMIT=lots" in said
    assert f"got {VRAM_MIB + HOST_MIB} MiB" in said


def test_steps_of_the_page_set_ceilings_that_doctor_shows(place: Callable[..., Place]) -> None:
    node = place("node")
    node.run(step("ceilings"))
    said = node.run("greenboost doctor", check=False).stdout
    assert "Whatever is set here: VRAM_LIMIT=90%, HOST_LIMIT=64GiB" in said.replace("\n", " ")
