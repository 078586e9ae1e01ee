"""What a program held at most is told in a file, a line of JSON a process, also by one that was killed."""

import json
import os

import pytest
from harness import run_program, succeed

CARD = {"FAKECUDA_VRAM": "64MiB", "vram_reserve": "0"}
THREE = "init()\nblocks = [alloc(40 * MIB) for _ in range(3)]\n"
FREE = "for p in blocks: free(p)\n"
TIERS = ("device", "split", "host_mapped", "managed", "pageable", "unified")


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize(("fallback", "tier"), [("split", "split"), ("host", "host_mapped"), ("managed", "managed")])
def test_peaks_of_a_program_are_told_by_tier(tmp_path, fallback, tier):
    file = tmp_path / "peaks"
    succeed(THREE + FREE + "free(alloc(MIB))", tmp_path, report=str(file), fallback=fallback, **CARD)
    last = lines(file)[-1]
    assert last["device"] + last[tier] == 120 << 20
    assert last[tier] >= 56 << 20
    assert all(last[other] == 0 for other in TIERS if other not in ("device", tier))
    assert last["begin_ms"] <= last["end_ms"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_peaks_of_what_fits_are_told_at_exit(tmp_path):
    file = tmp_path / "peaks"
    succeed("init()\nfree(alloc(16 * MIB))", tmp_path, report=str(file), **CARD)
    (line,) = lines(file)
    assert (line["device"], line["split"]) == (16 << 20, 0)


def test_killed_program_has_told_what_it_held(tmp_path):
    file = tmp_path / "peaks"
    ended = run_program(THREE + "import os\nos.kill(os.getpid(), 9)", tmp_path, report=str(file), **CARD)
    assert ended.code == -9
    assert lines(file)[-1]["device"] + lines(file)[-1]["split"] == 120 << 20


def test_program_that_uses_no_gpu_tells_nothing(tmp_path):
    file = tmp_path / "peaks"
    succeed("", tmp_path, report=str(file), **CARD)
    succeed("init()", tmp_path, report=str(file), **CARD)
    succeed("init()\nfree(alloc(MIB))", tmp_path, report=str(file), disable="1", **CARD)
    assert not file.exists()


def test_processes_that_share_a_file_each_add_whole_lines(tmp_path):
    file = tmp_path / "peaks"
    file.write_text("before\n")
    source = """
import os
children = [os.fork() for _ in range(1)] + [os.fork() for _ in range(3)]
init()
blocks = [alloc(40 * MIB) for _ in range(3)]
for p in blocks: free(p)
for child in filter(None, children):
    try:
        assert os.waitpid(child, 0)[1] == 0
    except ChildProcessError:
        pass  # a sister's
"""
    succeed(source, tmp_path, report=str(file), **CARD)
    before, *rest = file.read_text().splitlines()
    told = [json.loads(line) for line in rest]
    assert before == "before"
    assert len({line["pid"] for line in told}) == 16


def test_forked_child_tells_only_of_itself(tmp_path):
    file = tmp_path / "peaks"
    source = f"{THREE}import os\nchild = os.fork()\nif child == 0: raise SystemExit(0)\nos.waitpid(child, 0)\n{FREE}"
    succeed(source, tmp_path, report=str(file), **CARD)
    assert len({line["pid"] for line in lines(file)}) == 1


@pytest.mark.parametrize("place", ["", "relative", "/nowhere/at/all", "/dev/full", "/proc/self/status"])
def test_place_that_cannot_be_written_does_no_harm(tmp_path, place):
    ended = succeed(THREE + FREE, tmp_path, report=place, **CARD)
    assert ended.out == ""
    assert len(ended.said) == (place == "relative")


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_place_that_is_no_regular_file_stays_what_it_is(tmp_path, kind):
    place, target = tmp_path / "place", tmp_path / "target"
    target.write_text("somebody's")
    {"pipe": os.mkfifo, "link": lambda path: path.symlink_to(target), "folder": os.mkdir}[kind](place)
    succeed(THREE + FREE, tmp_path, report=str(place), **CARD)
    assert target.read_text() == "somebody's"


def test_name_of_a_program_cannot_break_the_line(tmp_path):
    file = tmp_path / "peaks"
    program = tmp_path / 'a"b\\c\n{"pid":1}'
    program.symlink_to(os.path.realpath("/proc/self/exe"))
    source = f"import os\nif 'AGAIN' not in os.environ:\n    os.environ['AGAIN'] = '1'\n    os.execv({str(program)!r}, "
    source += f"[{str(program)!r}, '-c', 'from cuda_program import *; init(); free(alloc(MIB))'])\n"
    succeed(source, tmp_path, report=str(file), **CARD)
    (line,) = lines(file)
    assert line["program"] == "a?b?c?{?pid?:1}"
