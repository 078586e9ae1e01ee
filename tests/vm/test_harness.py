"""What the other tests lean on: a guest that does not do what it should is an error, and none is left running."""

import pytest
from harness.boot import Boot
from harness.qemu import GuestError


def test_boot_with_a_script_that_fails_is_an_error(boot: Boot) -> None:
    with pytest.raises(AssertionError, match=r"the guest's script failed \(3\)"):
        boot("keep /proc/cmdline\n(exit 3)\necho not reached\n")


def test_boot_that_panics_is_an_error_with_the_consoles_end(boot: Boot) -> None:
    with pytest.raises(GuestError, match=r"ended without a status(?s:.)*Kernel panic"):
        boot("echo c >/proc/sysrq-trigger\nsleep 600\n")


def test_boot_that_hangs_is_ended_at_the_deadline(boot: Boot) -> None:
    with pytest.raises(GuestError, match="was still running"):
        boot("sleep 600\n", deadline_s=0.5)
