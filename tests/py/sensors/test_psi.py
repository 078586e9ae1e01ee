from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.psi import PsiReading, Resource, read_psi

CALM = "avg10=0.00 avg60=0.00 avg300=0.00 total=0"


def pressure(root: Path, text: str | bytes, resource: str = "memory") -> SysRoot:
    (root / "proc/pressure").mkdir(parents=True, exist_ok=True)
    (root / "proc/pressure" / resource).write_bytes(text if isinstance(text, bytes) else text.encode())
    return SysRoot(root)


MACHINES = {
    "strix-halo": PsiReading(0.0, 0.04, 0.21, 61820445, 0.0, 0.03, 0.17, 58211904),
    "amd-discrete": PsiReading(0.0, 0.0, 0.0, 1204412, 0.0, 0.0, 0.0, 1100934),
    "nvidia-desktop": PsiReading(0.53, 0.92, 0.47, 9218337, 0.41, 0.77, 0.4, 8118220),
    "two-gpus": None,
    "hybrid-laptop": PsiReading(12.37, 8.04, 2.91, 318820447, 9.88, 6.51, 2.3, 251120918),
    "container": PsiReading(0.0, 0.0, 0.05, 40021377, 0.0, 0.0, 0.04, 37110250),
    "kernel-gpuactive": PsiReading(0.0, 0.0, 0.0, 217731, 0.0, 0.0, 0.0, 198002),
    "cgroup-v1": PsiReading(0.0, 0.0, 0.0, 44474, 0.0, 0.0, 0.0, 7659),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_read_psi_of_a_machine_is_its_memory_pressure(repository: Path, machine: str) -> None:
    assert read_psi(SysRoot(repository / "tests/sysroots" / machine)) == MACHINES[machine]


def test_read_psi_of_another_resource_is_that_ones(repository: Path) -> None:
    root = SysRoot(repository / "tests/sysroots/hybrid-laptop")
    assert read_psi(root, "io") == PsiReading(0.31, 0.22, 0.18, 48211377, 0.27, 0.19, 0.15, 41920113)
    assert read_psi(root, "cpu") == PsiReading(1.14, 0.87, 0.92, 918273645, 0.0, 0.0, 0.0, 0)


@pytest.mark.parametrize("resource", ["cpu", "io", "memory"])
def test_read_psi_of_the_live_machine_is_consistent(resource: Resource) -> None:
    psi = read_psi(SysRoot(), resource)
    if psi is None:
        pytest.skip("this kernel has no PSI, or it is switched off")
    assert all(0 <= share <= 100 for share in (psi.some_avg10, psi.some_avg60, psi.some_avg300))
    later = read_psi(SysRoot(), resource)
    assert later is not None and later.some_total_us >= psi.some_total_us
    if resource == "memory":
        assert psi.full_total_us is not None and psi.full_total_us <= later.some_total_us


def test_read_psi_of_an_old_kernel_has_no_full(tmp_path: Path) -> None:
    root = pressure(tmp_path, "some avg10=1.50 avg60=100.00 avg300=0.00 total=7\n", "cpu")
    assert read_psi(root, "cpu") == PsiReading(1.5, 100.0, 0.0, 7, None, None, None, None)


def test_read_psi_takes_the_first_of_two_and_leaves_other_lines_alone(tmp_path: Path) -> None:
    text = f"other {CALM}\nsome {CALM}\nsome avg10=9.00 avg60=9.00 avg300=9.00 total=9\nfull {CALM}\nfull rubbish\n"
    assert read_psi(pressure(tmp_path, text)) == PsiReading(0.0, 0.0, 0.0, 0, 0.0, 0.0, 0.0, 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"full {CALM}\n",
        f"Some {CALM}\n",
        f" some {CALM}\n",
        "some\n",
        "some \n",
        f"some  {CALM}\n",
        f"some {CALM} more=1\n",
        f"some {CALM}\nfull \n",
        f"some {CALM}\r\n",
        *(
            f"some {CALM.replace('avg60=0.00', f'avg60={share}')}\n"
            for share in (
                "-1.00",
                "100.01",
                "999.99",
                "1000.00",
                "1",
                "1.",
                ".50",
                "1.5",
                "nan",
                "inf",
                "1e2",
                "",
                "٣.٣٣",
            )
        ),
        *(
            f"some {CALM.replace('total=0', f'total={total}')}\n"
            for total in ("-1", "", "x", "1.0", "9223372036854775808", "9" * 5000)
        ),
        f"some {CALM.replace('avg10', 'avg20')}\n",
        f"some {CALM.replace(' total=0', '')}\n",
    ],
)
def test_read_psi_of_a_malformed_file_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(SensorError, match=r"^/proc/pressure/memory: "):
        read_psi(pressure(tmp_path, text))


@given(
    st.binary(max_size=60)
    | st.lists(
        st.sampled_from(
            [
                b"some ",
                b"full ",
                CALM.encode(),
                b"\n",
                b"avg10=",
                b"avg60=",
                b"7.25 ",
                b"999.99",
                b"total=",
                b"-",
                b"\xff",
            ]
        )
    ).map(b"".join)
)
def test_read_psi_of_any_bytes_is_a_reading_or_an_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    root = pressure(tmp_path_factory.getbasetemp(), data)
    try:
        psi = read_psi(root)
    except SensorError as error:
        assert error.path == "/proc/pressure/memory"
        return
    assert psi is not None
    assert all(0 <= share <= 100 for share in (psi.some_avg10, psi.some_avg60, psi.some_avg300))
