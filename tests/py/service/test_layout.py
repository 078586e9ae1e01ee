"""The units by systemd's own judgement, the bus policy by a real bus."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from greenboost_py.actions import dbus_signal
from greenboost_py.base import config_file
from greenboost_py.base.config import Config
from greenboost_py.base.errors import GreenboostError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.service import program
from greenboost_py.service.layout import SYSTEM, Layout, Rights, exec_word, networks_of, service_files, user_layout
from greenboost_py.service.program import Program

EXPOSURE_MAX = 20
"""As the unit and docs/service.md say, by systemd 252, in tenths; what newer ones look at beyond that may cost a little."""

USER_LAYOUT = user_layout({"HOME": "/home/u"})


@pytest.fixture(scope="session")
def analyze() -> str:
    path = shutil.which("systemd-analyze")
    if path is None:
        pytest.skip("no systemd-analyze")
    return path


def written(tree: Path, layout: Layout, rights: Rights, executable: str = "") -> dict[str, Path]:
    """The files in a tree, in which the command is there to be found."""
    command = tree / "bin/greenboost"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    paths = {}
    for file in service_files(layout, executable or str(command), [], rights):
        path = tree / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
        paths[file.path] = path
    return paths


def verify(analyze: str, unit: Path, *options: str) -> None:
    done = subprocess.run(
        [analyze, *options, "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "notice"},
    )
    ours = [line for line in done.stderr.splitlines() if "greenboost" in line]
    assert (ours, done.returncode) == ([], 0)


@pytest.mark.parametrize(
    "rights", [Rights(), Rights(True, True, ("10.0.0.0/8", "2001:db8::/32"))], ids=["usual", "all"]
)
def test_unit_of_the_system_is_clean_to_systemd(tmp_path: Path, analyze: str, rights: Rights) -> None:
    verify(analyze, written(tmp_path, SYSTEM, rights)[SYSTEM.unit])


def test_units_of_users_are_clean_to_systemd(tmp_path: Path, analyze: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    paths = written(tmp_path, SYSTEM, Rights())
    assert SYSTEM.notifier is not None
    verify(analyze, paths[SYSTEM.notifier], "--user")
    verify(analyze, written(tmp_path / "home", USER_LAYOUT, Rights())[USER_LAYOUT.unit], "--user")


@pytest.mark.parametrize("line", ["NoSuchKey=1", "WatchdogSec=soon", "ExecStart=/nowhere/greenboost"])
def test_a_unit_with_a_mistake_is_not_clean(tmp_path: Path, analyze: str, line: str) -> None:
    unit = written(tmp_path, SYSTEM, Rights())[SYSTEM.unit]
    unit.write_text(unit.read_text().replace("[Install]", f"{line}\n\n[Install]"))
    with pytest.raises(AssertionError):
        verify(analyze, unit)


def exposure(analyze: str, unit: Path, tenths: int) -> bool:
    command = [analyze, "security", "--offline=true", "--no-pager", f"--threshold={tenths}", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd-analyze security has no --offline (older than 250)")
    assert "Overall exposure level" in done.stdout
    return done.returncode == 0


def systemd_version(analyze: str) -> int:
    text = subprocess.run([analyze, "--version"], capture_output=True, text=True, check=True).stdout
    return int(text.split()[1])


def test_unit_of_the_system_is_no_more_exposed_than_it_says(tmp_path: Path, analyze: str, repository: Path) -> None:
    unit = written(tmp_path, SYSTEM, Rights())[SYSTEM.unit]
    assert exposure(analyze, unit, EXPOSURE_MAX if systemd_version(analyze) <= 252 else EXPOSURE_MAX + 5)
    stated = f"{EXPOSURE_MAX / 10:.1f}"
    assert f"Exposure by systemd-analyze security: {stated}," in unit.read_text()
    assert f"exposure is {stated} " in (repository / "docs/service.md").read_text()


def test_a_unit_that_is_less_protected_is_more_exposed(tmp_path: Path, analyze: str) -> None:
    unit = written(tmp_path, SYSTEM, Rights())[SYSTEM.unit]
    unit.write_text(re.sub("^(Protect|Restrict|SystemCall).*", "", unit.read_text(), flags=re.MULTILINE))
    assert not exposure(analyze, unit, EXPOSURE_MAX + 5)


def values(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def test_unit_leaves_the_daemon_what_it_needs() -> None:
    text = service_files(SYSTEM, "/opt/g/bin/greenboost", [], Rights())[-1].text
    for hidden in ("PrivateDevices", "ProcSubset", "ProtectProc", "PrivateUsers", "PrivateNetwork", "StateDirectory"):
        assert values(text, hidden) == []
    assert (
        values(text, "CapabilityBoundingSet")
        == values(text, "AmbientCapabilities")
        == ["CAP_SYS_PTRACE CAP_SYS_RESOURCE"]
    )
    assert values(text, "ExecStart") == ["/opt/g/bin/greenboost daemon"]
    assert (values(text, "Type"), values(text, "WatchdogSec")) == (["notify"], ["180"])


def test_rights_beyond_the_usual_are_drop_ins_that_are_asked_for() -> None:
    assert not {file.path for file in service_files(SYSTEM, "/g", [], Rights())} & set(SYSTEM.drop_ins.values())
    files = {file.path: file.text for file in service_files(SYSTEM, "/g", [], Rights(ttm_limit=True, terminate=True))}
    assert "CAP_KILL" in files[SYSTEM.drop_ins["terminate"]]
    assert "ProtectKernelTunables=no" in files[SYSTEM.drop_ins["ttm_limit"]]


def test_networks_of_a_drop_in_are_those_that_it_was_written_with() -> None:
    networks = ("10.0.0.0/8", "2001:db8::/32")
    files = {file.path: file.text for file in service_files(SYSTEM, "/g", [], Rights(metrics=networks))}
    assert networks_of(files[SYSTEM.drop_ins["metrics"]]) == networks
    assert networks_of("") == networks_of("[Service]\nIPAddressAllow=::1\nIPAddressAllow=\n") == ()


def test_ttm_commands_lend_and_take_back_the_two_files(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another group")
    files = {file.path: file.text for file in service_files(SYSTEM, "/g", [], Rights(ttm_limit=True))}
    text = files[SYSTEM.drop_ins["ttm_limit"]].replace("/sys/", f"{tmp_path}/").replace("greenboost", "tty")
    limit = tmp_path / "module/ttm/parameters/pages_limit"  # amdttm is not loaded
    limit.parent.mkdir(parents=True)
    limit.touch()
    limit.chmod(0o644)
    for key, mode, is_lent in (("ExecStartPre", 0o664, True), ("ExecStopPost", 0o644, False)):
        (command,) = values(text, key)
        script = re.fullmatch(r"\+-/bin/sh -c '(.*)'", command)
        assert script is not None
        subprocess.run(["/bin/sh", "-c", script[1].replace("$$", "$")], check=True)
        assert (limit.stat().st_mode & 0o777, limit.stat().st_gid != 0) == (mode, is_lent)


@pytest.mark.parametrize("executable", ["/opt/my tools/greenboost", "/opt/100%/greenboost", "/opt/ünï/greenboost"])
def test_exec_word_of_an_odd_path_is_what_systemd_starts(tmp_path: Path, analyze: str, executable: str) -> None:
    command = tmp_path / executable.lstrip("/")
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    verify(analyze, written(tmp_path, SYSTEM, Rights(), str(command))[SYSTEM.unit])


@pytest.mark.parametrize(
    "path", ["greenboost", "/opt/$HOME/x", '/opt/"x', "/opt/x'y", "/opt/a\nb", "/opt/a\\x", "/a;b", ""]
)
def test_exec_word_of_a_path_that_units_read_differently_is_an_error(path: str) -> None:
    with pytest.raises(GreenboostError, match="cannot be written in a unit"):
        exec_word(path)


@pytest.mark.parametrize(
    ("places", "protection"),
    [
        ([], "yes"),
        (["/opt/x", "/usr/lib/python3.11", "/homes/x"], "yes"),
        (["/home/u/.local/bin"], "read-only"),
        (["/opt/x", "/root/.pyenv"], "read-only"),
    ],
)
def test_unit_hides_homes_unless_something_needed_lies_there(places: list[str], protection: str) -> None:
    text = service_files(SYSTEM, "/opt/greenboost", places, Rights())[-1].text
    assert values(text, "ProtectHome") == [protection]


def test_configuration_that_is_installed_sets_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, SYSTEM, Rights())[SYSTEM.configuration]
    assert "systemctl reload" in path.read_text()
    assert config_file.load(SysRoot(tmp_path), SYSTEM.configuration, required=True) == Config()


def test_files_of_a_user_are_all_in_the_home() -> None:
    layout = user_layout({"HOME": "/home/u", "XDG_CONFIG_HOME": "relative", "XDG_STATE_HOME": "/home/u/s"})
    files = service_files(layout, "/home/u/bin/greenboost", [], Rights())
    assert {file.path for file in files} == {
        "home/u/.config/systemd/user/greenboostd.service",
        "home/u/.config/greenboost/config.toml",
    }
    assert layout.record == "home/u/s/greenboost/installed.json"
    with pytest.raises(GreenboostError, match="HOME is not set"):
        user_layout({"HOME": ""})


def test_sysusers_make_the_user(tmp_path: Path) -> None:
    tool = shutil.which("systemd-sysusers")
    if tool is None:
        pytest.skip("no systemd-sysusers")
    path = written(tmp_path, SYSTEM, Rights())[SYSTEM.accounts]
    for _ in range(2):  # it may be run again
        subprocess.run([tool, f"--root={tmp_path}", str(path)], check=True, capture_output=True)
    (line,) = [one for one in (tmp_path / "etc/passwd").read_text().splitlines() if one.startswith("greenboost:")]
    assert line.endswith(":/:/usr/sbin/nologin")


@dataclass(frozen=True)
class RunningBus:
    address: str


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[RunningBus]:
    """A bus with the system's defaults and our policy, with a user who is there for the one who may not be."""
    daemon = shutil.which("dbus-daemon")
    if daemon is None or shutil.which("dbus-send") is None:
        pytest.skip("no dbus-daemon, or no dbus-send")
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    policy = written(tmp_path, SYSTEM, Rights())[dbus_signal.POLICY_PATH]
    policy.write_text(policy.read_text().replace('user="greenboost"', 'user="daemon"'))
    folder = Path("/tmp") / f"greenboost-bus-{os.getpid()}"  # where another user may connect
    folder.mkdir(mode=0o755)
    config = tmp_path / "bus.conf"
    config.write_text(
        f"<busconfig><type>system</type><listen>unix:path={folder}/bus</listen><auth>EXTERNAL</auth>"
        # As /usr/share/dbus-1/system.conf has them.
        '<policy context="default"><allow user="*"/><deny own="*"/><deny send_type="method_call"/>'
        '<allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/>'
        '<allow send_requested_reply="true" send_type="error"/><allow receive_type="method_call"/>'
        '<allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>'
        '<allow send_destination="org.freedesktop.DBus"/></policy>'
        f"<include>{policy}</include></busconfig>"
    )
    command = [daemon, f"--config-file={config}", "--nofork", "--nopidfile", "--print-address"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, process.communicate()[1]
        yield RunningBus(address)
    finally:
        process.terminate()
        process.communicate()
        shutil.rmtree(folder)


@pytest.mark.parametrize(("user", "may"), [("root", True), ("daemon", True), ("nobody", False)])
def test_only_root_and_the_daemons_user_may_own_the_name_on_the_bus(bus: RunningBus, user: str, may: bool) -> None:
    request = ["org.freedesktop.DBus.RequestName", f"string:{dbus_signal.BUS_NAME}", "uint32:4"]
    done = subprocess.run(
        ["dbus-send", f"--bus={bus.address}", "--print-reply", "--dest=org.freedesktop.DBus", "/", *request],
        capture_output=True,
        text=True,
        check=False,
        user=user,
    )
    assert (done.returncode == 0, "uint32 1" in done.stdout, "AccessDenied" in done.stderr) == (may, may, not may)


def test_program_of_this_environment_is_found_however_it_was_started(tmp_path: Path) -> None:
    beside = Path(sys.executable).parent / "greenboost"
    if not beside.is_file():
        pytest.skip("greenboost is not installed beside this interpreter")
    assert program.this_program("-c").executable == str(beside)
    other = tmp_path / "greenboost"
    other.symlink_to(beside)
    found = program.this_program(str(other))
    assert found.executable == str(other)
    assert str(beside.resolve()) in found.places


def test_closed_to_others_names_the_first_folder_or_file_in_the_way(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != folder.parent:
            folder.chmod(folder.stat().st_mode | 0o011)
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    command = inner / "greenboost"
    command.touch()
    for path, mode in ((tmp_path, 0o755), (inner.parent, 0o711), (inner, 0o755), (command, 0o755)):
        path.chmod(mode)
    assert program.closed_to_others([str(command), str(inner)]) is None
    inner.chmod(0o711)
    assert program.closed_to_others([str(command)]) is None
    assert program.closed_to_others([str(inner)]) == str(inner)  # a library's folder is listed
    command.chmod(0o744)
    assert program.closed_to_others([str(command)]) == str(command)
    inner.parent.chmod(0o700)
    assert program.closed_to_others([str(command)]) == str(inner.parent)
    with pytest.raises(GreenboostError, match="No such file"):
        program.closed_to_others([str(tmp_path / "absent")])


def test_check_reachable_of_a_program_in_tmp_says_where_to_install() -> None:
    with pytest.raises(GreenboostError, match=r"^/tmp/x: .* /opt "):
        program.check_reachable(Program("/usr/bin/greenboost", ("/tmp/x",)))
