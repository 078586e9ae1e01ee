"""The whole way round: what is read of a running kernel, what is planned from it, and the verdict after the reboot."""

from collections.abc import Sequence

from harness.boot import Boot
from harness.grub import GrubSystem
from harness.kernel import Kernel
from harness.machine import apply, machine_of
from harness.qemu import Hardware

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.kernel_params.bootloaders.grub_drop_in import GrubDropIn
from greenboost_py.kernel_params.conflicts import find_conflicts
from greenboost_py.kernel_params.facts import Facts, read_facts
from greenboost_py.kernel_params.in_force import rows
from greenboost_py.kernel_params.machine import Machine
from greenboost_py.kernel_params.plan import Word
from greenboost_py.kernel_params.settings import settings_for
from greenboost_py.kernel_params.sizes import GIB
from greenboost_py.kernel_params.verify import verify

AMD = Hardware(machine="q35", arguments=("-device", "amd-iommu"))


def _facts(boot: Boot, kernel: Kernel, system: GrubSystem, module: str) -> Facts:
    """Boots what the menu says, and loads a module."""
    line = system.boot_arguments()
    guest = boot(f"modprobe {module}\nkeep_machine\n", modules=(module,), hardware=AMD, command_line=line)
    facts = read_facts(machine_of(guest, kernel))
    assert facts.errors == ()
    assert facts.running == tuple(line.split())
    return facts


def test_verify_says_no_before_the_reboot_and_yes_after_it(boot: Boot, grub_system: GrubSystem, kernel: Kernel) -> None:
    mechanism, system = GrubDropIn(), Machine(SysRoot(grub_system.root), is_live=False)
    before = _facts(boot, kernel, grub_system, "ttm")
    asked = settings_for(before, 96 * GIB, "pt", "auto", mechanism.words(system)).settings
    apply(mechanism.plan(system, asked), grub_system)
    configured = mechanism.words(system)
    after = _facts(boot, kernel, grub_system, "amdgpu")

    # Before Linux 6.5 GTT has its size from gttsize, whatever the limit.
    expected = {"ttm.pages_limit": "25165824", "iommu": "pt", "amd_iommu": None}
    assert asked == expected | ({"amdgpu.gttsize": "98304"} if before.limit_sizes_gtt is False else {})
    assert before.in_use == after.in_use == ("ttm",)
    assert not any(item.agrees for item in verify(asked, before, configured).items if item.expected is not None)
    verdict = verify(asked, after, configured)
    assert verdict.ok, verdict.lines()
    assert after.iommu is not None and after.iommu.mode == "pt"
    assert _waiting(before, configured) == {"ttm.pages_limit", "iommu"}
    assert _waiting(after, configured) == set()


def _waiting(facts: Facts, words: Sequence[Word] | None) -> set[str]:
    """The parameters of which `show` says that they need a reboot; what is not loaded, nobody knows of."""
    return {row.parameter.name for row in rows(facts, words) if row.needs_reboot}


def test_conflicts_on_a_running_kernel_are_those_that_it_was_booted_with(boot: Boot, kernel: Kernel) -> None:
    guest = boot(
        "modprobe ttm\nkeep_machine\n",
        "ttm.page_limit=25165824 amd_iommu=pt",
        files={"etc/modprobe.d/ttm.conf": "options ttm pages_limit=1000\n"},
    )
    facts = read_facts(machine_of(guest, kernel))

    assert facts.module("ttm").number("pages_limit") == 1000
    assert {conflict.name for conflict in find_conflicts(facts, None)} == {"misspelt", "iommu", "ttm-conf"}
