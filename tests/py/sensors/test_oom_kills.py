from pathlib import Path

import pytest

from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.oom_kills import read_oom_kills


def tree(root: Path, vmstat: str) -> SysRoot:
    (root / "proc").mkdir()
    (root / "proc/vmstat").write_text(vmstat)
    return SysRoot(root)


def test_read_oom_kills_is_the_kernels_count(tmp_path: Path) -> None:
    assert read_oom_kills(tree(tmp_path, "pgfault 3\noom_kill 17\nnr_oom_kill 4\n")) == 17


def test_read_oom_kills_where_the_kernel_does_not_say_is_none(tmp_path: Path) -> None:
    assert read_oom_kills(SysRoot(tmp_path)) is None
    assert read_oom_kills(tree(tmp_path, "pgfault 3\n")) is None


@pytest.mark.parametrize("count", ["", "x", "-1", "1 2", "9" * 30])
def test_read_oom_kills_of_a_malformed_count_is_an_error(tmp_path: Path, count: str) -> None:
    with pytest.raises(SensorError, match="/proc/vmstat: the number of oom_kill is malformed"):
        read_oom_kills(tree(tmp_path, f"oom_kill {count}\n"))


def test_read_oom_kills_of_this_machine_is_a_count() -> None:
    found = read_oom_kills(SysRoot())
    assert found is None or found >= 0
