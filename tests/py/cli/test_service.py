import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from trees import lay

from greenboost_py.base.errors import GreenboostError
from greenboost_py.base.files import Tree
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.cli import service, service_enable, service_text
from greenboost_py.service import manager
from greenboost_py.service.layout import SYSTEM, UNIT
from greenboost_py.service.manager import UnitState, parse_state
from greenboost_py.service.record import Record
from greenboost_py.service.units import Unit

EXECUTABLE = "/opt/greenboost/bin/greenboost"
SHOWN = """LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
ActiveEnterTimestamp=@1700000000
MainPID=4242
NRestarts=2
Result=success
"""
PATHS = (SYSTEM.configuration, SYSTEM.accounts, "etc/dbus-1/system.d/org.greenboost.conf", SYSTEM.notifier, SYSTEM.unit)


class Machine:
    """A system in a tree, whose tools write down how they are called."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.tools = folder / "tools"
        self.log = folder / "log"
        for path in ("etc", "var/lib", "run/systemd/system"):
            (self.root / path).mkdir(parents=True)
        (self.root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
        self.tools.mkdir()
        (folder / "shown").write_text(SHOWN)
        make_user = (
            f"grep -q ^greenboost: {self.root}/etc/passwd || echo greenboost:x:99:99:::/x >> {self.root}/etc/passwd"
        )
        self.tool("systemctl", f'case "$*" in *show*) cat {folder}/shown;; esac')
        self.tool("systemd-sysusers", make_user)
        self.tool("useradd", make_user)
        self.tool("userdel", f"sed -i /^greenboost:/d {self.root}/etc/passwd")

    def tool(self, name: str, script: str) -> None:
        path = self.tools / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{script}\n')
        path.chmod(0o755)

    def calls(self) -> list[str]:
        text = self.log.read_text() if self.log.exists() else ""
        self.log.unlink(missing_ok=True)
        return text.splitlines()

    def files(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.root)): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """What `greenboost service` takes for this system."""
    machine = Machine(tmp_path)
    monkeypatch.setenv("PATH", f"{machine.tools}:{os.environ['PATH']}")
    monkeypatch.setattr(service, "SysRoot", lambda root="/": SysRoot(machine.root if root == "/" else root))
    monkeypatch.setattr(service, "Tree", lambda root="/": Tree(machine.root if root == "/" else root))
    monkeypatch.setattr(service, "check_reachable", lambda program: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return machine


def call(*arguments: str) -> Result:
    """Runs the command; what the person would see as an error is raised."""
    return CliRunner().invoke(service.command, arguments, standalone_mode=False, catch_exceptions=False)


def install(*options: str) -> list[str]:
    return call("install", "--executable", EXECUTABLE, *options).output.splitlines()


START = [
    "systemd-sysusers /etc/sysusers.d/greenboost.conf",
    "systemctl daemon-reload",
    "systemctl reload dbus.service",
    "systemctl enable --now greenboostd.service",
    "systemctl --global enable greenboost-notify.service",
]


def test_install_writes_the_files_then_starts_the_service(machine: Machine) -> None:
    assert install() == [*(f"created /{path}" for path in PATHS), f"{UNIT} is enabled and runs."]
    assert machine.calls() == START
    assert f"ExecStart={EXECUTABLE} daemon" in (machine.root / SYSTEM.unit).read_text()


def test_install_again_says_that_nothing_changes_and_starts_what_was_stopped(machine: Machine) -> None:
    install()
    before, _ = machine.files(), machine.calls()
    assert install() == ["Nothing to change: 5 files are in place.", f"{UNIT} is enabled and runs."]
    assert machine.files() == before
    assert machine.calls() == START


def test_install_of_another_version_starts_the_daemon_anew(machine: Machine) -> None:
    install()
    machine.calls()
    assert call("install", "--executable", "/opt/newer/greenboost").output.startswith("updated /etc/systemd/user/")
    assert machine.calls() == [START[0], "systemctl stop greenboostd.service", *START[1:]]


def test_uninstall_stops_and_removes_everything_the_user_too(machine: Machine) -> None:
    before = machine.files()
    install()
    machine.calls()
    output = call("uninstall").output.splitlines()
    assert output == [*(f"removed /{path}" for path in reversed(PATHS)), "removed the user greenboost"]
    assert machine.calls() == [
        "systemctl disable --now greenboostd.service",
        "systemctl clean --what=runtime greenboostd.service",
        "systemctl --global disable greenboost-notify.service",
        "systemctl daemon-reload",
        "systemctl reset-failed greenboostd.service",
        "systemctl reload dbus.service",
        "userdel greenboost",
    ]
    assert machine.files() == before
    assert call("uninstall").output == "No service was installed.\n"
    assert machine.calls() == []


def test_uninstall_leaves_a_user_who_was_there_before(machine: Machine) -> None:
    with (machine.root / "etc/passwd").open("a") as file:
        file.write("greenboost:x:42:42:::/x\n")
    before = machine.files()
    install()
    call("uninstall")
    assert not [one for one in machine.calls() if one.startswith("userdel")]
    assert machine.files() == before


@pytest.mark.parametrize("broken", START)
def test_install_whose_tool_fails_says_which_and_is_finished_by_the_next(machine: Machine, broken: str) -> None:
    name, _, arguments = broken.partition(" ")
    script = (machine.tools / name).read_text().partition("\n")[2].partition("\n")[2]
    machine.tool(name, f'case "$*" in "{arguments}") echo "Failed: it is Tuesday" >&2; exit 1;; esac\n{script}')
    may_fail = "dbus" in broken
    if may_fail:
        install()
    else:
        with pytest.raises(GreenboostError, match=re.escape(f"{broken}: Failed: it is Tuesday")):
            install()
        assert not json.loads(call("status", "--json").output)["complete"]
    machine.tool(name, script)
    install()
    assert json.loads(call("status", "--json").output)["complete"]
    call("uninstall")
    assert [path for path in machine.files() if "greenboost" in path] == []
    assert "greenboost" not in (machine.root / "etc/passwd").read_text()


def test_uninstall_that_cannot_stop_the_service_removes_nothing(machine: Machine) -> None:
    install()
    before = machine.files()
    machine.tool("systemctl", "exit 4")
    with pytest.raises(GreenboostError, match="disable --now greenboostd.service: exit status 4"):  # noqa: RUF043
        call("uninstall")
    assert machine.files() == before


def test_install_where_there_is_no_sysusers_uses_useradd(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.tools / "systemd-sysusers").unlink()
    monkeypatch.setenv("PATH", str(machine.tools))
    monkeypatch.setattr(manager, "_SYSTEM_PATH", "/nowhere")
    (machine.tools / "useradd").write_text(f'#!/bin/sh\necho useradd "$@" >> {machine.log}\n')
    install()
    assert machine.calls()[0].startswith("useradd --system ")


def test_install_without_systemctl_says_what_is_left_to_do(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.tools / "systemctl").unlink()
    machine.tool("systemd-sysusers", ":")
    (machine.tools / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(machine.tools))
    monkeypatch.setattr(manager, "_SYSTEM_PATH", "/nowhere")
    told = "systemctl is not installed; what is left to do is: systemctl daemon-reload"
    with pytest.raises(GreenboostError, match=told):
        install()


def test_install_without_systemd_writes_the_files_and_says_how_to_start_the_daemon(machine: Machine) -> None:
    (machine.root / "run/systemd/system").rmdir()
    with pytest.raises(
        GreenboostError, match=f"systemd does not run here: start the daemon by hand with '{EXECUTABLE} daemon'"
    ):
        install()
    assert (machine.root / SYSTEM.unit).exists()
    assert machine.calls() == []
    call("uninstall")
    assert machine.calls() == []
    assert list(machine.files()) == ["etc/passwd"]


def test_install_of_rights_keeps_them_until_they_are_taken_back(machine: Machine) -> None:
    install("--allow-terminate", "--allow-ttm-limit", "--allow-metrics", "10.0.0.0/8")
    for path in SYSTEM.drop_ins.values():
        assert (machine.root / path).exists()
    install()
    assert (machine.root / SYSTEM.drop_ins["terminate"]).exists()
    assert f"removed /{SYSTEM.drop_ins['terminate']}" in install("--no-allow-terminate")
    install()
    assert not (machine.root / SYSTEM.drop_ins["terminate"]).exists()
    install("--no-allow-ttm-limit", "--no-allow-metrics")
    assert not (machine.root / f"{SYSTEM.unit}.d").exists()


def test_install_of_the_right_to_be_scraped_keeps_its_networks_until_it_is_taken_back(machine: Machine) -> None:
    drop_in = machine.root / SYSTEM.drop_ins["metrics"]
    install("--allow-metrics", "10.0.0.0/8", "--allow-metrics", "2001:db8::7", "--allow-metrics", "10.0.0.0/8")
    assert "\nIPAddressAllow=10.0.0.0/8 2001:db8::7/128\n" in drop_in.read_text()
    install("--allow-terminate")
    assert "\nIPAddressAllow=10.0.0.0/8 2001:db8::7/128\n" in drop_in.read_text()
    install("--allow-metrics", "192.0.2.0/24")
    assert "\nIPAddressAllow=192.0.2.0/24\n" in drop_in.read_text()
    assert f"removed /{SYSTEM.drop_ins['metrics']}" in install("--no-allow-metrics")
    install()
    assert not drop_in.exists()


def test_uninstall_takes_the_right_to_be_scraped_with_it(machine: Machine) -> None:
    install("--allow-metrics", "10.0.0.0/8")
    call("uninstall")
    assert not (machine.root / SYSTEM.drop_ins["metrics"]).parent.exists()


@pytest.mark.parametrize(
    "network", ["", "any", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8 any", "example.org", "%i", "1\n2"]
)
def test_install_of_the_right_to_be_scraped_by_what_is_no_network_is_an_error(machine: Machine, network: str) -> None:
    result = CliRunner().invoke(service.command, ["install", "--allow-metrics", network])
    assert (result.exit_code, list(machine.files())) == (2, ["etc/passwd"])
    assert "write a network such as 10.0.0.0/8" in result.output


def test_install_keeps_what_was_changed_and_says_so(machine: Machine) -> None:
    install()
    (machine.root / SYSTEM.unit).write_text("mine")
    (machine.root / SYSTEM.configuration).write_text("")
    told = install("--force", "--no-allow-terminate")
    assert f"kept /{SYSTEM.configuration}: it is not as greenboost would write it" in told
    assert f"overwrote /{SYSTEM.unit}" in told
    assert f"  what was there is /{SYSTEM.unit}.before-greenboost" in told
    assert f"kept /{SYSTEM.configuration}; --purge removes it" in call("uninstall").output.splitlines()
    assert f"removed /{SYSTEM.configuration}" in call("uninstall", "--purge").output.splitlines()


def test_dry_run_prints_files_and_commands_and_does_nothing(machine: Machine) -> None:
    before = machine.files()
    output = "\n".join(install("--dry-run"))
    assert (machine.files(), machine.calls()) == (before, [])
    assert f"# create /{SYSTEM.unit}\n# Written by" in output
    assert output.endswith("\n".join(["# then", *START]))
    install()
    before, _ = machine.files(), machine.calls()
    output = call("uninstall", "--dry-run").output
    assert (machine.files(), machine.calls()) == (before, [])
    assert output.startswith("# first\nsystemctl disable --now greenboostd.service\n")
    assert f"# remove /{SYSTEM.unit}" in output
    assert output.endswith("userdel greenboost\n")


def test_install_into_a_tree_runs_no_tool(machine: Machine, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    assert install("--root", str(tree))[-1] == f"To enable it there: systemctl --root={tree} enable {UNIT}"
    assert (tree / SYSTEM.unit).exists()
    assert "systemd does not run here" in call("status", "--root", str(tree)).output
    call("uninstall", "--root", str(tree))
    assert list(tree.iterdir()) == []
    assert machine.calls() == []
    assert list(machine.files()) == ["etc/passwd"]


def test_install_for_a_user_stays_in_the_home(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.root / "home/u").mkdir(parents=True)
    (machine.root / "run/user/1000/systemd").mkdir(parents=True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/u")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    install("--user")
    assert machine.calls() == ["systemctl --user daemon-reload", f"systemctl --user enable --now {UNIT}"]
    assert all(path.startswith("home/u/") or path == "etc/passwd" for path in machine.files())
    unit = (machine.root / "home/u/.config/systemd/user" / UNIT).read_text()
    assert not re.search("^(User|CapabilityBoundingSet|ProtectSystem)=", unit, re.MULTILINE)
    call("uninstall", "--user")
    assert list(machine.files()) == ["etc/passwd"]
    assert list((machine.root / "home/u").iterdir()) == []


PACKAGED_UNIT = "usr/lib/systemd/system/greenboostd.service"
FROM_PACKAGE = f"The service came with a package (/{PACKAGED_UNIT})"
TERMINATE = SYSTEM.drop_ins["terminate"]


def bring_package(machine: Machine) -> None:
    """What a package of the distribution puts there, and its configuration with it."""
    lay(machine.root, {PACKAGED_UNIT: "", SYSTEM.configuration: ""})
    (machine.root / "etc/greenboost/config.d").mkdir(exist_ok=True)


@pytest.fixture
def packaged(machine: Machine) -> Machine:
    bring_package(machine)
    return machine


RESTART = ["systemctl stop greenboostd.service", "systemctl daemon-reload", "systemctl reload dbus.service"]


def test_install_of_a_packaged_service_copies_nothing_and_starts_it(packaged: Machine) -> None:
    before = packaged.files()
    assert call("install").output.splitlines() == [f"{FROM_PACKAGE}.", f"{UNIT} is enabled and runs."]
    assert packaged.calls() == START[1:]
    assert packaged.files() == before


def test_install_of_a_packaged_service_writes_and_takes_back_only_drop_ins(packaged: Machine) -> None:
    before = packaged.files()
    assert f"created /{TERMINATE}" in call("install", "--allow-terminate").output.splitlines()
    assert packaged.calls() == [*RESTART, *START[3:]]
    assert packaged.files().keys() - before.keys() == {TERMINATE, SYSTEM.record}
    call("install")
    assert packaged.calls() == START[1:]
    assert f"removed /{TERMINATE}" in call("install", "--no-allow-terminate").output.splitlines()
    assert packaged.calls() == [*RESTART, *START[3:]]
    assert packaged.files() == before
    assert not (packaged.root / SYSTEM.record).parent.exists()
    assert (packaged.root / "etc/greenboost/config.d").is_dir()


@pytest.mark.parametrize("active", ["active", "inactive"])
def test_uninstall_of_a_packaged_service_takes_back_drop_ins_and_leaves_it_as_it_runs(
    packaged: Machine, active: str
) -> None:
    (packaged.root.parent / "shown").write_text(SHOWN.replace("ActiveState=active", f"ActiveState={active}"))
    before = packaged.files()
    call("install", "--allow-terminate", "--allow-ttm-limit", "--allow-metrics", "::/0")
    packaged.calls()
    told = call("uninstall", "--purge").output.splitlines()
    assert told[:3] == [f"removed /{path}" for path in reversed(SYSTEM.drop_ins.values())]
    assert told[3:] == [f"{FROM_PACKAGE}: remove that as you installed it (apt remove greenboost)."]
    again = RESTART[:2] + ["systemctl start greenboostd.service"]
    assert packaged.calls()[1:] == (again if active == "active" else RESTART[1:2])
    assert packaged.files() == before
    assert (packaged.root / "etc/greenboost/config.d").is_dir()


def test_uninstall_of_a_packaged_service_with_nothing_beside_it_changes_nothing(packaged: Machine) -> None:
    before = packaged.files()
    assert call("uninstall").output.startswith(FROM_PACKAGE)
    assert packaged.files() == before
    assert [one for one in packaged.calls() if "show" not in one] == []


@pytest.mark.parametrize("relative", [False, True])
def test_install_beside_a_package_makes_room_for_what_that_brought(machine: Machine, relative: bool) -> None:
    install("--allow-terminate")
    for link, unit in zip(SYSTEM.links, (SYSTEM.unit, SYSTEM.notifier), strict=True):
        assert unit is not None
        (machine.root / link).parent.mkdir()
        (machine.root / link).symlink_to(f"../{Path(unit).name}" if relative else f"/{unit}")
    bring_package(machine)
    machine.calls()
    told = call("install").output.splitlines()
    for path in PATHS:
        assert (f"removed /{path}" in told) is (path != SYSTEM.configuration)
    assert machine.calls() == [*RESTART, *START[3:]]
    assert set(machine.files()) == {"etc/passwd", PACKAGED_UNIT, SYSTEM.configuration, TERMINATE, SYSTEM.record}
    assert not any((machine.root / link).is_symlink() for link in SYSTEM.links)
    call("uninstall")
    assert "userdel greenboost" not in machine.calls()
    assert set(machine.files()) == {"etc/passwd", PACKAGED_UNIT, SYSTEM.configuration}


def test_install_beside_a_package_keeps_a_unit_that_was_changed(machine: Machine) -> None:
    install()
    (machine.root / SYSTEM.unit).write_text("mine")
    bring_package(machine)
    told = call("install").output.splitlines()
    assert f"kept /{SYSTEM.unit}: it is not as greenboost would write it, and goes before the package's" in told
    assert (machine.root / SYSTEM.unit).read_text() == "mine"


def test_install_of_a_packaged_service_into_a_tree_runs_no_tool(packaged: Machine) -> None:
    tree = str(packaged.root)
    told = call("install", "--root", tree, "--allow-terminate").output.splitlines()
    assert told == [f"{FROM_PACKAGE}.", f"created /{TERMINATE}"]
    assert (packaged.root / TERMINATE).exists()
    call("uninstall", "--root", tree)
    assert not (packaged.root / TERMINATE).exists()
    assert packaged.calls() == []


def test_install_of_a_packaged_service_without_systemd_says_when_it_starts(packaged: Machine) -> None:
    (packaged.root / "run/systemd/system").rmdir()
    assert call("install").output.splitlines() == [
        f"{FROM_PACKAGE}.",
        "systemd does not run here: it will start the service when it does.",
    ]


def test_install_of_a_packaged_service_with_another_executable_is_one_line(packaged: Machine) -> None:
    with pytest.raises(GreenboostError, match="came with a package, which starts its own"):
        install()


def test_install_of_a_packaged_service_dry_run_shows_only_what_is_beside_it(packaged: Machine) -> None:
    before = packaged.files()
    output = call("install", "--dry-run", "--allow-terminate").output
    assert [line for line in output.splitlines() if line.startswith("# create")] == [f"# create /{TERMINATE}"]
    assert output.endswith("\n".join(["# then", *RESTART, *START[3:], ""]))
    assert (packaged.files(), packaged.calls()) == (before, [])


def test_status_of_a_packaged_service_says_where_it_comes_from(packaged: Machine) -> None:
    assert call("status").output.startswith(f"{FROM_PACKAGE}.\n{UNIT}: active")
    shown = json.loads(call("status", "--json").output)
    assert (shown["installed"], shown["complete"], shown["package"]) == (True, True, f"/{PACKAGED_UNIT}")
    call("install", "--allow-terminate")
    (packaged.root / TERMINATE).write_text("mine")
    first, second, third, *_ = call("status").output.splitlines()
    assert (first, third) == (f"{FROM_PACKAGE}.", f"  changed  /{TERMINATE}")
    assert re.fullmatch(r"Beside it, written by greenboost \S+: 1 files", second)


def test_status_of_a_service_that_no_package_brought_says_so(machine: Machine) -> None:
    install()
    assert json.loads(call("status", "--json").output)["package"] is None


def test_install_of_a_users_own_service_is_not_the_packages(packaged: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (packaged.root / "home/u").mkdir(parents=True)
    monkeypatch.setenv("HOME", "/home/u")
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(GreenboostError, match="systemd does not run here"):
        install("--user")
    assert (packaged.root / "home/u/.config/systemd/user" / UNIT).exists()


def test_install_makes_the_user_before_the_bus_sees_who_may_own_the_name(machine: Machine) -> None:
    policy = machine.root / "etc/dbus-1/system.d/org.greenboost.conf"
    make_user = (machine.tools / "systemd-sysusers").read_text().partition("\n")[2].partition("\n")[2]
    machine.tool("systemd-sysusers", f"[ -e {machine.root}$1 ] && [ ! -e {policy} ] || exit 1\n{make_user}")
    install()
    assert policy.exists()


def test_status_shows_what_was_changed_and_how_it_runs(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    assert call("status").output.splitlines()[0] == "The service is not installed."
    install()
    (machine.root / SYSTEM.unit).write_text("mine")
    (machine.root / SYSTEM.accounts).unlink()
    first, *files, last = call("status").output.splitlines()
    assert re.fullmatch(r"Installed by greenboost \S+: 5 files", first)
    assert files == [f"  missing  /{SYSTEM.accounts}", f"  changed  /{SYSTEM.unit}"]
    assert re.fullmatch(rf"{UNIT}: active \(running\) since 2023-11-1[45] ..:..:.., enabled, restarted 2 times", last)
    shown = json.loads(call("status", "--json").output)
    assert (shown["installed"], shown["complete"]) == (True, True)
    assert {file["path"]: file["state"] for file in shown["files"]} == {
        f"/{path}": {SYSTEM.unit: "changed", SYSTEM.accounts: "missing"}.get(path or "", "unchanged") for path in PATHS
    }
    assert shown["service"] == {
        "load": "loaded",
        "active": "active",
        "sub": "running",
        "enabled": "enabled",
        "active_since": 1700000000,
        "pid": 4242,
        "restarts": 2,
        "result": "success",
    }


def test_to_text_of_a_failed_service_says_where_to_look() -> None:
    state = parse_state("ActiveState=failed\nSubState=failed\nResult=watchdog\nUnitFileState=\n")
    assert service_text.to_text(Record("1.0", False), {}, state).splitlines() == [
        "Installed by greenboost 1.0: 0 files; that was cut short: run 'greenboost service install' again",
        f"{UNIT}: failed (failed), not enabled; it ended by watchdog: journalctl -u {UNIT} says more",
    ]


@pytest.mark.parametrize(
    "text", ["", "nonsense", "MainPID=0\nActiveEnterTimestamp=\nNRestarts=\n", "MainPID=x\nNRestarts=-1"]
)
def test_parse_state_of_little_is_little(text: str) -> None:
    assert parse_state(text) == UnitState("", "", "", "", None, None, 0, "")


def test_parse_state_of_an_inactive_unit_has_no_time() -> None:
    assert parse_state(SHOWN.replace("ActiveState=active", "ActiveState=inactive")).active_since is None


def greenboost(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    source = "from greenboost_py.cli.main import main; main()"
    command = [sys.executable, "-c", source, "service", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["install", "--root", "/nowhere"], 2, "greenboost: --root /nowhere: there is no such folder"),
        (["install", "--root", "/", "--user"], 2, "greenboost: --user and --root do not go together: .*"),
        (
            ["install", "--user", "--allow-terminate"],
            2,
            "greenboost: a user's own daemon can be given no such right: .*",
        ),
        (
            ["install", "--root", "/", "--allow-metrics", "::/0", "--no-allow-metrics"],
            2,
            "greenboost: --allow-metrics and --no-allow-metrics do not go together",
        ),
        (["nonsense"], 2, "greenboost service: .*"),
    ],
)
def test_service_used_wrongly_is_one_line(arguments: list[str], code: int, message: str) -> None:
    done = greenboost(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(message, line)


def test_install_by_somebody_who_is_not_root_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for name in ("install", "uninstall"):
        with pytest.raises(GreenboostError, match="run it with sudo, or with --user"):
            call(name)


def test_install_on_a_read_only_file_system_is_one_line_and_changes_nothing(tmp_path: Path) -> None:
    image = tmp_path / "tree"
    image.mkdir()
    script = f"mount -t tmpfs -o ro none {image} && exec {sys.executable} -c 'from greenboost_py.cli.main import main; main()' service install --root {image}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount" in done.stderr.split(":")[0]:
        pytest.skip(f"no mount namespace: {done.stderr.strip()}")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("greenboost: /var: read-only file system: remount it for writing")


def test_install_into_a_real_tree_by_the_real_command_is_undone_by_it(tmp_path: Path) -> None:
    for verb in ("install", "status", "uninstall"):
        done = greenboost(verb, "--root", str(tmp_path))
        assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_service_files_are_in_the_distribution(repository: Path) -> None:
    assert '"greenboost_py.service" = ["files/*"]' in (repository / "pyproject.toml").read_text()
    for path in (repository / "greenboost_py/service/files").iterdir():
        assert stat.S_ISREG(path.stat().st_mode)


# Somebody else's services

DROP_IN = "etc/systemd/system/ollama.service.d/90-greenboost.conf"
LIBRARY = "/opt/greenboost/lib/libgreenboost.so"


@pytest.fixture
def ollama(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with Ollama's service."""
    unit = machine.root / "etc/systemd/system/ollama.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/usr/local/bin/ollama serve\nUser=ollama\nEnvironment=LD_PRELOAD=/x.so\n")
    monkeypatch.setattr(service_enable, "check_loads", lambda unit, library, may_be_closed: None)
    return machine


def enable(*options: str, name: str = "ollama") -> Result:
    return call("enable", name, "--library", LIBRARY, *options)


def test_enable_writes_a_drop_in_and_disable_takes_it_away_to_the_byte(ollama: Machine) -> None:
    before = ollama.files()
    output = enable("--yes").output
    assert f"+++ /{DROP_IN}" in output and f"wrote /{DROP_IN}" in output
    assert output.endswith("systemctl restart ollama.service\n")
    assert ollama.calls() == ["systemctl daemon-reload"]
    text = (ollama.root / DROP_IN).read_text()
    assert f'Environment="LD_PRELOAD={LIBRARY}:/x.so"\n' in text
    assert 'Environment="GREENBOOST_MOVABLE=1"\n' in text
    assert "Nothing to change" in enable("--yes").output
    assert ollama.calls() == ["systemctl daemon-reload"]
    assert f"-{text.splitlines()[0]}" in call("disable", "ollama.service", "--yes", "--restart").output
    assert ollama.calls() == ["systemctl daemon-reload", "systemctl try-restart -- ollama.service"]
    assert ollama.files() == before
    assert call("disable", "ollama").output == "ollama.service is not enabled.\n"


def test_enable_takes_options_before_the_units_own_before_the_profile(ollama: Machine) -> None:
    unit = ollama.root / "etc/systemd/system/ollama.service"
    unit.write_text(unit.read_text() + "Environment=GREENBOOST_MOVABLE=0\n")
    enable("--yes", "--advertise", "10%", "--restart")
    assert ollama.calls() == ["systemctl daemon-reload", "systemctl try-restart -- ollama.service"]
    text = (ollama.root / DROP_IN).read_text()
    assert 'Environment="GREENBOOST_ADVERTISE=10%%"\n' in text
    assert "MOVABLE" not in text
    enable("--yes", "--movable", "--profile", "pytorch")
    text = (ollama.root / DROP_IN).read_text()
    assert 'Environment="GREENBOOST_MOVABLE=1"\nEnvironment="GREENBOOST_RETRY_FIRST=1"\n' in text


def test_enable_without_a_profile_preloads_the_library_alone(ollama: Machine) -> None:
    enable("--yes", "--profile", "none")
    text = (ollama.root / DROP_IN).read_text()
    assert "GREENBOOST_" not in text
    assert "# No profile" in text


def test_enable_asks_first_and_changes_nothing_without_an_answer(
    ollama: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ollama.files()
    with pytest.raises(GreenboostError, match="there is nobody to ask; add --yes"):
        enable()
    monkeypatch.setattr(service_enable, "_has_somebody", lambda: True)
    arguments = ["enable", "ollama", "--library", LIBRARY]
    refused = CliRunner().invoke(service.command, arguments, input="n\n", standalone_mode=False, catch_exceptions=False)
    assert (refused.return_value, ollama.files(), ollama.calls()) == (1, before, [])
    agreed = CliRunner().invoke(service.command, arguments, input="y\n", standalone_mode=False, catch_exceptions=False)
    assert agreed.return_value == 0
    assert (ollama.root / DROP_IN).exists()


def test_enable_dry_run_shows_everything_and_does_nothing(ollama: Machine) -> None:
    before = ollama.files()
    output = enable("--dry-run", "--restart").output
    assert (ollama.files(), ollama.calls()) == (before, [])
    assert output.startswith("# profile ollama (program ollama, argument serve), from ")
    assert output.endswith("# then: systemctl daemon-reload\n# then: systemctl try-restart -- ollama.service\n")


def test_enable_that_is_cut_short_is_finished_by_the_next(ollama: Machine) -> None:
    ollama.tool("systemctl", "exit 1")
    with pytest.raises(GreenboostError, match="systemctl daemon-reload: exit status 1"):
        enable("--yes")
    ollama.calls()
    ollama.tool("systemctl", ":")
    enable("--yes")
    assert ollama.calls() == ["systemctl daemon-reload"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nope", "", "there is no unit nope.service; "),
        ("../etc/passwd", "", "is no name of a service"),
        ("greenboostd", "", "is greenboost's own"),
        ("x", "", "x.service is masked"),
        ("x", "[Service]\nExecStart=/usr/bin/podman run x\n", "runs its program in a container"),
        ("x", "[Service]\nExecStart=/bin/x\nEnvironmentFile=-/etc/x.env\n", "/etc/x.env sets LD_PRELOAD"),
        ("x", "[Service]\nExecStart=/bin/x\nInaccessiblePaths=/opt\n", "does not see /opt/greenboost"),
    ],
)
def test_enable_of_what_cannot_have_it_is_one_line_and_changes_nothing(
    ollama: Machine, name: str, content: str, message: str
) -> None:
    (ollama.root / "etc/systemd/system/x.service").write_text(content)
    (ollama.root / "etc/x.env").write_text("LD_PRELOAD=/y.so\n")
    before = ollama.files()
    with pytest.raises(GreenboostError, match=re.escape(message)):
        enable("--yes", name=name)
    assert (ollama.files(), ollama.calls()) == (before, [])


def test_enable_with_a_relative_library_is_one_line(ollama: Machine) -> None:
    with pytest.raises(GreenboostError, match="write its absolute path"):
        call("enable", "ollama", "--library", "lib.so", "--yes")


def test_disable_of_a_unit_whose_package_is_gone_still_works(ollama: Machine) -> None:
    enable("--yes")
    (ollama.root / "etc/systemd/system/ollama.service").unlink()
    assert f"removed /{DROP_IN}" in call("disable", "ollama", "--yes").output
    assert not (ollama.root / DROP_IN).parent.exists()


def test_disable_of_somebody_elses_file_is_one_line(ollama: Machine) -> None:
    (ollama.root / DROP_IN).parent.mkdir()
    (ollama.root / DROP_IN).write_text("mine")
    with pytest.raises(GreenboostError, match="greenboost did not write it"):
        call("disable", "ollama", "--yes")
    assert (ollama.root / DROP_IN).read_text() == "mine"


def test_status_and_uninstall_name_the_services_that_are_enabled(ollama: Machine) -> None:
    enable("--yes")
    assert f"ollama.service has GreenBoost in it: /{DROP_IN} is unchanged" in call("status").output.splitlines()
    shown = json.loads(call("status", "--json").output)
    assert shown["enabled"] == [{"unit": "ollama.service", "path": f"/{DROP_IN}", "state": "unchanged"}]
    told = call("uninstall").output.splitlines()
    assert told[-1] == "ollama.service still has GreenBoost in it: greenboost service disable ollama.service"


def test_enable_for_a_user_stays_in_the_home(ollama: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/u")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (ollama.root / "run/user/1000/systemd").mkdir(parents=True)
    unit = ollama.root / "home/u/.config/systemd/user/comfyui.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/home/u/venv/bin/python main.py\nWorkingDirectory=/home/u/ComfyUI\n")
    lay(ollama.root / "home/u", dict.fromkeys(("ComfyUI/main.py", "ComfyUI/comfy/x.py"), "import torch\n"))
    before = ollama.files()
    with pytest.raises(GreenboostError, match="run it with sudo, or with --user"):
        enable("--yes")
    enable("--user", "--yes", name="comfyui")
    text = (unit.parent / "comfyui.service.d/90-greenboost.conf").read_text()
    assert "# Profile comfyui (script main.py, beside comfy)" in text
    assert ollama.calls() == ["systemctl --user daemon-reload"]
    call("disable", "comfyui", "--user", "--yes")
    assert ollama.files() == before


def test_check_loads_of_this_systems_programs(tmp_path: Path, library: Path) -> None:
    def unit(program: str, user: str = "") -> Unit:
        return Unit("x.service", "x", {"ExecStart": (f"{program} serve",), "User": (user,)})

    service_enable.check_loads(unit("/bin/sh"), library, may_be_closed=True)
    service_enable.check_loads(unit("/opt/%i/bin/x"), library, may_be_closed=True)
    for program, message in (
        ("/no/such", "x.service: '/no/such': there is no such program"),
        (str(tmp_path), "is a directory"),
    ):
        with pytest.raises(GreenboostError, match=message):
            service_enable.check_loads(unit(program), library, may_be_closed=True)
    with pytest.raises(GreenboostError, match="there is no such file; name another with --library"):
        service_enable.check_loads(unit("/bin/sh"), tmp_path / "lib.so", may_be_closed=True)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "lib.so").write_bytes(library.read_bytes())
    with pytest.raises(GreenboostError, match="is closed to other users, and x.service could not read"):  # noqa: RUF043
        service_enable.check_loads(unit("/bin/sh", "ollama"), closed / "lib.so", may_be_closed=False)
