"""The parts of a frame that sensors know. Pure."""

from collections.abc import Iterable

from greenboost_py.pressure.levels import Assessment
from greenboost_py.screen.frame import Gpu, ProgramUse, Ram, Resource, Stall, Swap
from greenboost_py.sensors.amdgpu import AmdGpu
from greenboost_py.sensors.nvml_reading import NvidiaGpu
from greenboost_py.sensors.programs import Program
from greenboost_py.sensors.snapshot import Snapshot


def ram_of(snapshot: Snapshot, gpu_host_bytes: int) -> Ram | None:
    """RAM, with what GPU drivers hold of it."""
    ram = snapshot.ram
    if ram is None:
        return None
    return Ram(ram.total_bytes, ram.effective_available_bytes, ram.free_bytes, gpu_host_bytes)


def swap_of(snapshot: Snapshot) -> Swap | None:
    """Swap; None where the machine has neither swap nor zram."""
    ram, zram_bytes = snapshot.ram, 0 if snapshot.swap is None else snapshot.swap.zram_bytes
    if ram is None or not (ram.swap_total_bytes or zram_bytes):
        return None
    return Swap(ram.swap_total_bytes, max(0, ram.swap_total_bytes - ram.swap_free_bytes), zram_bytes)


def stall_of(snapshot: Snapshot) -> Stall | None:
    """How much tasks wait for memory."""
    return None if snapshot.psi is None else Stall(snapshot.psi.some_avg10, snapshot.psi.full_avg10)


def gpus_of(snapshot: Snapshot) -> tuple[Gpu, ...]:
    """Every GPU: NVIDIA's by index, then AMD's by card."""
    return (*map(_nvidia, snapshot.nvidia_gpus), *map(_amd, snapshot.amdgpus))


def _nvidia(gpu: NvidiaGpu) -> Gpu:
    # Used as NVML's free sees it: what the driver keeps for itself cannot be had either.
    return Gpu(gpu.pci_address, gpu.name, False, gpu.total_bytes, gpu.total_bytes - gpu.free_bytes, 0, 0)


def _amd(gpu: AmdGpu) -> Gpu:
    return Gpu(
        address=gpu.pci_address,
        name=f"AMD {gpu.card}",
        is_apu=gpu.is_apu,
        vram_total_bytes=gpu.vram_total_bytes,
        vram_used_bytes=gpu.vram_used_bytes,
        gtt_total_bytes=gpu.gtt_total_bytes,
        gtt_used_bytes=gpu.gtt_used_bytes,
    )


def resources_of(assessments: Iterable[Assessment]) -> tuple[Resource, ...]:
    """What was thought of each resource."""
    return tuple(
        Resource(
            name=each.sample.resource,
            level=each.level,
            total_bytes=each.sample.total_bytes,
            available_bytes=each.sample.available_bytes,
            exhausted_in_s=each.exhausted_in_s,
            fill_bytes_per_s=each.fill_bytes_per_s,
        )
        for each in assessments
    )


def program_use(program: Program) -> ProgramUse:
    """A program by its own page, summed over its devices."""
    used = [device for device in program.page.devices if device.is_used]
    tiers: dict[str, int] = {}
    for device in used:
        for tier in device.tiers:
            if tier.bytes or tier.name in ("device", "split"):
                tiers[tier.name] = tiers.get(tier.name, 0) + tier.bytes
    return ProgramUse(
        pid=program.pid,
        name=program.page.program,
        gpus=tuple(device.ordinal for device in used),
        tiers=tiers,
        split_vram_bytes=sum(device.split_vram_bytes for device in used),
        vram_chunks=sum(device.vram_chunks for device in used),
        host_chunks=sum(device.host_chunks for device in used),
        moved_bytes=sum(device.moved_bytes for device in used),
        refused=sum(device.refused for device in used),
        container="" if program.container is None else program.container.label,
    )
