"""Which tier is taken on machines that lack something, and how the user hears of trouble."""

import re

import pytest
from harness import ROOT, run_program, succeed

CARD = {"FAKECUDA_VRAM": "64MiB"}


def test_registration_is_in_pieces_of_a_gibibyte_at_most(tmp_path):
    """(42): a driver that refuses large registrations does not matter; one that cannot copy across two gets one."""
    source = (
        "init()\np = alloc(2100 * MIB)\nfill(p + 1000 * MIB, 100 * MIB, 8)\ncheck(p + 1020 * MIB, 8 * MIB, 8)\nfree(p)"
    )
    ended = succeed(
        source,
        tmp_path,
        fallback="host",
        FAKECUDA_MAX_REGISTRATION="1025MiB",
        FAKECUDA_CAPS="huge-registration-fails",
        **CARD,
    )
    assert ended.calls("cuMemHostRegister_v2") == 2 + 3
    ended = succeed(source, tmp_path, fallback="host", FAKECUDA_CAPS="no-cross-registration-copy", **CARD)
    assert ended.calls("cuMemHostRegister_v2") == 2 + 1 + 1


@pytest.mark.parametrize("caps", ["no-numa", "cpuless-numa", "no-vmm", "no-host-vmm", "no-pools"])
def test_machines_without_this_or_that_are_served(tmp_path, caps):
    """(43): each is served, by another rung where need be."""
    succeed("init()\np = alloc(96 * MIB)\nfree(p)", tmp_path, FAKECUDA_CAPS=caps, **CARD)


@pytest.mark.parametrize(
    ("caps", "tier", "reasons"),
    [
        ("no-numa", "split", {}),
        ("cpuless-numa", "split", {}),
        ("no-host-vmm-attributes", "split", {}),
        ("no-vmm", "host_mapped", {"split": "no virtual memory management"}),
        ("no-host-vmm", "host_mapped", {"split": "no virtual memory management of host memory"}),
        ("no-vmm,no-host-pointer", "managed", {"host_mapped": "registered memory has another address on the device"}),
        ("no-host-vmm,no-host-register", "managed", {"host_mapped": "cuMemHostRegister failed"}),
        ("no-host-vmm,no-managed", "host_mapped", {"managed": "the device lacks concurrentManagedAccess"}),
        ("no-vmm,no-managed,no-host-pointer", None, {"managed": "the device lacks concurrentManagedAccess"}),
    ],
)
@pytest.mark.parametrize("device", [0, 1])
def test_ladder_takes_the_tier_that_works(tmp_path, caps, tier, reasons, device):
    """The self-test decides, for each device, and `info` shows every rung and why it does not hold."""
    source = f"init({device})\nprint(alloc_code(96 * MIB))"
    ended = run_program(source, tmp_path, FAKECUDA_CAPS=caps, FAKECUDA_DEVICES="2", log="debug", **CARD)
    assert ended.out == ("0\n" if tier else "2\n"), ended.err
    assert not tier or any(f"device={device} bytes={96 << 20} tier={tier}" in line for line in ended.said)
    rungs = [line for line in ended.said if "self-test=" in line]
    assert {re.search(r"tier=(\w+)", line)[1] for line in rungs} == {"split", "host_mapped", "managed"}
    assert all(f"device={device} " in line for line in rungs)
    for rung, reason in reasons.items():
        assert any(f"tier={rung} self-test=failed: {reason}" in line for line in rungs)


def test_malformed_option_is_one_line_and_counts_as_unset(tmp_path):
    ended = succeed("init()\nassert memory_info()[1] == 64 * MIB", tmp_path, vram_limit="lots", **CARD)
    assert len(ended.said) == 1
    assert "GREENBOOST_VRAM_LIMIT=lots" in ended.said[0]
    assert ROOT.name not in ended.said[0]


def test_log_is_capped_and_never_on_stdout(tmp_path):
    source = "init()\nfor _ in range(1200): free(alloc(3 * MIB))"
    ended = succeed(source, tmp_path, vram_limit="1MiB", log="debug", **CARD)
    assert ended.out == ""
    assert len(ended.said) == 1001
    assert "nothing more will be" in ended.said[-1]
