"""The resources of a machine, as samples of what is left of each. Pure.

Swap is no part of what is available of RAM, at any level. What is leased is pinned and cannot be swapped out; a grant
that counts on swap pushes everybody else into it. Free swap on zram is no memory at all, but RAM yet to be taken. And
it would change little: of the lease's reserve, by default 1/16 of RAM, nothing is granted at any level. Who is warned
is told how much swap is free.
"""

from collections.abc import Iterable, Iterator

from greenboost_py.pressure.levels import Sample
from greenboost_py.sensors.amdgpu import AmdGpu
from greenboost_py.sensors.cgroup import CgroupLevel
from greenboost_py.sensors.ram import RamReading
from greenboost_py.sensors.snapshot import Snapshot

_KFD_KEPT_BYTES = 3 << 29
"""1.5 GiB."""


def kfd_limit_bytes(ram_total_bytes: int) -> int:
    """What ROCm programs may have of RAM together, whatever GTT allows.

    Source: drivers/gpu/drm/amd/amdgpu/amdgpu_amdkfd_gpuvm.c, amdgpu_amdkfd_gpuvm_init_mem_limits (6.12 and later).
    """
    return max(0, ram_total_bytes - ram_total_bytes // 64 - _KFD_KEPT_BYTES)


def samples_of(snapshot: Snapshot) -> Iterator[Sample]:
    """RAM, then GTT and VRAM of each GPU; what could not be read is left out, and so are figures of an earlier look."""
    at_s, ram = snapshot.at_s, snapshot.ram
    gtt_used_bytes = sum(gpu.gtt_used_bytes for gpu in snapshot.amdgpus)
    if ram is not None:
        yield Sample("ram", at_s, ram.total_bytes, ram.effective_available_bytes)
    for gpu in snapshot.amdgpus:
        if gpu.gtt_total_bytes:
            yield Sample(f"gtt:{gpu.pci_address}", at_s, gpu.gtt_total_bytes, _gtt_available(gpu, ram, gtt_used_bytes))
    for gpu in snapshot.amdgpus:
        if gpu.vram_total_bytes:
            left = max(0, gpu.vram_total_bytes - gpu.vram_used_bytes)
            yield Sample(f"vram:{gpu.pci_address}", at_s, gpu.vram_total_bytes, left)
    if not snapshot.nvidia_is_stale:
        for card in snapshot.nvidia_gpus:
            yield Sample(f"vram:{card.pci_address}", at_s, card.total_bytes, card.free_bytes)


def group_samples(groups: Iterable[CgroupLevel], at_s: float) -> Iterator[Sample]:
    """Memory cgroups with a limit; one whose limit is 0 has nothing that could run short."""
    for group in groups:
        if group.limit_bytes:
            left = min(group.headroom_bytes, group.limit_bytes)
            yield Sample(f"cgroup:{group.path}", at_s, group.limit_bytes, left)


def _gtt_available(gpu: AmdGpu, ram: RamReading | None, gtt_used_bytes: int) -> int:
    """GTT is RAM: there is no more of it than of that.

    The limit of ROCm programs is one for all GPUs. What others have in GTT is not told apart, and counted as theirs.
    """
    rooms = [gpu.gtt_total_bytes - gpu.gtt_used_bytes]
    if ram is not None:
        rooms += [kfd_limit_bytes(ram.total_bytes) - gtt_used_bytes, ram.effective_available_bytes]
    return max(0, min(rooms))
