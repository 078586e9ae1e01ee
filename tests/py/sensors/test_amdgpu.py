import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.amdgpu import AmdGpu, AmdGpusReading, read_amdgpus

MIB, GIB = 1 << 20, 1 << 30

FIGURES = ("vram_total", "vram_used", "vis_vram_total", "vis_vram_used", "gtt_total", "gtt_used")


def make_card(
    root: Path,
    files: Mapping[str, str | bytes | None] | None = None,
    card: str = "card0",
    address: str = "0000:03:00.0",
) -> None:
    """A card with 16 GiB of VRAM, all of it visible, and 32 GiB of GTT; `files` replaces some, None leaves one out."""
    device = root / f"sys/class/drm/{card}/device"
    device.mkdir(parents=True)
    usual: dict[str, str | bytes | None] = {
        "uevent": f"DRIVER=amdgpu\nPCI_CLASS=30000\nPCI_SLOT_NAME={address}\n",
        "mem_info_vram_total": f"{16 * GIB}\n",
        "mem_info_vram_used": f"{3 * GIB}\n",
        "mem_info_vis_vram_total": f"{16 * GIB}\n",
        "mem_info_vis_vram_used": f"{2 * GIB}\n",
        "mem_info_gtt_total": f"{32 * GIB}\n",
        "mem_info_gtt_used": f"{GIB}\n",
        "gpu_busy_percent": "3\n",
        "mem_busy_percent": "1\n",
    }
    for name, text in {**usual, **(files or {})}.items():
        if text is not None:
            (device / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def read_one(root: Path) -> AmdGpu:
    reading = read_amdgpus(SysRoot(root))
    assert reading.errors == ()
    (gpu,) = reading.gpus
    return gpu


def test_read_amdgpus_of_a_machine_without_graphics_finds_none(tmp_path: Path) -> None:
    assert read_amdgpus(SysRoot(tmp_path)) == AmdGpusReading((), ())


def test_read_amdgpus_of_the_live_machine_has_consistent_figures() -> None:
    reading = read_amdgpus(SysRoot())
    assert reading.errors == ()
    for gpu in reading.gpus:
        assert 0 <= gpu.vram_used_bytes <= gpu.vram_total_bytes
        assert 0 <= gpu.gtt_used_bytes <= gpu.gtt_total_bytes


@pytest.mark.parametrize(
    ("machine", "gpu"),
    [
        (
            "strix-halo",
            AmdGpu(
                "card1", "0000:c4:00.0", "amdgpu", 512 * MIB, 312 * MIB, 512 * MIB, 312 * MIB, 96 * GIB, 40 * GIB, True
            ),
        ),
        (
            "amd-discrete",
            AmdGpu(
                "card0",
                "0000:03:00.0",
                "amdgpu",
                25753026560,
                21474836480,
                25753026560,
                21470642176,
                33454964736,
                1536 * MIB,
                False,
            ),
        ),
        (
            "two-gpus",
            AmdGpu(
                "card0",
                "0000:0b:00.0",
                "amdgpu",
                17163091968,
                9 * GIB,
                256 * MIB,
                120 * MIB,
                48 * GIB,
                768 * MIB,
                False,
            ),
        ),
        (
            "hybrid-laptop",
            AmdGpu(
                "card1",
                "0000:05:00.0",
                "amdgpu",
                512 * MIB,
                480 * MIB,
                512 * MIB,
                480 * MIB,
                7986 * MIB,
                900 * MIB,
                True,
            ),
        ),
        (
            "kernel-gpuactive",
            AmdGpu(
                "card1", "0000:c5:00.0", "amdgpu", 2 * GIB, 1800 * MIB, 2 * GIB, 1800 * MIB, 48 * GIB, 24 * GIB, True
            ),
        ),
    ],
)
def test_read_amdgpus_of_a_machine_has_its_figures(repository: Path, machine: str, gpu: AmdGpu) -> None:
    assert read_one(repository / "tests/sysroots" / machine) == gpu


@pytest.mark.parametrize("machine", ["nvidia-desktop", "container", "cgroup-v1"])
def test_read_amdgpus_leaves_other_gpus_out(repository: Path, machine: str) -> None:
    assert read_amdgpus(SysRoot(repository / "tests/sysroots" / machine)) == AmdGpusReading((), ())


def test_read_amdgpus_looks_at_cards_only_and_in_order(tmp_path: Path) -> None:
    for number in (10, 9, 0):
        make_card(tmp_path, card=f"card{number}", address=f"0000:{number:02x}:00.0")
    for name in ("card0-DP-1", "renderD128", "controlD64", "version", "card", "cardinal", "card٣"):
        make_card(tmp_path, card=name)
    reading = read_amdgpus(SysRoot(tmp_path))
    assert reading.errors == ()
    assert [gpu.card for gpu in reading.gpus] == ["card0", "card9", "card10"]


@pytest.mark.parametrize(
    ("files", "is_apu"),
    [
        ({}, False),
        ({"mem_busy_percent": None}, True),
        ({"mem_busy_percent": None, "pcie_bw": "0 0 256\n"}, False),  # Vega 10 with all of its VRAM visible
        ({"mem_busy_percent": None, "mem_info_vis_vram_total": f"{256 * MIB}\n"}, False),
        ({"mem_busy_percent": None, "gpu_busy_percent": None}, False),  # amdgpu.dpm=0: nothing to tell by
        ({"mem_info_vram_total": "0\n", "mem_info_vis_vram_total": "0\n"}, True),
    ],
)
def test_read_amdgpus_guesses_an_apu_by_what_the_driver_shows(
    tmp_path: Path, files: dict[str, str | None], is_apu: bool
) -> None:
    make_card(tmp_path, files)
    assert read_one(tmp_path).is_apu is is_apu


def test_read_amdgpus_of_a_gpu_without_vram_has_its_gtt(tmp_path: Path) -> None:
    make_card(tmp_path, {f"mem_info_{name}": None for name in FIGURES[:4]})
    gpu = read_one(tmp_path)
    assert (gpu.vram_total_bytes, gpu.visible_vram_total_bytes, gpu.gtt_total_bytes) == (0, 0, 32 * GIB)
    assert gpu.is_apu


def test_read_amdgpus_cuts_what_is_used_at_the_total(tmp_path: Path) -> None:
    make_card(tmp_path, {"mem_info_gtt_used": f"{33 * GIB}\n", "mem_info_vram_used": f"{16 * GIB + 1}\n"})
    gpu = read_one(tmp_path)
    assert (gpu.gtt_used_bytes, gpu.vram_used_bytes) == (32 * GIB, 16 * GIB)


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"-1\n",
        b"1.5\n",
        b"0x10\n",
        b"12 KiB\n",
        b"1\n2\n",
        b" 1\n",
        b"9" * 21,
        b"9" * 5000,
        b"\xff\xfe",
        b"1\0",
    ],
)
def test_read_amdgpus_names_the_malformed_file_and_reads_the_other_cards(
    tmp_path: Path, figure: str, text: bytes
) -> None:
    make_card(tmp_path, {f"mem_info_{figure}": text})
    make_card(tmp_path, card="card1", address="0000:04:00.0")
    reading = read_amdgpus(SysRoot(tmp_path))
    assert [gpu.pci_address for gpu in reading.gpus] == ["0000:04:00.0"]
    assert [error.path for error in reading.errors] == [f"/sys/class/drm/card0/device/mem_info_{figure}"]


@pytest.mark.parametrize("figure", ["vram_used", "vis_vram_used", "gtt_used"])
def test_read_amdgpus_of_a_figure_without_its_fellow_is_an_error(tmp_path: Path, figure: str) -> None:
    make_card(tmp_path, {f"mem_info_{figure}": None})
    reading = read_amdgpus(SysRoot(tmp_path))
    assert reading.gpus == ()
    assert [str(error) for error in reading.errors] == [f"/sys/class/drm/card0/device/mem_info_{figure}: missing"]


@pytest.mark.parametrize(
    "uevent", [None, "", "DRIVER=amdgpu\n", "PCI_SLOT_NAME=\n", "PCI_SLOT_NAME=3:0.0\n", b"\xff=\xff"]
)
def test_read_amdgpus_of_a_gpu_without_an_address_is_an_error(tmp_path: Path, uevent: str | bytes | None) -> None:
    make_card(tmp_path, {"uevent": uevent})
    reading = read_amdgpus(SysRoot(tmp_path))
    assert reading.gpus == ()
    assert [error.path for error in reading.errors] == ["/sys/class/drm/card0/device/uevent"]


@pytest.mark.parametrize("file", ["uevent", *(f"mem_info_{figure}" for figure in FIGURES)])
@given(data=st.binary(max_size=64))
def test_read_amdgpus_of_arbitrary_bytes_is_a_reading_or_an_error_that_names_the_file(file: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        make_card(Path(folder), {file: data})
        reading = read_amdgpus(SysRoot(folder))
    assert len(reading.gpus) + len(reading.errors) == 1
    assert all(error.path == f"/sys/class/drm/card0/device/{file}" for error in reading.errors)
