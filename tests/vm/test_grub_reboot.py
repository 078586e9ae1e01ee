"""kernel-params on a machine that starts by real GRUB: set, reboot, verify, undo, reboot; and where the power goes."""

import json
from pathlib import Path

from harness.debian import VENV
from harness.grub_disk import SHUT_DOWN, Computer

FUNCTIONS = f"""
    PARAMS='{VENV}/bin/greenboost kernel-params'

    install() {{
        {VENV}/bin/pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile ./*.whl
    }}

    # What there is of the boot's configuration, and of everything else that is configured.
    state() {{
        {{
            find /etc /boot -printf '%p %M %u %g %l\\n'
            find /etc /boot/grub -type f -exec sha256sum {{}} +
        }} | sort
    }}

    # power_goes_in FILE: a program that the boot loader's tool runs cuts the power in place of what it did.
    power_goes_in() {{
        printf '#!/bin/sh\\n. /mnt/test/functions\\nend 0\\n' >/dev/shm/end
        chmod 755 /dev/shm/end
        mount --bind /dev/shm/end "$1"
    }}
"""

WORDS = "ttm.pages_limit=262144 amdgpu.gttsize=1024"
"""1 GiB. Before Linux 6.5 GTT has its size from gttsize, so that is set as well."""


def test_set_is_in_force_after_a_reboot_and_gone_after_undo_and_another(computer: Computer, wheel: Path) -> None:
    # No shutdown: when set says that it is done, all of it lies where GRUB looks, which does not read the disk's journal.
    first = computer.boot(
        f"""{FUNCTIONS}
        install
        keep /proc/cmdline
        attempt state state
        attempt set $PARAMS set --gtt 1GiB --yes
        attempt verify $PARAMS verify
        end 0""",
        {wheel.name: wheel},
    )
    default = first.text("proc/cmdline")
    assert first.text("set.status") == "0", first.text("set")
    assert first.text("verify.status") == "1"
    assert "not rebooted since it was set: reboot" in first.text("verify")

    second = computer.boot(
        f"""{FUNCTIONS}
        modprobe amdgpu
        keep /proc/cmdline /sys/module/ttm/parameters/pages_limit
        attempt verify $PARAMS verify
        attempt show $PARAMS show --json
        attempt undo $PARAMS undo --yes
        {SHUT_DOWN}"""
    )
    assert second.text("proc/cmdline") == f"{default} {WORDS}"
    assert second.text("sys/module/ttm/parameters/pages_limit") == "262144"
    assert second.text("verify.status") == "0", second.text("verify")
    shown = json.loads(second.text("show"))
    assert shown["mechanism"]["name"] == "grub-drop-in"
    assert (shown["needs_reboot"], shown["conflicts"], shown["stale_entries"]) == ([], [], [])
    limit = shown["parameters"]["ttm.pages_limit"]
    assert limit["running"]["value"] == limit["next"]["value"] == "262144"
    assert second.text("undo.status") == "0", second.text("undo")

    third = computer.boot(
        f"""{FUNCTIONS}
        modprobe ttm
        keep /proc/cmdline /sys/module/ttm/parameters/pages_limit
        attempt state state
        attempt left find /var/lib/greenboost -type f -printf '%P\\n'
        attempt verify $PARAMS verify"""
    )
    assert third.text("proc/cmdline") == default
    assert third.text("sys/module/ttm/parameters/pages_limit") == "0"
    assert "  /boot/grub/grub.cfg\n" in first.text("state")
    assert third.text("state") == first.text("state")
    left = {f"kernel-params/{name}" for name in ("lock", "0001.json", "0002.json")}
    assert set(third.text("left").splitlines()) == left
    assert third.text("verify") == "nothing was set, so there is nothing to verify"


def test_set_whose_power_goes_boots_as_before_and_is_taken_back_by_undo(computer: Computer, wheel: Path) -> None:
    first = computer.boot(
        f"""{FUNCTIONS}
        install
        keep /proc/cmdline
        attempt state state
        power_goes_in /etc/grub.d/41_custom
        $PARAMS set --gtt 1GiB --yes
        exit 9""",
        {wheel.name: wheel},
    )

    second = computer.boot(
        f"""{FUNCTIONS}
        keep /proc/cmdline /etc/default/grub.d/90-greenboost.cfg
        attempt show $PARAMS show
        attempt undo $PARAMS undo --yes
        attempt state state
        attempt verify $PARAMS verify"""
    )
    assert second.text("proc/cmdline") == first.text("proc/cmdline")
    assert WORDS in second.text("etc/default/grub.d/90-greenboost.cfg")
    assert "Step 1 was cut off before it was done" in second.text("show")
    assert second.text("undo.status") == "0", second.text("undo")
    assert "  /boot/grub/grub.cfg\n" in first.text("state")
    assert second.text("state") == first.text("state")
    assert second.text("verify") == "nothing was set, so there is nothing to verify"
