import asyncio
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from greenboost_py.actions import wall
from greenboost_py.actions.alert import Alert
from greenboost_py.pressure.levels import Level
from greenboost_py.sensors.holders import Holder

MakeAlert = Callable[..., Alert]
MakeHolder = Callable[..., Holder]


@pytest.mark.parametrize(("word", "level"), [("warn", Level.WARN), ("critical", Level.CRITICAL), ("off", None)])
def test_lowest_level_is_the_configurations(word: str, level: Level | None) -> None:
    assert wall.lowest_level(word) == level


def test_text_is_for_everybody_and_printable(make_alert: MakeAlert, make_holder: MakeHolder) -> None:
    alert = make_alert(holders=(make_holder(471100, ram_bytes=1 << 30, name="secretproject"),))
    text = wall.text(alert, {1000: "al\x1bice"})
    assert text.startswith("RAM is nearly exhausted: ")
    assert "by a program of al?ice" in text
    assert "secretproject" not in text
    assert "4711" not in text
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.endswith("over.\n")


def test_text_is_cut_to_size(make_alert: MakeAlert) -> None:
    assert (
        len(wall.text(make_alert(resource="x" * 100_000 + ":" + "é" * 100_000), {}).encode()) <= wall.TEXT_BYTES_MAX + 1
    )


def test_write_gives_the_text_to_wall(tmp_path: Path) -> None:
    program = tmp_path / "wall"
    program.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/arguments\ncat >{tmp_path}/text\n')
    program.chmod(0o755)
    assert asyncio.run(wall.write("RAM is short.\nClose it.\n", {"PATH": f"{tmp_path}:/usr/bin:/bin"})) is None
    assert (tmp_path / "text").read_text() == "RAM is short.\nClose it.\n"
    assert (tmp_path / "arguments").read_text() == "--timeout 5\n"


def test_write_without_wall_says_so(tmp_path: Path) -> None:
    assert asyncio.run(wall.write("x", {"PATH": str(tmp_path)})) == "wall: not installed (util-linux, bsdutils)"


def test_the_real_wall_knows_the_option() -> None:
    program = shutil.which("wall", path="/usr/bin:/bin")
    if program is None:
        pytest.skip("no wall (Debian: bsdutils)")
    # Only its help: a test does not write on anybody's terminal.
    assert "--timeout" in subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
