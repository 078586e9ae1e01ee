import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from greenboost_py.base import abi
from greenboost_py.base.abi import PageError, parse_page
from greenboost_py.base.errors import GreenboostError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.cli import status
from greenboost_py.sensors.container import Container
from greenboost_py.sensors.programs import Program, ProgramsReading

MakePage = Callable[..., bytes]
GIB = 1 << 30


@pytest.fixture(autouse=True)
def socket_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one place where a daemon is looked for: not the machine's own."""
    path = tmp_path / "lease.sock"
    monkeypatch.setenv("GREENBOOST_SOCKET", str(path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return path


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


def test_to_text_and_json_name_the_container_printably(make_page: MakePage) -> None:
    container = Container("docker", "3f" * 32, name="w\x1b[2Jeb")
    program = Program(7, parse_page(make_page({(0, 0): 1}), "test"), container)
    seen = ProgramsReading((program,), ())
    assert status.to_text(seen).splitlines()[-1] == "         container: w?[2Jeb (docker)"
    (found,) = json.loads(status.to_json(seen))["programs"]
    assert found["container"] == {"engine": "docker", "id": "3f" * 32, "pod": None, "name": "w\x1b[2Jeb"}
    leased = {"pid": 9, "program": "x", "held_bytes": 1, "peak_bytes": 1, "container": Container("podman", "c0" * 32)}
    assert (
        status.to_text(ProgramsReading((), ()), [leased]).splitlines()[-1]
        == "         container: c0c0c0c0c0c0 (podman)"
    )


def test_to_json_has_every_counter_in_bytes(make_page: MakePage) -> None:
    page = make_page({(1, 2): 2**63}, limits={1: GIB}, pid=5, host_bytes=9)
    answer = json.loads(status.to_json(reading(page)))
    assert set(answer) == {"programs", "errors", "daemon"}
    (program,) = answer["programs"]
    (device,) = program.pop("devices")
    names = {"pid": 5, "program": "trainer", "container": None}
    assert program == {**names, "page_version": 1, "host_bytes": 9, "host_limit_bytes": None}
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
    assert result.output.splitlines() == [status.NO_DAEMON, "", "No program is running under GreenBoost."]
    assert (result.stderr, result.return_value) == ("", 0)
    as_json = CliRunner().invoke(status.command, ["--json"], standalone_mode=False)
    assert json.loads(as_json.output) == {"programs": [], "errors": [], "daemon": None}
    assert as_json.return_value == 0


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
    answer = json.loads(result.output)
    assert answer["daemon"] is None
    (program,) = answer["programs"]
    assert program["devices"][0]["tiers"]["host_mapped"]["bytes"] == 3 * GIB
    assert "3.00 GiB" in table.output
    # Of one process, nothing is said of the machine.
    assert table.output.startswith("    PID")


LEASED = {
    "pid": 4711,
    "uid": 0,
    "program": "far\x1b[2Jaway",
    "held_bytes": GIB,
    "pending_bytes": 0,
    "peak_bytes": 2 * GIB,
    "error": None,
}


def report(**fields: Any) -> dict[str, Any]:
    """A daemon's report."""
    ram = {
        "resource": "ram",
        "level": "warn",
        "reason": "forecast",
        "available_bytes": 3 * GIB,
        "total_bytes": 32 * GIB,
        "fill_bytes_per_s": 1,
        "exhausted_in_s": 12.4,
    }
    return {
        "version": "9",
        "pid": 1,
        "resources": [ram],
        "ram": {"total_bytes": 32 * GIB, "gpu_host_bytes": 40 * GIB},
        "holders": [],
        "leases": {
            "clients": 0,
            "held_bytes": 0,
            "pending_bytes": 0,
            "granted": 0,
            "refused": {},
            "programs": [],
        },
        "errors": [],
        **fields,
    }


def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: object, *options: str) -> Result:
    """`greenboost status` with no program in sight, and a daemon that answers this, or raises it."""

    def find_status(environment: Mapping[str, str], timeout_s: float) -> object:
        assert environment["GREENBOOST_SOCKET"] == str(tmp_path / "lease.sock") and timeout_s <= 2
        if isinstance(answer, GreenboostError):
            raise answer
        return answer

    monkeypatch.setattr(status, "SysRoot", lambda: SysRoot(tmp_path))
    monkeypatch.setattr(status, "find_status", find_status)
    return CliRunner().invoke(status.command, options, standalone_mode=False)


def test_status_shows_what_the_daemon_says_above_the_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    holders = [
        {"pid": 812, "uid": 1000, "program": "ollama", "ram_bytes": 40 * GIB, "gtt_bytes": 0, "vram_bytes": 0},
        {"pid": None, "uid": 1001, "program": None, "ram_bytes": 2 * GIB, "gtt_bytes": 0, "vram_bytes": 0},
        {"pid": 1, "uid": 0, "program": "init", "ram_bytes": 0, "gtt_bytes": 0, "vram_bytes": 0},
    ]
    leases = {
        "clients": 3,
        "held_bytes": 12 * GIB,
        "pending_bytes": GIB,
        "granted": 9,
        "refused": {"machine": 2, "pressure": 1},
        "programs": [LEASED],
    }
    answer = report(holders=holders, leases=leases, errors=["/proc/swaps: odd\x1b[2J"])
    result = invoke(monkeypatch, tmp_path, answer)
    assert (result.stderr, result.return_value) == ("", 0)
    assert result.output.splitlines() == [
        "MEMORY                               LEVEL     AVAILABLE      TOTAL      LASTS",
        "RAM                                  WARN       3.00 GiB   32.0 GiB       12 s",
        "GPU drivers hold 40.0 GiB of RAM that no process list shows.",
        "Most RAM: 40.0 GiB by ollama (pid 812); 2.00 GiB by a program of user 1001.",
        "3 programs lease 12.0 GiB of host memory, 1.00 GiB of it not taken yet. Refused:",
        "  2 machine, 1 pressure.",
        "Not read: /proc/swaps: odd?[2J",
        "",
        "    PID  PROGRAM             GPU  TIER              HELD       PEAK   BLOCKS",
        "   4711  far?[2Jaway           -  leased        1.00 GiB   2.00 GiB",
    ]
    as_json = invoke(monkeypatch, tmp_path, answer, "--json")
    assert json.loads(as_json.output) == {"programs": [], "errors": [], "daemon": answer}


def test_status_says_nothing_of_what_gpu_drivers_hold_below_the_error_of_its_estimate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for held_bytes, is_said in ((GIB // 2 - 1, False), (GIB // 2, True)):
        result = invoke(monkeypatch, tmp_path, report(ram={"total_bytes": 32 * GIB, "gpu_host_bytes": held_bytes}))
        assert ("GPU drivers hold" in result.output) is is_said


def test_status_is_at_most_80_columns_wide_and_lists_the_worst_cgroups(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def resource(name: str, level: str, available_bytes: int, left_s: float | None) -> dict[str, Any]:
        sizes = {"available_bytes": available_bytes, "total_bytes": 2**50}
        return {"resource": name, "level": level, "exhausted_in_s": left_s, **sizes}

    resources = [
        resource("ram", "critical", 2**50, 119.6),
        resource("gtt:0000:c4:00.0", "notice", 2**40, 3600.0),
        resource("vram:0000:c4:00.0", "ok", 2**40, 3601.0),
        *[resource(f"cgroup:/sys/fs/cgroup/{'x' * 200}/job_{number}", "ok", number, None) for number in range(40)],
        resource("cgroup:/sys/fs/cgroup/a.slice/b.service", "warn", 2**49, 0.2),
    ]
    lines = invoke(monkeypatch, tmp_path, report(resources=resources, errors=["y" * 300])).output.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert [(line.split()[-1], line.split()[-2]) for line in lines[1:3]] == [("s", "120"), ("min", "60")]
    assert lines[3] == "VRAM of GPU 0000:c4:00.0             OK         1.00 TiB   1024 TiB"
    assert lines[4].startswith("Memory cgroup a.slice/b.service      WARN ")
    assert [line.split()[0].rpartition("/")[2] for line in lines[5:10]] == [f"job_{number}" for number in range(5)]
    assert lines[10] == "and 35 more memory cgroups"


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"resources": []}, "The daemon cannot read how much memory there is."),
        ({"ram": None}, "Nobody leases host memory."),
        ({"ram": {"total_bytes": 32 * GIB, "gpu_host_bytes": 0}}, "Nobody leases host memory."),
    ],
)
def test_status_of_a_daemon_that_sees_little_says_what_there_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fields: dict[str, Any], line: str
) -> None:
    result = invoke(monkeypatch, tmp_path, report(**fields))
    assert line in result.output.splitlines()
    assert result.return_value == 0


def test_status_shows_a_program_with_a_page_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_page: MakePage
) -> None:
    shown = Program(4711, parse_page(make_page({(0, 0): 1}), "test"))
    monkeypatch.setattr(status, "read_programs", lambda *_: ProgramsReading((shown,), ()))
    hidden = {**LEASED, "pid": 0, "program": None}
    leases = {**report()["leases"], "programs": [LEASED, hidden]}
    lines = invoke(monkeypatch, tmp_path, report(leases=leases)).output.splitlines()
    assert [line.split()[:2] for line in lines[-2:]] == [["4711", "trainer"], ["-", "?"]]


def test_status_of_a_pid_that_only_the_daemon_sees_is_shown_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer = report(leases={**report()["leases"], "programs": [LEASED, {**LEASED, "pid": 5}]})
    result = invoke(monkeypatch, tmp_path, answer, "--pid", "4711")
    assert [line.split()[0] for line in result.output.splitlines()] == ["PID", "4711"]
    assert result.return_value == 0
    other = invoke(monkeypatch, tmp_path, answer, "--pid", "6")
    assert str(other.exception).startswith("process 6 is not running under GreenBoost")


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (GreenboostError("/run/x: the daemon does not answer: timed out"), "/run/x: the daemon does not answer"),
        ({"version": "0.0.1\x1b[2J"}, "the daemon's report is not understood; its version is '0.0.1\\x1b[2J'"),
        (report(resources=[{"resource": 1}]), "the daemon's report is not understood; its version is '9'"),
        (report(leases=[]), "the daemon's report is not understood"),
        (report(leases={**report()["leases"], "programs": [{"pid": "x"}]}), "the daemon's report is not understood"),
        (report(ram=7), "the daemon's report is not understood"),
        (report(holders=[None]), "the daemon's report is not understood"),
    ],
)
def test_status_of_a_daemon_that_does_not_answer_well_is_a_line_and_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: object, complaint: str
) -> None:
    result = invoke(monkeypatch, tmp_path, answer)
    assert result.return_value == 1
    assert result.stdout.splitlines() == ["No program is running under GreenBoost."]
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"greenboost: {complaint}")
