"""The service on a booted Debian, as a user installs it: it runs, comes back from whatever ends it, and leaves nothing."""

import json
from collections.abc import Mapping
from pathlib import Path

from harness.debian import VENV
from harness.system import System

SCRIPT = f"""
    GREENBOOST={VENV}/bin/greenboost
    . ./service.sh
    {VENV}/bin/pip install --quiet --disable-pip-version-check --no-index --no-deps ./*.whl
    udevadm settle
    since=$(date '+%F %T')
    state before

    $GREENBOOST service install >$KEPT/install
    running
    stat --format='%F %A %U:%G %n' /run/greenboost /run/greenboost/lease.sock /etc/greenboost /etc/greenboost/config.toml \\
        /var/lib/greenboost/installed.json >$KEPT/modes
    $GREENBOOST status --json >$KEPT/status-root
    runuser -u nobody -- $GREENBOOST status --json >$KEPT/status-nobody
    $GREENBOOST service status --json >$KEPT/service
    grep -E '^(Uid|Cap|NoNewPrivs|VmLck)' /proc/$(main_pid)/status >$KEPT/process
    cat /proc/$(main_pid)/oom_score_adj >$KEPT/oom_score_adj
    python3 -c 'import urllib.request as u; print(u.urlopen("http://127.0.0.1:9477/metrics").read().decode())' >$KEPT/metrics
    said "$since" >$KEPT/said
    journalctl --boot --quiet --no-pager --since="$since" >$KEPT/journal

    # Installed again: nothing changes, nothing is restarted.
    pid=$(main_pid)
    $GREENBOOST service install
    [ "$(main_pid)" = "$pid" ]

    systemctl restart greenboostd
    running $pid
    pid=$(main_pid)
    systemctl kill --signal=KILL greenboostd
    running $pid
    [ "$(restarts)" = 1 ]

    # One that hangs is found out, ended and replaced.
    mkdir -p /run/systemd/system/greenboostd.service.d
    printf '[Service]\\nWatchdogSec=10\\n' >/run/systemd/system/greenboostd.service.d/test.conf
    systemctl daemon-reload
    systemctl restart greenboostd
    running $pid
    pid=$(main_pid)
    kill -STOP $pid
    running $pid
    [ "$(restarts)" = 1 ]
    journalctl --unit=greenboostd --quiet --no-pager | grep -q 'Watchdog timeout'
    $GREENBOOST status >/dev/null
    rm -r /run/systemd/system/greenboostd.service.d

    # Rights that are given and taken back; the files of the kernel are nobody's but root's again.
    modprobe ttm
    stat --format='%A %U:%G' /sys/module/ttm/parameters/pages_limit >$KEPT/limit-before
    $GREENBOOST service install --allow-ttm-limit --allow-metrics 10.0.2.0/24
    running
    stat --format='%A %U:%G' /sys/module/ttm/parameters/pages_limit >$KEPT/limit-lent
    systemctl show --property=IPAddressAllow --value greenboostd >$KEPT/networks-lent
    $GREENBOOST service install --no-allow-ttm-limit --no-allow-metrics
    running
    stat --format='%A %U:%G' /sys/module/ttm/parameters/pages_limit >$KEPT/limit-after
    systemctl show --property=IPAddressAllow --value greenboostd >$KEPT/networks-after

    $GREENBOOST service uninstall >$KEPT/uninstall
    attempt stopped systemctl is-active greenboostd
    attempt status-without $GREENBOOST status
    state after
"""

CAP_SYS_PTRACE, CAP_SYS_RESOURCE = 1 << 19, 1 << 24


def test_service_from_install_to_uninstall(system: System, wheel: Path, programs: Mapping[str, Path]) -> None:
    guest = system(SCRIPT, files={**programs, wheel.name: wheel}, modules=("ttm",), deadline_s=580)

    assert guest.text("modes").splitlines() == [
        "directory drwxr-xr-x greenboost:greenboost /run/greenboost",
        "socket srw-rw-rw- greenboost:greenboost /run/greenboost/lease.sock",
        "directory drwxr-xr-x root:root /etc/greenboost",
        "regular file -rw-r--r-- root:root /etc/greenboost/config.toml",
        "regular file -rw-r--r-- root:root /var/lib/greenboost/installed.json",
    ]
    assert guest.text("said") == "", guest.text("journal")
    # The bus reads who may own our name when the user is there already.
    assert [line for line in guest.text("journal").splitlines() if "Unknown " in line] == []
    root, nobody = (json.loads(guest.text(f"status-{who}"))["daemon"] for who in ("root", "nobody"))
    assert root["version"] == nobody["version"]
    assert any(holder["program"] for holder in root["holders"])
    assert not any(holder["program"] for holder in nobody["holders"] if holder["uid"] != 65534)
    process = dict(line.split(":\t", 1) for line in guest.text("process").splitlines())
    assert "0" not in process["Uid"].split("\t")
    assert int(process["CapEff"], 16) == CAP_SYS_PTRACE | CAP_SYS_RESOURCE == int(process["CapBnd"], 16)
    assert process["NoNewPrivs"] == "1"
    assert int(process["VmLck"].split()[0]) > 1024
    assert guest.text("oom_score_adj") == "-900"
    assert 'greenboost_resource_available_bytes{resource="ram"}' in guest.text("metrics")

    assert guest.text("limit-before") == guest.text("limit-after") == "-rw-r--r-- root:root"
    assert guest.text("limit-lent") == "-rw-rw-r-- root:greenboost"
    lent, kept = (set(guest.text(f"networks-{when}").split()) for when in ("lent", "after"))
    assert lent - kept == {"10.0.2.0/24"}
    assert kept == {"127.0.0.0/8", "::1/128"}

    assert guest.text("stopped") == "inactive"
    assert guest.text("status-without.status") == "0"
    before, after = (set(guest.text(name).splitlines()) for name in ("before", "after"))
    assert sorted(after - before) == []
    assert sorted(before - after) == []
