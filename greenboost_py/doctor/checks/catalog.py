"""The one list of checks: the command runs it, docs/doctor.md is made from it, and the tests walk it."""

from collections.abc import Callable
from dataclasses import dataclass

from greenboost_py.doctor.checks import boot, daemon, ladder, limits, link, memory, nvidia, surroundings
from greenboost_py.doctor.examination import Examination
from greenboost_py.doctor.finding import Finding, Outcome


@dataclass(frozen=True, slots=True)
class Check:
    """One of them.

    Attributes:
        name: as it is shown.
        look: the function.
        looks_at: what it looks at.
        bad_when: when its verdict is WARN or FAIL.
        remedy: what to do then.
    """

    name: str
    look: Callable[[Examination], Outcome]
    looks_at: str
    bad_when: str
    remedy: str

    def examine(self, seen: Examination) -> Finding:
        """Its finding on a machine."""
        outcome = self.look(seen)
        return Finding(self.name, outcome.verdict, outcome.text, outcome.next)


CHECKS = (
    Check(
        "driver",
        nvidia.driver,
        "NVIDIA's kernel module: version, open or proprietary",
        "fail: a GPU is there and no driver, or nouveau, has it",
        "install NVIDIA's driver by the distribution's tools",
    ),
    Check(
        "nvml",
        nvidia.nvml,
        "NVML, with a deadline of 10 s",
        "fail: it hangs, or does not fit the kernel module; warn: a GPU is left out",
        "reboot after an update of the driver; else `dmesg`",
    ),
    Check(
        "cuda",
        nvidia.cuda,
        "`cuInit` and the driver's CUDA version, in a child with a deadline of 20 s",
        "fail: it hangs or fails; warn: before 12.5 nothing can be moved",
        "install `libcuda`, pass the GPU into the container, or update the driver",
    ),
    Check(
        "devices",
        nvidia.devices,
        "CUDA's devices, against NVML and PCI",
        "fail: none of those that are there; warn: not all",
        "`CUDA_VISIBLE_DEVICES`, the container's devices",
    ),
    Check(
        "library",
        ladder.library,
        "`libgreenboost.so`, preloaded into a child",
        "fail: it is missing, does not load, or CUDA fails with it and not without",
        "build or install it again",
    ),
    Check(
        "tiers",
        ladder.tiers,
        "the shim's self-test of split, host_mapped and managed on each device, with a request beyond a limit of 1 MiB",
        "fail: none works; warn: split does not, or a request was refused",
        "update the driver; the reason of each rung is in the text",
    ),
    Check(
        "link",
        link.link,
        "generation and width of each GPU's PCI Express link and of the ports above it, now and at best",
        "warn: fewer lanes than card or slot could use, or a port such as Thunderbolt",
        "reseat, another slot, the firmware's sharing of lanes; `greenboost probe`",
    ),
    Check(
        "bandwidth",
        link.bandwidth,
        "what `greenboost probe` measured",
        "warn: never measured, a file that cannot be used, or less than half of what the link carries",
        "`greenboost probe`",
    ),
    Check(
        "numa",
        memory.numa,
        "each GPU's NUMA node, its RAM, and whether this process may use it",
        "warn: the node has no RAM, or is not allowed",
        "`numactl`, the cpuset, memory modules",
    ),
    Check(
        "ram",
        memory.ram,
        "RAM that can be had, the hidden part taken off",
        "fail: no more than the reserve; warn: less than 1/8",
        "`greenboost status` says who holds it",
    ),
    Check(
        "swap", memory.swap, "swap and how full it is", "warn: more than 90 % in use", "`greenboost status`, more swap"
    ),
    Check(
        "zram",
        memory.zram,
        "RAM that zram takes, which meminfo does not show",
        "warn: more than a quarter of RAM",
        "`zramctl`; a disk for swap",
    ),
    Check(
        "cgroup",
        memory.cgroup,
        "the memory limits of this process' cgroups",
        "fail: 1/16 of the limit or less is left",
        "`docker run --memory`, `MemoryMax=`",
    ),
    Check(
        "overcommit",
        limits.overcommit,
        "`vm.overcommit_memory`, `CommitLimit`",
        "fail: mode 2 and less than 1 GiB left; warn: mode 2",
        "`sysctl vm.overcommit_memory=0`",
    ),
    Check(
        "memlock",
        limits.memlock,
        "`RLIMIT_MEMLOCK`, and whether there is an RDMA adapter",
        "warn: limited, with an RDMA adapter",
        "`ulimit -l unlimited`, `LimitMEMLOCK=infinity`",
    ),
    Check(
        "address-space",
        limits.address_space,
        "`RLIMIT_AS`, `RLIMIT_DATA`",
        "fail: address space is limited; warn: data is",
        "`ulimit -v unlimited`, `ulimit -d unlimited`",
    ),
    Check(
        "iommu",
        boot.iommu,
        "whether DMA is translated",
        "warn: it is, with more than one NVIDIA GPU",
        "`greenboost kernel-params set --iommu pt`",
    ),
    Check(
        "gtt",
        boot.gtt,
        "how much RAM an AMD APU may use",
        "warn: no more than the kernel's default, where more makes sense",
        "`greenboost kernel-params recommend`",
    ),
    Check(
        "carve-out",
        boot.carve_out,
        "RAM that the firmware set aside as an APU's VRAM",
        "warn: 2 GiB or more",
        "the firmware's UMA frame buffer, then `greenboost kernel-params recommend`",
    ),
    Check(
        "kernel-params",
        boot.parameters,
        "the running kernel's parameters for TTM, GTT and IOMMU, and modprobe.d",
        "fail, warn: they contradict each other, or have no effect",
        "`greenboost kernel-params show`",
    ),
    Check(
        "hmm",
        nvidia.hmm,
        "Heterogeneous Memory Management, which no tier needs",
        "warn: CUDA does not start, and HMM is on",
        "`options nvidia_uvm uvm_disable_hmm=1` in modprobe.d",
    ),
    Check(
        "LD_PRELOAD",
        surroundings.preload_environment,
        "what this shell puts into programs",
        "fail: another library of that kind, or another copy of this one; warn: a file that is missing",
        "`unset LD_PRELOAD`",
    ),
    Check(
        "ld.so.preload",
        surroundings.preload_system,
        "what the system puts into every program",
        "fail: another library of that kind, or a file that is missing; warn: this one",
        "edit the file; `greenboost run`",
    ),
    Check(
        "unified-memory",
        surroundings.unified_memory,
        "`GGML_CUDA_ENABLE_UNIFIED_MEMORY`, llama.cpp's switch",
        "warn: set, to anything",
        "`unset GGML_CUDA_ENABLE_UNIFIED_MEMORY`",
    ),
    Check(
        "settings",
        surroundings.settings,
        "`GREENBOOST_*` in this shell's environment",
        "fail: a value that is not accepted; warn: switched off, or no such option",
        "`greenboost run --help`, [options.md](options.md)",
    ),
    Check(
        "ceilings",
        surroundings.ceilings,
        "`/etc/greenboost/ceilings`, the administrator's limits",
        "fail: a line that counts for nothing",
        "[options.md](options.md#ceilings)",
    ),
    Check(
        "daemon",
        daemon.daemon,
        "whether a daemon runs and answers",
        "fail: it does not answer; warn: none runs, or memory is at its critical level",
        "`greenboost service install`, `greenboost service status`",
    ),
    Check(
        "readings",
        daemon.readings,
        "every file that was read for the others",
        "warn: one is malformed",
        "report it",
    ),
)
"""In the order in which they are shown: what the later ones build on comes first."""


def examine_all(seen: Examination) -> tuple[Finding, ...]:
    """Every check's finding."""
    return tuple(check.examine(seen) for check in CHECKS)
