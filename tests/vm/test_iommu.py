"""The IOMMU's modes, as the kernel takes them from the command line on a machine that has one."""

import pytest
from harness.boot import Boot
from harness.guest import Guest
from harness.kernel import Kernel
from harness.machine import machine_of
from harness.qemu import Hardware

from greenboost_py.kernel_params.command_line import edit, split
from greenboost_py.kernel_params.facts import Facts, Iommu, read_facts
from greenboost_py.kernel_params.plan import Word
from greenboost_py.kernel_params.settings import settings_for

AMD_IOMMU = Hardware(machine="q35", arguments=("-device", "amd-iommu"))


def _iommu(guest: Guest, kernel: Kernel) -> Iommu:
    facts = read_facts(machine_of(guest, kernel))
    assert facts.errors == ()
    assert facts.cpu_vendor == "AMD"
    assert facts.iommu is not None
    return facts.iommu


@pytest.mark.parametrize(
    ("asked", "before", "words", "mode", "types"),
    [
        ("pt", "", "iommu=pt", "pt", {"identity"}),
        ("off", "iommu=pt", "amd_iommu=off", "off", set()),
        ("on", "amd_iommu=off iommu=pt", "", "translated", {"DMA", "DMA-FQ"}),
    ],
)
def test_iommu_with_planned_settings_boots_in_its_mode(
    boot: Boot, kernel: Kernel, asked: str, before: str, words: str, mode: str, types: set[str]
) -> None:
    configured = [Word(text, "here") for text in split(before)]
    settings = settings_for(Facts(cpu_vendor="AMD"), None, asked, "auto", configured).settings
    line = edit(before, settings)
    iommu = _iommu(boot("keep_machine", line, hardware=AMD_IOMMU), kernel)

    assert line == words
    assert iommu.mode == mode
    assert set(iommu.group_types) <= types
    assert bool(iommu.units) == (mode != "off")


def test_amd_iommu_pt_is_ignored_with_a_line_in_the_kernels_log(boot: Boot, kernel: Kernel) -> None:
    guest = boot("keep_machine\nattempt log dmesg", "amd_iommu=pt", hardware=AMD_IOMMU)

    assert _iommu(guest, kernel).mode == "translated"
    assert "AMD-Vi: Unknown option - 'pt'" in guest.text("log")
