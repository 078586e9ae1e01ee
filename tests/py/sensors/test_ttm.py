from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import lay

from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.ttm import TtmReading, read_ttm

MACHINES = {
    "strix-halo": (TtmReading("ttm", 25165824, 16381952),),
    "amd-discrete": (TtmReading("ttm", 8167716, 8167716),),
    "nvidia-desktop": (),
    "two-gpus": (TtmReading("ttm", 12280960, 12280960), TtmReading("amdttm", 12582912, 12280960)),
    "hybrid-laptop": (TtmReading("ttm", 2044416, 2044416),),
    "container": (),
    "kernel-gpuactive": (TtmReading("ttm", 12582912, 7907328),),
    "cgroup-v1": (),
}


def parameter(root: Path, module: str, name: str, text: str | bytes) -> None:
    lay(root, {f"sys/module/{module}/parameters/{name}": text})


@pytest.mark.parametrize("machine", MACHINES)
def test_read_ttm_of_a_machine_is_each_modules_limits(repository: Path, machine: str) -> None:
    assert read_ttm(SysRoot(repository / "tests/sysroots" / machine)) == MACHINES[machine]


def test_read_ttm_of_the_live_machine_is_what_is_loaded() -> None:
    loaded = [name for name in ("ttm", "amdttm") if Path(f"/sys/module/{name}/parameters/pages_limit").exists()]
    assert [reading.module for reading in read_ttm(SysRoot()) if reading.pages_limit is not None] == loaded


def test_ttm_limit_is_in_pages_of_4_kib() -> None:
    assert TtmReading("ttm", 25165824, None).limit_bytes == 96 << 30
    assert TtmReading("ttm", 0, 0).limit_bytes == 0
    assert TtmReading("ttm", None, 1).limit_bytes is None


def test_read_ttm_of_a_module_without_parameters_leaves_it_out(tmp_path: Path) -> None:
    (tmp_path / "sys/module/ttm/parameters").mkdir(parents=True)
    assert read_ttm(SysRoot(tmp_path)) == ()


def test_read_ttm_of_a_module_that_lacks_one_parameter_has_the_other(tmp_path: Path) -> None:
    parameter(tmp_path, "ttm", "page_pool_size", "5\n")
    parameter(tmp_path, "amdttm", "pages_limit", "6\n")
    assert read_ttm(SysRoot(tmp_path)) == (TtmReading("ttm", None, 5), TtmReading("amdttm", 6, None))


def test_read_ttm_takes_any_value_that_the_kernel_takes(tmp_path: Path) -> None:
    parameter(tmp_path, "ttm", "pages_limit", "18446744073709551615\n")
    parameter(tmp_path, "ttm", "page_pool_size", "0")
    assert read_ttm(SysRoot(tmp_path)) == (TtmReading("ttm", 2**64 - 1, 0),)


@pytest.mark.parametrize(
    "text", ["", "\n", "-1\n", "1 2\n", " 1\n", "1\n\n", "1k\n", "max\n", "18446744073709551616\n"]
)
def test_read_ttm_of_a_malformed_parameter_is_an_error(tmp_path: Path, text: str) -> None:
    parameter(tmp_path, "amdttm", "pages_limit", text)
    with pytest.raises(SensorError, match=r"^/sys/module/amdttm/parameters/pages_limit: pages_limit is malformed"):
        read_ttm(SysRoot(tmp_path))


@given(st.binary(max_size=24) | st.text(st.sampled_from("0189 -\n"), max_size=24).map(str.encode))
def test_read_ttm_of_any_bytes_is_a_reading_or_an_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    root = tmp_path_factory.getbasetemp()
    parameter(root, "ttm", "page_pool_size", data)
    try:
        (reading,) = read_ttm(SysRoot(root))
    except SensorError as error:
        assert error.path == "/sys/module/ttm/parameters/page_pool_size"
        return
    assert reading.page_pool_size == int(data)
