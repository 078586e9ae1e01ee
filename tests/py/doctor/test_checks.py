"""Every check, on machines on which it is bad and on one on which it is good. The walk at the end demands both."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from greenboost_py.base.ceilings import Ceilings
from greenboost_py.doctor.checks.catalog import CHECKS, examine_all
from greenboost_py.doctor.cuda import CudaDevice, CudaReading, Rung
from greenboost_py.doctor.examination import Examination
from greenboost_py.doctor.finding import Finding, Verdict
from greenboost_py.kernel_params.conflicts import Conflict
from greenboost_py.kernel_params.facts import Facts, Iommu
from greenboost_py.probe.results import DeviceResult, ProbeResults, ResultsError
from greenboost_py.sensors.amdgpu import AmdGpu
from greenboost_py.sensors.cgroup import CgroupLevel, CgroupReading
from greenboost_py.sensors.numa import NumaNode, NumaReading
from greenboost_py.sensors.nvidia_driver import NvidiaDriver
from greenboost_py.sensors.nvml_reading import NvidiaGpu, NvmlError, NvmlReading
from greenboost_py.sensors.overcommit import OvercommitReading
from greenboost_py.sensors.pcie_link import PciDevice, PcieGpu, PcieLink, Rate
from greenboost_py.sensors.preload import Preload, PreloadReading
from greenboost_py.sensors.ram import RamReading
from greenboost_py.sensors.rlimits import RlimitsReading
from greenboost_py.sensors.swap import SwapDevice, SwapReading, ZramDevice

MIB, GIB = 1 << 20, 1 << 30
ADDRESS, UUID, LIBRARY = "0000:01:00.0", "GPU-1", "/opt/greenboost/libgreenboost.so"
DRIVER = NvidiaDriver("570.86.15", True, False, True, False)
RUNGS = (Rung("split", None), Rung("host_mapped", None), Rung("managed", None))
DEVICE = CudaDevice(0, "RTX 4090", UUID, ADDRESS, "8.9", True, False, RUNGS, "")
CUDA = CudaReading(version=13000, devices=(DEVICE,), is_shim_loaded=True)
RAM = RamReading(64 * GIB, 40 * GIB, 48 * GIB, 0, None, None, 0, 8 * GIB, 8 * GIB)
RESULT = DeviceResult(
    UUID,
    "RTX 4090",
    "570.86.15",
    900 * 10**9,
    880 * 10**9,
    25 * 10**9,
    26 * 10**9,
    22 * 10**9,
    None,
    datetime(2026, 11, 21, tzinfo=UTC),
)
APU = AmdGpu("card1", "0000:c4:00.0", "amdgpu", 512 * MIB, 0, 512 * MIB, 0, 32 * GIB, 0, is_apu=True)
PORT = "0000:00:01.0"
IDLE, GEN4 = Rate(2.5, 16), Rate(16, 16)


def gpu(
    now: Rate | None = IDLE,
    card: Rate = GEN4,
    port: Rate = GEN4,
    removable: bool = False,
    **changes: Any,
) -> PcieGpu:
    link = PcieLink(PciDevice(ADDRESS, now, card, removable), PciDevice(PORT, now, port, False))
    return dataclasses.replace(PcieGpu(ADDRESS, 0x10DE, "nvidia", 0, (link,)), **changes)


def ram(available_bytes: int) -> RamReading:
    return dataclasses.replace(RAM, available_bytes=available_bytes)


def machine(**changes: Any) -> Examination:
    """A desktop with one NVIDIA GPU, where all is well, but for what is changed."""
    healthy = Examination(
        driver=DRIVER,
        gpus=(gpu(),),
        nvml=NvmlReading((NvidiaGpu(0, UUID, ADDRESS, "RTX 4090", 24 * GIB, GIB, 23 * GIB),), at_s=1.0),
        cuda=CUDA,
        library=LIBRARY,
        results=ProbeResults((RESULT,)),
        ram=RAM,
        swap=SwapReading((SwapDevice("/dev/sda3", "partition", 8 * GIB, GIB, -2),), ()),
        overcommit=OvercommitReading(0, 40 * GIB, 50 * GIB),
        rlimits=RlimitsReading(8 * MIB, None, None),
        numa=NumaReading((NumaNode(0, 64 * GIB),), frozenset({0})),
        preload=PreloadReading((), ()),
        facts=Facts(release="6.12.0", iommu=Iommu("pt", (), {}), ram_total_bytes=64 * GIB),
        daemon={"resources": [{"level": "ok"}]},
    )
    return dataclasses.replace(healthy, **changes)


def cuda(**changes: Any) -> Examination:
    return machine(cuda=dataclasses.replace(CUDA, **changes))


def device(**changes: Any) -> Examination:
    return cuda(devices=(dataclasses.replace(DEVICE, **changes),))


def facts(**changes: Any) -> Examination:
    return machine(facts=dataclasses.replace(machine().facts, **changes))


def preloads(system: tuple[Preload, ...] = (), environment: tuple[Preload, ...] = ()) -> Examination:
    return machine(preload=PreloadReading(system, environment))


def slow(**changes: Any) -> Examination:
    return machine(results=ProbeResults((dataclasses.replace(RESULT, **changes),)))


NODES = NumaReading((NumaNode(0, 0), NumaNode(1, 32 * GIB)), frozenset({1}))
LEVEL = CgroupLevel("sys/fs/cgroup/x", 16 * GIB, 4 * GIB, 0)
NO_CUDA = CudaReading(error="libcuda.so.1: cannot open shared object file", is_absent=True, is_shim_loaded=True)
NOTHING = Examination()
BARE = machine(driver=NvidiaDriver(None, None, False, False, None), gpus=(), nvml=NvmlReading(), cuda=NO_CUDA)
VMWARE = gpu(driver="vfio-pci")

FAIL, WARN, NOTE, OK, UNKNOWN = Verdict.FAIL, Verdict.WARN, Verdict.NOTE, Verdict.OK, Verdict.UNKNOWN

BARE_DRIVER = NvidiaDriver(None, None, False, False, None)
NOUVEAU = NvidiaDriver(None, None, True, False, None)


def without_driver(**changes: Any) -> Examination:
    return machine(**({"driver": BARE_DRIVER, "nvml": NvmlReading(), "cuda": NO_CUDA} | changes))


CASES: list[tuple[str, Examination, Verdict, str]] = [
    ("driver", machine(), OK, "570.86.15, the open"),
    ("driver", without_driver(gpus=(gpu(driver=None),)), FAIL, "no driver for it is loaded"),
    ("driver", without_driver(driver=NOUVEAU, gpus=(gpu(driver="nouveau"),)), FAIL, "nouveau"),
    ("driver", without_driver(gpus=(VMWARE,)), NOTE, "vfio-pci"),
    ("driver", machine(driver=None), NOTE, "a container"),
    ("driver", BARE, NOTE, "No NVIDIA GPU"),
    ("nvml", machine(), OK, "1 GPU"),
    ("nvml", machine(nvml=NvmlReading(error=NvmlError("NVML: Driver/library version mismatch"))), FAIL, "still loaded"),
    ("nvml", machine(nvml=NvmlReading(error=NvmlError("NVML: no answer"), is_stale=True)), FAIL, "hangs"),
    ("nvml", machine(nvml=NvmlReading(error=NvmlError("NVML: Unknown Error"))), FAIL, "Unknown Error"),
    ("nvml", machine(nvml=NvmlReading(left_out=("GPU 1: lost",))), WARN, "GPU 1: lost"),
    ("nvml", machine(nvml=NvmlReading()), WARN, "no GPU"),
    ("nvml", BARE, NOTE, "not needed"),
    ("cuda", machine(), OK, "CUDA 13.0"),
    ("cuda", cuda(is_hung=True, error="no answer within the deadline"), FAIL, "hangs"),
    ("cuda", cuda(error="cuInit: CUDA_ERROR_UNKNOWN (999)", devices=()), FAIL, "999"),
    ("cuda", machine(cuda=NO_CUDA), FAIL, "libcuda.so.1"),
    ("cuda", cuda(version=12040), WARN, "Before 12.5"),
    ("cuda", BARE, NOTE, "libcuda.so.1"),
    ("cuda", NOTHING, UNKNOWN, "not asked"),
    ("devices", machine(), OK, "0: RTX 4090 (8.9)"),
    ("devices", cuda(devices=()), FAIL, "no device, and there is 1 GPU"),
    ("devices", machine(gpus=(gpu(), gpu(address="0000:02:00.0"))), WARN, "1 of 2"),
    ("devices", BARE, NOTE, "No NVIDIA GPU"),
    ("library", machine(), OK, "loads"),
    ("library", machine(library=None, library_error="build/libgreenboost.so is not built yet"), FAIL, "not built"),
    ("library", cuda(is_shim_loaded=None), FAIL, "LD_PRELOAD"),
    ("library", cuda(is_shim_loaded=False), FAIL, "does not load it"),
    ("library", cuda(shim_error="GPU 0: killed by signal 11"), FAIL, "signal 11"),
    ("tiers", machine(), OK, "split, host_mapped, managed work"),
    ("tiers", device(rungs=tuple(Rung(rung.tier, "broken") for rung in RUNGS)), FAIL, "not managed: broken"),
    ("tiers", device(rungs=(Rung("split", "no virtual memory management"), *RUNGS[1:])), WARN, "not split: no virtual"),
    ("tiers", device(overflow="cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY (2)"), WARN, "was refused: cuMemAlloc"),
    ("tiers", device(rungs=(), overflow=None), UNKNOWN, "not reached"),
    ("tiers", cuda(is_shim_loaded=False), UNKNOWN, "could not be loaded"),
    ("tiers", cuda(devices=()), UNKNOWN, "no device"),
    ("tiers", BARE, NOTE, "nothing to overflow"),
    ("link", machine(), OK, "Gen1 x16 now, Gen4 x16 at best. The speed falls"),
    ("link", machine(gpus=(gpu(Rate(16, 4)),)), WARN, "4 of 16 lanes are in use below 0000:00:01.0"),
    ("link", machine(gpus=(gpu(Rate(16, 4), port=Rate(16, 4)),)), WARN, "OCuLink"),
    ("link", machine(gpus=(gpu(removable=True),)), WARN, "Thunderbolt"),
    ("link", machine(gpus=(gpu(Rate(8, 16), port=Rate(8, 16)),)), NOTE, "could do Gen4"),
    ("link", machine(gpus=(gpu(None),)), OK, "an unknown rate now"),
    ("link", facts(gpus=(dataclasses.replace(APU, pci_address=ADDRESS),)), NOTE, "No GPU shows"),
    ("link", BARE, NOTE, "No GPU shows"),
    ("bandwidth", machine(), OK, "VRAM 900, to the device 25.0, from it 26.0, read in place 22.0 GB/s"),
    ("bandwidth", machine(results=ProbeResults()), WARN, "never measured"),
    ("bandwidth", machine(results=ProbeResults(error=ResultsError("probe.json is broken"))), WARN, "broken"),
    ("bandwidth", slow(h2d_copy_bytes_per_s=6 * 10**9), WARN, "less than half of what Gen4 x16 carries"),
    ("bandwidth", slow(driver_version="535.1"), NOTE, "another now"),
    ("bandwidth", BARE, NOTE, "RAM was never measured"),
    ("numa", machine(), OK, "One node"),
    ("numa", machine(numa=NODES), WARN, "its node, 0, has no RAM"),
    ("numa", machine(numa=NODES, gpus=(gpu(numa_node=1),)), OK, "node 1, with 32.0 GiB"),
    (
        "numa",
        machine(numa=dataclasses.replace(NODES, allowed=frozenset({0})), gpus=(gpu(numa_node=1),)),
        WARN,
        "may not have memory of its node, 1",
    ),
    ("numa", machine(numa=NODES, gpus=(gpu(numa_node=None),)), NOTE, "does not say"),
    ("numa", machine(numa=None), OK, "one memory"),
    ("ram", machine(), OK, "48.0 GiB of 64.0 GiB"),
    ("ram", machine(ram=ram(3 * GIB)), FAIL, "nothing can overflow"),
    ("ram", machine(ram=ram(6 * GIB)), WARN, "little is left"),
    ("ram", NOTHING, UNKNOWN, "cannot be read"),
    ("swap", machine(), OK, "1.00 GiB of 8.00 GiB"),
    ("swap", machine(swap=SwapReading((SwapDevice("/s", "file", 10 * GIB, 10 * GIB, 0),), ())), WARN, "nearly full"),
    ("swap", machine(swap=None), NOTE, "None"),
    ("zram", machine(), OK, "None"),
    (
        "zram",
        machine(swap=SwapReading((), (ZramDevice("zram0", 60 * GIB, 20 * GIB, 20 * GIB, None),))),
        WARN,
        "quarter",
    ),
    ("zram", machine(swap=SwapReading((), (ZramDevice("zram0", GIB, GIB, GIB, None),))), OK, "1.00 GiB of RAM"),
    ("cgroup", machine(), OK, "No memory cgroup"),
    (
        "cgroup",
        machine(cgroup=CgroupReading("/x", 2, (dataclasses.replace(LEVEL, usage_bytes=16 * GIB),))),
        FAIL,
        "nothing can overflow",
    ),
    ("cgroup", machine(cgroup=CgroupReading("/x", 2, (LEVEL,))), NOTE, "12.0 GiB of 16.0 GiB"),
    ("overcommit", machine(), OK, "=0"),
    ("overcommit", machine(overcommit=OvercommitReading(2, 40 * GIB, 40 * GIB)), FAIL, "0 B are left"),
    ("overcommit", machine(overcommit=OvercommitReading(2, 40 * GIB, 30 * GIB)), WARN, "10.0 GiB are left"),
    ("overcommit", machine(overcommit=None), UNKNOWN, "does not show"),
    ("memlock", machine(), OK, "8.00 MiB"),
    ("memlock", machine(has_rdma=True), WARN, "RDMA"),
    ("memlock", machine(has_rdma=True, rlimits=RlimitsReading(None, None, None)), OK, "Unlimited"),
    ("memlock", machine(rlimits=None), UNKNOWN, "cannot be read"),
    ("address-space", machine(), OK, "Unlimited"),
    ("address-space", machine(rlimits=RlimitsReading(None, 8 * GIB, None)), FAIL, "8.00 GiB: CUDA reserves"),
    ("address-space", machine(rlimits=RlimitsReading(None, None, GIB)), WARN, "RLIMIT_DATA"),
    ("address-space", machine(rlimits=None), UNKNOWN, "cannot be read"),
    ("iommu", machine(), OK, "pass-through"),
    (
        "iommu",
        dataclasses.replace(facts(iommu=Iommu("translated", (), {})), gpus=(gpu(), gpu(address="0000:02:00.0"))),
        WARN,
        "between GPUs",
    ),
    ("iommu", facts(iommu=Iommu("translated", (), {}), gpus=(APU,)), NOTE, "costs an APU"),
    ("iommu", facts(iommu=Iommu("translated", (), {})), OK, "does not mind"),
    ("iommu", facts(iommu=Iommu("off", (), {})), OK, "Not in use"),
    ("iommu", facts(iommu=None), UNKNOWN, "does not show"),
    ("gtt", machine(), OK, "No AMD APU"),
    ("gtt", facts(gpus=(APU,)), WARN, "48.0 GiB would do"),
    ("gtt", facts(gpus=(dataclasses.replace(APU, gtt_total_bytes=48 * GIB),)), OK, "0 B of 48.0 GiB"),
    ("carve-out", facts(gpus=(APU,)), OK, "512 MiB"),
    ("carve-out", facts(gpus=(dataclasses.replace(APU, vram_total_bytes=32 * GIB),)), WARN, "32.0 GiB of RAM"),
    ("kernel-params", machine(), OK, "Nothing"),
    (
        "kernel-params",
        machine(conflicts=(Conflict("n", "error", "ttm.pages_limit=x", "give pages"),)),
        FAIL,
        "give pages",
    ),
    (
        "kernel-params",
        machine(conflicts=(Conflict("n", "warning", "twice", "remove one"),)),
        WARN,
        "twice: remove one.",
    ),
    ("kernel-params", machine(conflicts=(Conflict("n", "note", "odd", "look"),)), NOTE, "odd"),
    ("hmm", machine(), OK, "any memory"),
    ("hmm", cuda(error="cuInit: CUDA_ERROR_UNKNOWN (999)", devices=()), WARN, "does not start with HMM on"),
    ("hmm", device(reaches_pageable=False), NOTE, "does not offer it"),
    (
        "hmm",
        dataclasses.replace(device(reaches_pageable=False), driver=dataclasses.replace(DRIVER, is_open=False)),
        NOTE,
        "open kernel module",
    ),
    (
        "hmm",
        dataclasses.replace(device(reaches_pageable=False), driver=dataclasses.replace(DRIVER, hmm_is_off=True)),
        NOTE,
        "uvm_disable_hmm",
    ),
    ("hmm", dataclasses.replace(device(reaches_pageable=False), facts=Facts(release="5.15.0")), NOTE, "Linux 6.1.24"),
    ("hmm", cuda(version=12000, devices=(dataclasses.replace(DEVICE, reaches_pageable=False),)), NOTE, "CUDA 12.2"),
    ("hmm", cuda(devices=()), UNKNOWN, "no device"),
    ("hmm", machine(driver=None), UNKNOWN, "cannot be seen"),
    ("hmm", BARE, NOTE, "No NVIDIA GPU"),
    ("LD_PRELOAD", machine(), OK, "Not set"),
    ("LD_PRELOAD", preloads(environment=(Preload("/opt/libnvshare.so", False),)), FAIL, "nvshare"),
    ("LD_PRELOAD", preloads(environment=(Preload("/home/x/libgreenboost.so", False),)), FAIL, "one too many"),
    ("LD_PRELOAD", preloads(environment=(Preload("/gone.so", True),)), WARN, "/gone.so"),
    ("LD_PRELOAD", preloads(environment=(Preload(LIBRARY, False),)), NOTE, "every program of this shell"),
    ("LD_PRELOAD", preloads(environment=(Preload("libjemalloc.so.2", False),)), NOTE, "libjemalloc"),
    ("LD_PRELOAD", NOTHING, UNKNOWN, "cannot be told"),
    ("ld.so.preload", machine(), OK, "Nothing"),
    ("ld.so.preload", preloads(system=(Preload("/x/libvgpu.so", False),)), FAIL, "HAMi"),
    ("ld.so.preload", preloads(system=(Preload("/gone\x1b.so", True),)), FAIL, "/gone?.so; every program"),
    ("ld.so.preload", preloads(system=(Preload(LIBRARY, False),)), WARN, "every program"),
    ("ld.so.preload", preloads(system=(Preload("/usr/lib/libsnoopy.so", False),)), NOTE, "snoopy"),
    ("ld.so.preload", NOTHING, UNKNOWN, "cannot be told"),
    ("unified-memory", machine(), OK, "Not set"),
    ("unified-memory", machine(unified_memory="0"), WARN, "=0: llama.cpp then allocates managed memory"),
    ("unified-memory", machine(unified_memory=""), WARN, "managed memory"),
    ("ceilings", machine(), OK, "none"),
    ("ceilings", machine(ceilings=Ceilings((), ())), OK, "none"),
    ("ceilings", machine(ceilings=Ceilings((("HOST_LIMIT", "8GiB"),), ())), NOTE, "HOST_LIMIT=8GiB"),
    ("ceilings", machine(ceilings=Ceilings((), ("line 1: write\x1b NAME=VALUE",))), FAIL, "line 1: write? NAME=VALUE"),
    ("settings", machine(), OK, "None"),
    ("settings", machine(settings={"GREENBOOST_VRAM_LIMIT": "lots"}), FAIL, "'lots' is not a size"),
    ("settings", machine(settings={"GREENBOOST_DISABLE": "On"}), WARN, "nothing at all"),
    ("settings", machine(settings={"GREENBOOST_VRAM_LIMTI": "1GiB"}), WARN, "GREENBOOST_VRAM_LIMTI: no such option"),
    ("settings", machine(settings={"GREENBOOST_VRAM_LIMIT": "8GiB", "GREENBOOST_LIBRARY": "/x"}), NOTE, "LIMIT=8GiB"),
    ("daemon", machine(), OK, "answers"),
    ("daemon", machine(daemon=None), WARN, "None runs"),
    ("daemon", machine(daemon=None, daemon_error="lease.sock: the daemon does not answer"), FAIL, "does not answer"),
    ("daemon", machine(daemon={"resources": [{"level": "critical"}]}), WARN, "critical"),
    ("daemon", machine(daemon={"resources": "?"}), OK, "answers"),
    ("readings", machine(), OK, "understood"),
    ("readings", machine(errors=("/proc/swaps: a line is malformed",)), WARN, "/proc/swaps"),
]


def find(name: str, seen: Examination) -> Finding:
    return next(check for check in CHECKS if check.name == name).examine(seen)


@pytest.mark.parametrize(
    ("name", "seen", "verdict", "text"), CASES, ids=[f"{case[0]}-{at}" for at, case in enumerate(CASES)]
)
def test_check_on_a_machine_comes_to_its_verdict(name: str, seen: Examination, verdict: Verdict, text: str) -> None:
    finding = find(name, seen)
    assert (finding.verdict, text in finding.text) == (verdict, True), finding
    assert finding.text.endswith((".", ")")), finding.text
    # Whoever is told of trouble is told what to do about it.
    assert finding.next or verdict not in (FAIL, WARN)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_check_has_a_machine_on_which_it_is_bad_and_one_on_which_it_is_good(check: Any) -> None:
    verdicts = {verdict for name, _, verdict, _ in CASES if name == check.name}
    assert verdicts & {FAIL, WARN}, "no machine on which it is bad"
    assert OK in verdicts, "no machine on which it is good"
    # What the documentation says of it is what the machines show.
    for verdict, word in ((FAIL, "fail"), (WARN, "warn")):
        assert (verdict in verdicts) == (word in check.bad_when.partition(":")[0] or f"; {word}:" in check.bad_when), (
            word
        )


def test_every_case_names_a_check() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    assert {name for name, *_ in CASES} == set(names)


@pytest.mark.parametrize("seen", [NOTHING, BARE], ids=["nothing", "no-gpu"])
def test_examine_all_of_a_machine_without_a_gpu_fails_for_no_gpu(seen: Examination) -> None:
    failed = {finding.name for finding in examine_all(seen) if finding.verdict is FAIL}
    assert failed <= {"library"}


def test_examine_all_of_a_healthy_machine_is_all_ok() -> None:
    assert {finding.verdict for finding in examine_all(machine())} == {OK}


def test_check_of_two_gpus_says_both_and_takes_the_worse() -> None:
    second = dataclasses.replace(DEVICE, ordinal=1, rungs=())
    finding = find("tiers", cuda(devices=(DEVICE, second)))
    assert finding.verdict is UNKNOWN
    assert "GPU 0:" in finding.text and "GPU 1:" in finding.text


def test_documentation_has_every_check(repository: Any) -> None:
    text = (repository / "docs/doctor.md").read_text()
    rows = [f"| {each.name} | {each.looks_at} | {each.bad_when} | {each.remedy} |" for each in CHECKS]
    assert [line for line in text.splitlines() if line.startswith("| ")][2:] == rows
