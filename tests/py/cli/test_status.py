import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from greenboost_py.base import abi
from greenboost_py.base.abi import PageError, parse_page
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.cli import status
from greenboost_py.sensors.programs import Program, ProgramsReading

MakePage = Callable[..., bytes]
GIB = 1 << 30


def reading(*pages: bytes) -> ProgramsReading:
    parsed = [parse_page(page, "test") for page in pages]
    return ProgramsReading(tuple(Program(page.pid, page) for page in parsed), ())


def test_to_text_of_nothing_is_a_sentence() -> None:
    assert status.to_text(ProgramsReading((), ())) == "No program is running under GreenBoost."


def test_to_text_shows_what_lies_in_which_tier(make_page: MakePage) -> None:
    text = status.to_text(reading(make_page({(0, 0): GIB, (0, 2): 2 * GIB, (1, 3): 5 << 20}, limits={0: GIB}, pid=17)))
    assert [line.split() for line in text.splitlines()] == [
        ["PID", "PROGRAM", "GPU", "TIER", "HELD", "PEAK", "BLOCKS"],
        ["17", "trainer", "0", "device", "1.00", "GiB", "1.00", "GiB", "1"],
        ["host_mapped", "2.00", "GiB", "2.00", "GiB", "1"],
        ["GPU", "0:", "VRAM", "limit", "1.00", "GiB"],
        ["1", "managed", "5.00", "MiB", "5.00", "MiB", "1"],
    ]


def test_to_text_and_json_tell_of_chunks_and_moves(make_page: MakePage) -> None:
    ffi = abi.abi()
    page: Any = ffi.new("struct gb_page *")
    ffi.memmove(page, make_page({(0, 1): GIB}), abi.page_bytes())
    page.split[0].vram_bytes, page.split[0].vram_chunks, page.split[0].host_chunks = 4 * GIB, 2**20, 16384
    page.device[0].moved_bytes = 3 << 20
    seen = reading(bytes(ffi.buffer(page)))
    lines = status.to_text(seen).splitlines()
    assert lines[-2:] == [
        "         GPU 0: split chunks: 1048576 in VRAM (4.00 GiB), 16384 in RAM",
        "         GPU 0: moved 3.00 MiB",
    ]
    (device,) = json.loads(status.to_json(seen))["programs"][0]["devices"]
    assert device["split"] == {"vram_bytes": 4 * GIB, "vram_chunks": 2**20, "host_chunks": 16384}
    assert device["moved_bytes"] == 3 << 20


def test_to_text_of_a_program_that_holds_nothing_says_so(make_page: MakePage) -> None:
    assert "nothing yet" in status.to_text(reading(make_page()))


def test_to_text_tells_of_refusals_and_limits_and_newer_writers(make_page: MakePage) -> None:
    page = bytearray(make_page({(0, 0): 1}, version=2, host_bytes=GIB, host_limit_bytes=4 * GIB))
    refused = parse_page(bytes(page), "test")
    text = status.to_text(ProgramsReading((Program(1, refused),), ()))
    assert "host memory: 1.00 GiB of 4.00 GiB" in text
    assert "newer GreenBoost" in text


def test_to_text_is_at_most_80_columns_wide_and_aligned(make_page: MakePage) -> None:
    everything = {(device, tier): 2**63 for device in range(32) for tier in range(6)}
    text = status.to_text(reading(make_page(everything, pid=2**22, program=b"m" * 63, host_limit_bytes=2**63)))
    lines = text.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert len({len(line) for line in lines[1:-1]}) == 1


@pytest.mark.parametrize("name", [b"a\x1b[2Jb", b"a\nb", b"a\x07", b"\xff", "\u202e".encode()])
def test_to_text_of_a_hostile_program_name_reaches_no_terminal(make_page: MakePage, name: bytes) -> None:
    text = status.to_text(reading(make_page({(0, 0): 1}, program=name)))
    assert len(text.splitlines()) == 2
    assert all(character.isprintable() for line in text.splitlines() for character in line)


def test_to_json_has_every_counter_in_bytes(make_page: MakePage) -> None:
    page = make_page({(1, 2): 2**63}, limits={1: GIB}, pid=5, host_bytes=9)
    (program,) = json.loads(status.to_json(reading(page)))["programs"]
    (device,) = program.pop("devices")
    assert program == {"pid": 5, "program": "trainer", "page_version": 1, "host_bytes": 9, "host_limit_bytes": None}
    assert (device["device"], device["limit_bytes"], device["refused"]) == (1, GIB, 0)
    assert device["tiers"]["host_mapped"] == {"bytes": 2**63, "peak_bytes": 2**63, "blocks": 1}
    assert device["tiers"]["device"] == {"bytes": 0, "peak_bytes": 0, "blocks": 0}


def test_to_json_lists_errors() -> None:
    assert json.loads(status.to_json(ProgramsReading((), (PageError("process 7: odd"),))))["errors"] == [
        "process 7: odd"
    ]


def test_status_with_nothing_running_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "SysRoot", lambda: SysRoot(tmp_path))
    result = CliRunner().invoke(status.command, [], standalone_mode=False)
    assert (result.output, result.return_value) == ("No program is running under GreenBoost.\n", 0)


def test_status_with_a_malformed_page_shows_the_rest_and_fails(
    monkeypatch: pytest.MonkeyPatch, make_page: MakePage
) -> None:
    good = Program(1, parse_page(make_page({(0, 0): 1}), "test"))
    monkeypatch.setattr(
        status, "read_programs", lambda *_: ProgramsReading((good,), (PageError("process 7: not a page"),))
    )
    result = CliRunner().invoke(status.command, [], standalone_mode=False)
    assert "trainer" in result.stdout
    assert result.stderr == "greenboost: process 7: not a page\n"
    assert result.return_value == 1


def test_status_of_a_pid_that_is_not_under_greenboost_fails_with_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from greenboost_py.cli.main import main; main()", "status", "--pid", str(os.getpid())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"greenboost: process {os.getpid()} is not running under GreenBoost, or has not used CUDA yet"
    ]


def test_status_of_a_real_process_reads_its_page(make_page: MakePage, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = os.memfd_create("greenboost")
    try:
        os.write(descriptor, make_page({(0, 2): 3 * GIB}, pid=os.getpid()))
        result = CliRunner().invoke(status.command, ["--json", "--pid", str(os.getpid())], standalone_mode=False)
        table = CliRunner().invoke(status.command, ["--pid", str(os.getpid())], standalone_mode=False)
    finally:
        os.close(descriptor)
    (program,) = json.loads(result.output)["programs"]
    assert program["devices"][0]["tiers"]["host_mapped"]["bytes"] == 3 * GIB
    assert "3.00 GiB" in table.output
