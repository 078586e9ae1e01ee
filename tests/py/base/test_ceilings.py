"""The administrator's ceilings, read as the shim reads them (tests/shim/unit/test_ceilings.py)."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.base.ceilings import CEILINGS_PATH, NAMES, Ceilings, parse_ceilings, read_ceilings
from greenboost_py.base.sysroot import SysRoot


def test_read_ceilings_of_a_machine_without_the_file_finds_none(tmp_path: Path) -> None:
    assert read_ceilings(SysRoot(tmp_path)) is None


def test_read_ceilings_gives_each_line_that_counts(tmp_path: Path) -> None:
    path = tmp_path / CEILINGS_PATH
    path.parent.mkdir(parents=True)
    path.write_text("# ours\n\nHOST_LIMIT = 64GiB\r\n vram_limit=75%\nSOCKET=/run/x\n")
    values = (("HOST_LIMIT", "64GiB"), ("VRAM_LIMIT", "75%"), ("SOCKET", "/run/x"))
    assert read_ceilings(SysRoot(tmp_path)) == Ceilings(values, ())


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("HOST_LIMIT", "line 2: write NAME=VALUE"),
        ("HOST_LIMIT=lots", "line 2: 'lots' is not a size"),
        ("HOST_LIMIT=101%", "line 2: '101%' is not a share"),
        ("SOCKET=run/x", "line 2: 'run/x' is not an absolute path"),
        ("LOG=off", "line 2: 'LOG' is none of VRAM_LIMIT, HOST_LIMIT"),
    ],
)
def test_parse_ceilings_says_what_is_wrong_with_a_line_and_takes_the_others(line: str, mistake: str) -> None:
    found = parse_ceilings(f"VRAM_LIMIT=1GiB\n{line}\nHOST_LIMIT=2GiB\n".encode())
    assert found.values == (("VRAM_LIMIT", "1GiB"), ("HOST_LIMIT", "2GiB"))
    (said,) = found.mistakes
    assert said.startswith(mistake)


def test_parse_ceilings_of_more_than_the_shim_reads_takes_nothing() -> None:
    found = parse_ceilings(b"HOST_LIMIT=1\n" + b"#" * 4096)
    assert found.values == ()
    assert "4095" in found.mistakes[0]


@given(st.binary(max_size=300))
def test_parse_ceilings_of_any_bytes_knows_every_name_that_it_gives(data: bytes) -> None:
    assert {name for name, _ in parse_ceilings(data).values} <= set(NAMES)
