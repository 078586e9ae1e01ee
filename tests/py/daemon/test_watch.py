"""Looks at captured machines, one after the other: what is seen there, and what becomes of it when a file goes bad."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from greenboost_py.base.config import Config, RamConfig
from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.base.units import parse_size
from greenboost_py.daemon.watch import GROUPS_MAX, Watch
from greenboost_py.pressure.levels import Level
from greenboost_py.sensors.nvml_reading import NvidiaGpu, NvidiaProcess, NvmlError, NvmlReading

MIB, GIB = 1 << 20, 1 << 30
CGROUP = "sys/fs/cgroup"
CriticalAt = Callable[[str], Config]

RESOURCES = {
    "strix-halo": {
        "ram": (68564, 127984),
        "gtt:0000:c4:00.0": (57344, 98304),
        "vram:0000:c4:00.0": (200, 512),
        "cgroup:/sys/fs/cgroup/system.slice/greenboost.service": (173, 192),
    },
    "amd-discrete": {
        "ram": (43244, 63810),
        # ROCm's own limit leaves less than GTT's.
        "gtt:0000:03:00.0": (30369, 31905),
        "vram:0000:03:00.0": (4080, 24560),
        "cgroup:/sys/fs/cgroup/system.slice": (1148, 2048),
    },
    "nvidia-desktop": {"ram": (19049, 32016)},
    "two-gpus": {"ram": (67813, 95945), "gtt:0000:0b:00.0": (48384, 49152), "vram:0000:0b:00.0": (7152, 16368)},
    "hybrid-laptop": {
        "ram": (1404, 15972),
        # GTT is RAM: there is no more of it than of that.
        "gtt:0000:05:00.0": (1404, 7986),
        "vram:0000:05:00.0": (32, 512),
        "cgroup:/sys/fs/cgroup/user.slice/user-1000.slice": (2348, 14336),
    },
    "container": {"ram": (43241, 64173), "cgroup:/sys/fs/cgroup": (2432, 8192)},
    "kernel-gpuactive": {
        "ram": (25560, 61776),
        "gtt:0000:c5:00.0": (24576, 49152),
        "vram:0000:c5:00.0": (248, 2048),
    },
    "cgroup-v1": {"ram": (17073, 24105), "cgroup:/sys/fs/cgroup/memory/batch": (796, 4096)},
}
"""Of each machine all that is watched: MiB available, and of how many."""

GPU_HOST_MIB = {
    "strix-halo": 40 << 10,
    "amd-discrete": 1536,
    "nvidia-desktop": 0,
    "two-gpus": 768,
    "hybrid-laptop": 900,
    "container": 0,
    "kernel-gpuactive": 24 << 10,
    "cgroup-v1": 0,
}
"""What tests/sysroots/README.md says of each."""


class Nvml:
    """Answers what a test puts in."""

    def __init__(self, reading: NvmlReading) -> None:
        self.reading = reading

    def read(self) -> NvmlReading:
        return self.reading


CARD = NvidiaGpu(0, "GPU-1", "0000:01:00.0", "RTX", 24 * GIB, 20 * GIB, 4 * GIB)


@pytest.fixture
def machine(repository: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A function that copies a machine, so that a test may change it."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(repository / "tests/sysroots" / name, tmp_path / name, symlinks=True))

    return copy


Machine = Callable[[str], Path]


def watch(tree: Path, config: Config | None = None, nvml: Nvml | None = None, groups: tuple[str, ...] = ()) -> Watch:
    return Watch(SysRoot(tree), config or Config(), nvml, lambda: groups)


def with_ram(notice: str, warn: str, critical: str) -> Config:
    return replace(Config(), ram=RamConfig(*(parse_size(text) for text in (notice, warn, critical))))


def seen(watching: Watch, at_s: float = 1.0) -> dict[str, tuple[int, int]]:
    """What a look shows, in MiB."""
    samples = [assessment.sample for assessment in watching.look(at_s).assessments]
    return {sample.resource: (sample.available_bytes >> 20, sample.total_bytes >> 20) for sample in samples}


@pytest.mark.parametrize("name", RESOURCES)
def test_look_at_a_machine_sees_exactly_its_resources(repository: Path, name: str) -> None:
    watching = watch(repository / "tests/sysroots" / name)
    assert seen(watching) == RESOURCES[name]
    assert watching.view is not None
    assert watching.view.snapshot.errors == ()
    assert watching.view.gpu_host_bytes == GPU_HOST_MIB[name] * MIB
    assert (watching.view.looks, watching.view.ram_level) == (1, Level.WARN if name == "hybrid-laptop" else Level.OK)


def test_gpu_host_bytes_are_found_though_the_driver_does_not_say_so(machine: Machine) -> None:
    tree = machine("strix-halo")
    watching = watch(tree)
    watching.look(1.0)
    (tree / "sys/class/drm/card1/device/mem_info_gtt_used").write_text(f"{10 * GIB}\n")
    # 40 GiB are still gone that nobody else has: what was nobody's at the first look does not count.
    assert watching.look(2.0).gpu_host_bytes == 40 * GIB


def test_what_drivers_hold_is_told_as_of_when_the_holders_were_found(machine: Machine) -> None:
    tree = machine("strix-halo")
    watching = watch(tree)
    before = watching.look(1.0).gpu_host_bytes
    (tree / "sys/class/drm/card1/device/mem_info_gtt_used").write_text(f"{before + 7 * GIB}\n")
    assert watching.who_holds("ram").gpu_host_bytes == before + 7 * GIB
    assert watching.view is not None and watching.view.gpu_host_bytes == before


def test_look_at_an_empty_machine_sees_nothing_and_says_ok(tmp_path: Path) -> None:
    view = watch(tmp_path).look(1.0)
    assert (view.assessments, view.gpu_host_bytes, view.ram_level) == ((), 0, Level.OK)
    assert view.snapshot.errors == ()


@pytest.mark.parametrize(
    ("path", "text", "lost"),
    [
        ("proc/meminfo", "MemTotal: lots kB\n", "ram"),
        ("proc/meminfo", "", "ram"),
        ("proc/meminfo", "MemTotal: 0 kB\nMemFree: 0 kB\nMemAvailable: 0 kB\n", "ram"),
        ("proc/pressure/memory", "some avg10=x\n", None),
        ("proc/swaps", "nonsense\n", None),
        ("proc/self/cgroup", "nonsense\n", "cgroup:/sys/fs/cgroup/system.slice/greenboost.service"),
        ("sys/class/drm/card1/device/mem_info_gtt_used", "-1\n", "gtt:0000:c4:00.0"),
        ("sys/class/drm/card1/device/mem_info_vram_total", "\xff", "vram:0000:c4:00.0"),
        (f"{CGROUP}/system.slice/greenboost.service/memory.current", "\n", "cgroup:"),
        ("sys/module/ttm/parameters/pages_limit", "many\n", None),
    ],
)
def test_a_malformed_file_is_an_error_and_the_others_go_on(
    machine: Machine, path: str, text: str, lost: str | None
) -> None:
    tree = machine("strix-halo")
    assert (tree / path).is_file()
    watching = watch(tree)
    whole = seen(watching, 1.0)
    (tree / path).write_text(text)
    left = seen(watching, 2.0)
    assert watching.view is not None
    errors = watching.view.snapshot.errors
    assert errors and all(isinstance(error, SensorError) and error.path == f"/{path}" for error in errors)
    gone = set() if lost is None else {name for name in whole if name.startswith(lost)}
    # GTT and VRAM of a card are one reading.
    gone |= {name for name in whole if "sys/class/drm" in path and "c4:00.0" in name}
    assert gone or lost is None
    assert set(left) == set(whole) - gone


def test_own_group_counts_only_if_others_are_in_it(machine: Machine) -> None:
    tree = machine("strix-halo")
    procs = tree / CGROUP / "system.slice/greenboost.service/cgroup.procs"
    own = "cgroup:/sys/fs/cgroup/system.slice/greenboost.service"
    watching = watch(tree)
    procs.write_text("77\n")
    assert own not in seen(watching, 1.0)
    procs.write_text("77\n78\n")
    assert own in seen(watching, 2.0)
    procs.write_text("77\nnobody\n")
    assert own not in seen(watching, 3.0)
    assert watching.view is not None
    assert [str(error).partition(": ")[0] for error in watching.view.snapshot.errors] == [f"/{procs.relative_to(tree)}"]


def test_groups_of_clients_are_watched_once_and_if_they_are_limited(repository: Path) -> None:
    slice_ = f"/{CGROUP}/user.slice/user-1000.slice"
    groups = (f"{slice_}/user@1000.service/app.slice", slice_, slice_, f"/{CGROUP}/user.slice", f"/{CGROUP}/gone")
    found = seen(watch(repository / "tests/sysroots/strix-halo", groups=groups))
    assert [name for name in found if name.startswith(f"cgroup:{slice_}")] == [
        f"cgroup:{slice_}/user@1000.service/app.slice",
        f"cgroup:{slice_}",
    ]
    assert len(found) == len(RESOURCES["strix-halo"]) + 2
    assert found[f"cgroup:{slice_}"][1] == 96 << 10


def test_of_too_many_groups_the_first_are_watched(tmp_path: Path) -> None:
    groups = tuple(f"/{CGROUP}/job{number}" for number in range(GROUPS_MAX + 50))
    for group in groups:
        folder = tmp_path / group[1:]
        folder.mkdir(parents=True)
        (folder / "memory.max").write_text(f"{GIB}\n")
        (folder / "memory.current").write_text("0\n")
    assert list(seen(watch(tmp_path, groups=groups))) == [f"cgroup:{group}" for group in groups[:GROUPS_MAX]]


def test_configure_counts_from_the_next_look(repository: Path) -> None:
    watching = watch(repository / "tests/sysroots/nvidia-desktop")
    before = watching.look(1.0)
    assert (before.ram_level, before.changes) == (Level.OK, 0)
    assert watching.next_look_s(is_stalling=False) > 0.1
    watching.configure(with_ram("100%", "100%", "100%"))
    assert watching.view is before
    after = watching.look(2.0)
    assert (after.ram_level, after.changes, after.looks) == (Level.CRITICAL, 1, 2)
    assert watching.next_look_s(is_stalling=False) == 0.1


def test_a_stall_makes_the_next_look_soon(repository: Path) -> None:
    watching = watch(repository / "tests/sysroots/nvidia-desktop")
    watching.look(1.0)
    assert watching.next_look_s(is_stalling=True) == 0.1 < watching.next_look_s(is_stalling=False)


def test_cards_of_nvidia_are_watched_while_their_driver_answers(repository: Path) -> None:
    nvml = Nvml(NvmlReading(gpus=(CARD,)))
    watching = watch(repository / "tests/sysroots/nvidia-desktop", nvml=nvml)
    assert seen(watching, 1.0)["vram:0000:01:00.0"] == (4 << 10, 24 << 10)
    hung = NvmlError("the driver does not answer")
    nvml.reading = NvmlReading(gpus=(CARD,), error=hung, is_stale=True)
    assert list(seen(watching, 2.0)) == ["ram"]
    assert watching.view is not None
    assert watching.view.snapshot.errors == (hung,)
    nvml.reading = NvmlReading(gpus=(replace(CARD, used_bytes=24 * GIB, free_bytes=0),))
    seen(watching, 3.0)
    assert {a.sample.resource: a.level for a in watching.view.assessments}["vram:0000:01:00.0"] is Level.CRITICAL


def test_what_was_seen_is_remembered_and_what_has_gone_is_forgotten(machine: Machine) -> None:
    tree = machine("hybrid-laptop")
    watching = watch(tree)
    assert watching.look(1.0).ram_level is Level.WARN
    ram = watching.look(1.5).assessments[0]
    assert (ram.level, ram.since_s) == (Level.WARN, 1.0)
    meminfo = (tree / "proc/meminfo").read_text()
    (tree / "proc/meminfo").unlink()
    assert watching.look(2.0).ram_level is Level.OK
    (tree / "proc/meminfo").write_text(meminfo)
    ram = watching.look(3.0).assessments[0]
    assert (ram.level, ram.since_s) == (Level.WARN, 3.0)


def test_holders_are_everybody_and_of_a_group_its_members(machine: Machine) -> None:
    tree = machine("strix-halo")
    watching = watch(tree, nvml=Nvml(NvmlReading(processes=(NvidiaProcess(8130, "0000:01:00.0", GIB),))))
    watching.look(1.0)
    assert [holder.pid for holder in watching.who_holds("ram").holders] == [1, 2, 1543, 2210, 8123, 8130]
    assert watching.holders[-1].vram_bytes == {"0000:01:00.0": GIB}
    procs = tree / CGROUP / "user.slice/cgroup.procs"
    procs.write_text("8123\n8130\n")
    assert [holder.pid for holder in watching.who_holds(f"cgroup:/{CGROUP}/user.slice").holders] == [8123, 8130]
    procs.write_text("everybody\n")
    assert watching.who_holds(f"cgroup:/{CGROUP}/user.slice").holders == ()
    assert watching.who_holds(f"cgroup:/{CGROUP}/gone.slice").holders == ()


def test_holders_are_looked_up_only_when_asked_for(repository: Path) -> None:
    watching = watch(repository / "tests/sysroots/strix-halo")
    watching.look(1.0)
    assert watching.holders == ()
    assert len(watching.find_holders()) == len(watching.holders) == 6
