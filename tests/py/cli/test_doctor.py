"""`greenboost doctor` as people run it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from trees import lay

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.cli.doctor import summary, to_lines
from greenboost_py.doctor.checks.catalog import CHECKS, examine_all
from greenboost_py.doctor.examine import examine
from greenboost_py.doctor.finding import Finding, Verdict

if TYPE_CHECKING:
    from tests.py.conftest import Simulated

GREENBOOST = Path(sys.executable).with_name("greenboost")


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(GREENBOOST), "doctor", *arguments]
    env = environment | {"GREENBOOST_SOCKET": "/dev/null/none"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=240, check=False)


def plain_environment(tmp_path: Path) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("GREENBOOST_", "FAKECUDA_", "LD_"))
    }
    return kept | {"XDG_CACHE_HOME": str(tmp_path)}


def test_doctor_prints_every_check_in_80_columns(tmp_path: Path) -> None:
    ended = run(plain_environment(tmp_path))
    assert ended.returncode in (0, 1)
    lines = ended.stdout.splitlines()
    assert [line[9:25].strip() for line in lines if line[:1].isalpha()] == [check.name for check in CHECKS]
    assert all(len(line) <= 80 or " " not in line.strip() for line in lines)
    assert "\x1b" not in ended.stdout


def test_doctor_as_json_says_the_same_and_the_exit_code_tells(
    tmp_path: Path, simulated: "Simulated", library: Path
) -> None:
    environment = simulated(GREENBOOST_LIBRARY=str(library))
    ended = run(environment, "--json")
    report = json.loads(ended.stdout)
    found = {each["name"]: each["verdict"] for each in report["findings"]}
    assert list(found) == [check.name for check in CHECKS]
    assert ended.returncode == report["failed"] == ("fail" in found.values())
    assert (found["cuda"], found["devices"], found["library"], found["tiers"]) == ("ok", "ok", "ok", "ok")
    broken = run(environment | {"FAKECUDA_FAIL": "cuInit:*:999"}, "--json")
    assert (broken.returncode, json.loads(broken.stdout)["failed"]) == (1, True)


def test_doctor_for_a_reader_that_leaves_says_nothing_more(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [str(GREENBOOST), "doctor"]
    with os.fdopen(writing, "wb") as out:
        ended = subprocess.run(
            command, env=plain_environment(tmp_path), stdout=out, stderr=subprocess.PIPE, timeout=240, check=False
        )
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.parametrize(
    "machine", ["strix-halo", "nvidia-desktop", "container", "cgroup-v1", "two-gpus", "amd-discrete"]
)
def test_examine_of_a_captured_machine_has_an_answer_to_everything(
    repository: Path, tmp_path: Path, machine: str
) -> None:
    environment = plain_environment(tmp_path) | {"GREENBOOST_SOCKET": "/dev/null/none"}
    seen = examine(SysRoot(repository / "tests/sysroots" / machine), environment)
    findings = {finding.name: finding for finding in examine_all(seen)}
    assert findings["ram"].verdict is not Verdict.UNKNOWN
    assert findings["readings"].verdict is Verdict.OK, findings["readings"]
    assert (findings["gtt"].text != "No AMD APU is seen here.") == (machine == "strix-halo")


def test_examine_of_an_empty_machine_raises_nothing(tmp_path: Path) -> None:
    seen = examine(SysRoot(tmp_path), plain_environment(tmp_path) | {"GREENBOOST_SOCKET": "/dev/null/none"})
    assert seen.errors == ()
    assert len(examine_all(seen)) == len(CHECKS)


def test_examine_of_a_malformed_machine_names_each_file_once(tmp_path: Path) -> None:
    read = ("meminfo", "swaps", "self/limits", "driver/nvidia/version", "sys/vm/overcommit_memory")
    lay(tmp_path / "proc", dict.fromkeys(read, b"\xff\x00 nonsense\n"))
    seen = examine(SysRoot(tmp_path), plain_environment(tmp_path) | {"GREENBOOST_SOCKET": "/dev/null/none"})
    assert len(seen.errors) == len(set(seen.errors)) == 5


FINDINGS = (
    Finding("one", Verdict.OK, "Fine \x1b[31m" + "word " * 30, None),
    Finding("two", Verdict.FAIL, "Broken.", "greenboost " + "x" * 100),
)


def test_to_lines_wraps_and_leaves_what_is_to_be_typed_whole() -> None:
    lines = list(to_lines(FINDINGS, is_coloured=False))
    assert lines[0].startswith("ok       one             Fine ?[31mword")
    assert all(len(line) <= 80 for line in lines if "xxx" not in line)
    assert any(line.endswith("x" * 100) for line in lines)
    assert lines[-1] == summary(FINDINGS) == "1 fail, 1 ok."


def test_to_lines_has_colours_only_where_asked() -> None:
    assert "\x1b[" in "".join(to_lines(FINDINGS[1:], is_coloured=True))
    assert "\x1b[" not in "".join(to_lines(FINDINGS[1:], is_coloured=False))
