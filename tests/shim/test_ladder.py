"""Which tier is taken on machines that lack something, and how the user hears of trouble."""

import pytest
from harness import ROOT, run_program, succeed

CARD = {"FAKECUDA_VRAM": "64MiB"}


def test_registration_is_in_pieces_of_a_gibibyte_at_most(tmp_path):
    """(42): a driver that refuses large registrations does not matter; one that cannot copy across two gets one."""
    source = (
        "init()\np = alloc(2100 * MIB)\nfill(p + 1000 * MIB, 100 * MIB, 8)\ncheck(p + 1020 * MIB, 8 * MIB, 8)\nfree(p)"
    )
    ended = succeed(
        source, tmp_path, FAKECUDA_MAX_REGISTRATION="1025MiB", FAKECUDA_CAPS="huge-registration-fails", **CARD
    )
    assert ended.calls("cuMemHostRegister_v2") == 2 + 3
    ended = succeed(source, tmp_path, FAKECUDA_CAPS="no-cross-registration-copy", **CARD)
    assert ended.calls("cuMemHostRegister_v2") == 2 + 1 + 1


@pytest.mark.parametrize("caps", ["no-numa", "cpuless-numa", "no-vmm", "no-host-vmm", "no-pools"])
def test_machines_without_this_or_that_are_served(tmp_path, caps):
    """(43): nothing here depends on NUMA, on virtual memory management or on pools."""
    succeed("init()\np = alloc(96 * MIB)\nfree(p)", tmp_path, FAKECUDA_CAPS=caps, **CARD)


@pytest.mark.parametrize(
    ("caps", "tier"),
    [
        ("no-host-pointer", "managed"),
        ("no-host-register", "managed"),
        ("no-managed", "host_mapped"),
        ("no-managed,no-host-pointer", None),
    ],
)
def test_ladder_takes_the_tier_that_works(tmp_path, caps, tier):
    """The self-test decides, and `info` says what it found."""
    source = "init()\nprint(alloc_code(96 * MIB))"
    ended = run_program(source, tmp_path, FAKECUDA_CAPS=caps, log="debug", **CARD)
    assert ended.out == ("0\n" if tier else "2\n"), ended.err
    assert any("self-test=" in line for line in ended.said)
    assert not tier or any(f"bytes={96 << 20} tier={tier}" in line for line in ended.said)


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
