import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.base.errors import FileError, InstallError
from greenboost_py.base.files import ASIDE, TEMPORARY, Tree
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.service.install import Action, Installation, plan_install, plan_uninstall
from greenboost_py.service.layout import SYSTEM, Rights, ServiceFile, service_files
from greenboost_py.service.record import Record, digest, parse_record

Snapshot = dict[str, tuple[int, bytes]]

FILES = service_files(SYSTEM, "/opt/greenboost/bin/greenboost", [], Rights(terminate=True))
UNIT = SYSTEM.unit
CONFIG = SYSTEM.configuration


class Killed(BaseException):
    """What a kill looks like from inside: nothing after it happens, no clean-up either."""


class Killer:
    """Counts the steps that change the disk, and from the n-th on lets none happen."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.steps = 0

    def step(self) -> None:
        self.steps += 1
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed

    def guard(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **keywords: Any) -> Any:
            self.step()
            return function(*arguments, **keywords)

        return guarded


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Killer]:
    killer = Killer()
    for name in ("mkdir", "chmod", "fchmod", "replace", "unlink", "link", "rmdir"):
        monkeypatch.setattr(os, name, killer.guard(getattr(os, name)))
    monkeypatch.setattr(os, "fsync", killer.guard(lambda descriptor: None))
    real_open = os.open

    def guarded_open(path: Any, flags: int, *rest: Any, **keywords: Any) -> int:
        if flags & os.O_CREAT:
            killer.step()
        return real_open(path, flags, *rest, **keywords)

    monkeypatch.setattr(os, "open", guarded_open)
    yield killer
    killer.left = None


def installation(folder: Path) -> Installation:
    return Installation(SysRoot(folder), Tree(folder), SYSTEM)


def snapshot(folder: Path) -> Snapshot:
    seen = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        content = path.read_bytes() if stat.S_ISREG(mode) else os.readlink(path).encode() if stat.S_ISLNK(mode) else b""
        seen[str(path.relative_to(folder))] = (mode, content)
    return seen


def machine(folder: Path) -> Path:
    """A system without the service, but with things of others where its files go."""
    for name in ("etc/systemd/system/multi-user.target.wants", "etc/dbus-1/system.d", "var/lib/other"):
        (folder / name).mkdir(parents=True)
    (folder / "etc/dbus-1/system.d/other.conf").write_text("<busconfig/>")
    (folder / "etc/systemd/system/other.service").write_text("[Service]\n")
    return folder


def install(folder: Path, files: tuple[ServiceFile, ...] = FILES, force: bool = False, **given: Any) -> bool:
    target = installation(folder)
    return target.install(target.plan_install(files, force), makes_user=False, **given)


def uninstall(folder: Path, purge: bool = False, **given: Any) -> None:
    target = installation(folder)
    target.uninstall(target.plan_uninstall(purge), **given)


def test_install_writes_every_file_and_says_so_in_its_record(tmp_path: Path) -> None:
    machine(tmp_path)
    assert install(tmp_path) is True
    for file in FILES:
        assert (tmp_path / file.path).read_text() == file.text
        assert stat.S_IMODE((tmp_path / file.path).stat().st_mode) == 0o644
    assert (tmp_path / "etc/greenboost/config.d").is_dir()
    record = installation(tmp_path).record()
    assert record is not None
    assert record.is_complete
    assert dict(record.files) == {file.path: (digest(file.text.encode()),) for file in FILES}


def test_install_again_changes_nothing(tmp_path: Path) -> None:
    install(machine(tmp_path))
    before = snapshot(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    told: list[bool] = []
    assert install(tmp_path, then=told.append) is False
    assert told == [False]
    assert snapshot(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times


def test_uninstall_leaves_the_tree_as_it_was(tmp_path: Path) -> None:
    before = snapshot(machine(tmp_path))
    install(tmp_path)
    uninstall(tmp_path)
    assert snapshot(tmp_path) == before
    uninstall(tmp_path)
    assert snapshot(tmp_path) == before


def test_uninstall_of_a_service_in_an_empty_tree_leaves_it_empty(tmp_path: Path) -> None:
    install(tmp_path)
    uninstall(tmp_path)
    assert snapshot(tmp_path) == {}


def test_uninstall_removes_the_links_that_enabling_made(tmp_path: Path) -> None:
    before = snapshot(machine(tmp_path))
    install(tmp_path)
    for link in SYSTEM.links:
        (tmp_path / link).parent.mkdir(exist_ok=True)
        (tmp_path / link).symlink_to("/etc/systemd/system/greenboostd.service")
    uninstall(tmp_path)
    assert snapshot(tmp_path) == before


def test_install_writes_a_deleted_file_and_folder_again(tmp_path: Path) -> None:
    install(machine(tmp_path))
    before = snapshot(tmp_path)
    (tmp_path / UNIT).unlink()
    (tmp_path / "etc/greenboost/config.d").rmdir()
    assert install(tmp_path) is True
    assert snapshot(tmp_path) == before


def test_install_of_a_newer_version_updates_what_nobody_changed_and_removes_what_is_no_more(tmp_path: Path) -> None:
    older = (
        *(ServiceFile(file.path, file.text + "# old\n", file.is_configuration) for file in FILES),
        ServiceFile("etc/old", "x"),
    )
    before = snapshot(machine(tmp_path))
    install(tmp_path, older)
    told: list[bool] = []
    assert install(tmp_path, then=told.append) is True
    assert told == [True]
    assert not (tmp_path / "etc/old").exists()
    assert all((tmp_path / file.path).read_text() == file.text for file in FILES)
    uninstall(tmp_path)
    assert snapshot(tmp_path) == before


def test_install_keeps_what_was_changed_and_with_force_a_second_name_of_it(tmp_path: Path) -> None:
    install(machine(tmp_path))
    (tmp_path / UNIT).write_text("mine")
    (tmp_path / CONFIG).write_text("ram.warn = '9%'")
    assert install(tmp_path) is False
    assert (tmp_path / UNIT).read_text() == "mine"
    assert install(tmp_path, force=True) is True
    assert (tmp_path / UNIT).read_text() == FILES[-1].text
    assert (tmp_path / f"{UNIT}{ASIDE}").read_text() == "mine"
    assert (tmp_path / CONFIG).read_text() == "ram.warn = '9%'"


def test_install_over_somebody_elses_file_keeps_it_and_uninstall_too(tmp_path: Path) -> None:
    machine(tmp_path)
    (tmp_path / UNIT).write_text("a package's")
    before = snapshot(tmp_path)
    install(tmp_path)
    assert (tmp_path / UNIT).read_text() == "a package's"
    uninstall(tmp_path)
    assert snapshot(tmp_path) == before


def test_install_over_a_masked_unit_keeps_the_mask_unless_forced(tmp_path: Path) -> None:
    (machine(tmp_path) / UNIT).symlink_to("/dev/null")
    install(tmp_path)
    assert (tmp_path / UNIT).is_symlink()
    install(tmp_path, force=True)
    assert (tmp_path / UNIT).read_text() == FILES[-1].text


def test_uninstall_keeps_changed_configuration_unless_purged(tmp_path: Path) -> None:
    before = snapshot(machine(tmp_path))
    install(tmp_path)
    (tmp_path / CONFIG).write_text("ram.warn = '9%'")
    (tmp_path / UNIT).write_text("mine")
    uninstall(tmp_path)
    kept = set(snapshot(tmp_path)) - set(before)
    assert kept == {"etc/greenboost", CONFIG}
    install(tmp_path)
    assert (tmp_path / CONFIG).read_text() == "ram.warn = '9%'"
    uninstall(tmp_path, purge=True)
    assert snapshot(tmp_path) == before


def test_uninstall_keeps_what_the_administrator_put_beside_the_configuration(tmp_path: Path) -> None:
    install(machine(tmp_path))
    mine = tmp_path / "etc/greenboost/config.d/10-mine.toml"
    mine.write_text("")
    uninstall(tmp_path, purge=True)
    assert mine.exists()


def test_install_whose_last_step_fails_is_not_complete_and_is_finished_by_the_next(tmp_path: Path) -> None:
    machine(tmp_path)

    def fail(_: bool) -> None:
        raise InstallError("systemctl says no")

    with pytest.raises(InstallError):
        install(tmp_path, then=fail)
    record = installation(tmp_path).record()
    assert record is not None
    assert not record.is_complete
    assert install(tmp_path) is True
    record = installation(tmp_path).record()
    assert record is not None
    assert record.is_complete


def each_kill(
    killer: Killer, folder: Path, prepare: Callable[[Path], Any], act: Callable[[Path], Any]
) -> Iterator[Path]:
    """A tree for each step of an action, in which it was killed just before that step."""
    for number in range(1000):
        tree = machine(folder / str(number))
        killer.left = None
        prepare(tree)
        killer.left = number
        try:
            act(tree)
        except Killed:
            killer.left = None
            yield tree
        else:
            killer.left = None
            assert number > 20, "there is hardly anything to interrupt"
            return
        finally:
            shutil.rmtree(tree)
    raise AssertionError("it never ends")


def check_nothing_is_half_written(tree: Path, finished: Snapshot) -> None:
    for path, (mode, content) in snapshot(tree).items():
        if path == SYSTEM.record:
            parse_record(content, path)
        elif path in finished and stat.S_ISREG(mode):
            older = finished[path][1] + b"# old\n"
            assert (mode, content) == finished[path] or content in (older, b"mine")
        elif stat.S_ISREG(mode):
            assert path.endswith((TEMPORARY, ASIDE))


def older_and_changed(tree: Path) -> None:
    """An older version's files; of these, one that was changed since."""
    install(tree, tuple(ServiceFile(file.path, file.text + "# old\n", file.is_configuration) for file in FILES))
    (tree / SYSTEM.accounts).write_text("mine")


def force(tree: Path) -> None:
    install(tree, force=True)


@pytest.mark.parametrize(
    ("prepare", "act"), [(lambda tree: None, install), (older_and_changed, force)], ids=["fresh", "over an older one"]
)
def test_install_that_is_killed_at_any_step_can_be_finished_or_undone(
    tmp_path: Path, killer: Killer, prepare: Callable[[Path], Any], act: Callable[[Path], Any]
) -> None:
    bare = snapshot(machine(tmp_path / "bare"))
    prepare(machine(tmp_path / "clean"))
    act(tmp_path / "clean")
    finished = snapshot(tmp_path / "clean")
    aside = {f"{SYSTEM.accounts}{ASIDE}", str(Path(SYSTEM.accounts).parent)}
    for tree in each_kill(killer, tmp_path, prepare, act):
        check_nothing_is_half_written(tree, finished)
        other = tmp_path / "other"
        shutil.copytree(tree, other, symlinks=True)
        act(tree)
        assert snapshot(tree) == finished
        uninstall(other)
        left = {path: seen for path, seen in snapshot(other).items() if path not in bare}
        assert left.keys() <= (aside if act is force else set())
        assert {path: seen for path, seen in snapshot(other).items() if path in bare} == bare
        shutil.rmtree(other)


def test_uninstall_that_is_killed_at_any_step_can_be_finished_or_taken_back(tmp_path: Path, killer: Killer) -> None:
    bare = snapshot(machine(tmp_path / "bare"))
    install(machine(tmp_path / "clean"))
    finished = snapshot(tmp_path / "clean")

    def remove(tree: Path) -> None:
        uninstall(tree, then=killer.step)

    for tree in each_kill(killer, tmp_path, install, remove):
        other = tmp_path / "other"
        shutil.copytree(tree, other, symlinks=True)
        uninstall(tree)
        assert snapshot(tree) == bare
        install(other)
        assert {path: seen[1] for path, seen in snapshot(other).items() if path != SYSTEM.record} == {
            path: seen[1] for path, seen in finished.items() if path != SYSTEM.record
        }
        shutil.rmtree(other)


def test_install_on_a_full_disk_is_one_line_and_can_be_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(tmp_path)
    real, calls = os.replace, []

    def full(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(FileError, match=r": no space left on device: make room and run it again$"):
        install(tmp_path)
    assert not [path for path in snapshot(tmp_path) if path.endswith(TEMPORARY)]
    install(tmp_path)
    assert (tmp_path / UNIT).exists()


GOOD = Record("1.0", True, {"etc/a": ("x", "y")}, ("etc",), True)


def test_record_is_read_as_it_was_written() -> None:
    assert parse_record(GOOD.to_bytes(), "here") == GOOD


@pytest.mark.parametrize(
    "change",
    [
        {"format": "1"}, {"format": 2}, {"version": 1}, {"complete": 1}, {"made_user": None}, {"files": []}, {"folders": [1]},
        {"files": {"/etc/passwd": []}}, {"files": {"../etc": []}}, {"files": {"a/../../b": []}}, {"files": {"": []}},
        {"files": {"a": [1]}}, {"files": {"a": None}}, {"folders": ["/"]}, {"folders": None},
    ],
)  # fmt: skip
def test_record_that_is_malformed_is_an_error_that_names_it(change: dict[str, Any]) -> None:
    content = json.loads(GOOD.to_bytes()) | change
    with pytest.raises(InstallError, match=r"^here (is damaged|was written by another version)"):
        parse_record(json.dumps(content).encode(), "here")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"{}", b"\xff", b"1", b"[" * 100_000])
def test_record_that_is_no_json_object_is_an_error(data: bytes) -> None:
    with pytest.raises(InstallError, match=r"^here is damaged: "):
        parse_record(data, "here")


def test_install_with_a_damaged_record_writes_it_anew_once_it_is_removed(tmp_path: Path) -> None:
    install(machine(tmp_path))
    (tmp_path / SYSTEM.record).write_text("{")
    with pytest.raises(InstallError, match="installed.json is damaged"):  # noqa: RUF043
        install(tmp_path)
    (tmp_path / SYSTEM.record).unlink()
    assert install(tmp_path, force=True) is True


_CONTENT = st.sampled_from([None, "old", "new", "theirs"])


@given(_CONTENT, st.sets(st.sampled_from(["old", "new"])), st.booleans(), st.booleans())
def test_plan_install_never_overwrites_what_greenboost_did_not_write_unless_forced(
    there: str | None, written: set[str], is_configuration: bool, force_: bool
) -> None:
    record = Record("1", True, {"f": tuple(digest(text.encode()) for text in written)})
    found = {"f": None if there is None else digest(there.encode())}
    (change,) = plan_install([ServiceFile("f", "new", is_configuration)], record, found, force_)
    if there in (None, "new"):
        assert change.action is (Action.CREATE if there is None else Action.SAME)
    elif there in written:
        assert change.action is Action.UPDATE
    else:
        assert change.action is (Action.OVERWRITE if force_ and not is_configuration else Action.KEEP)


@given(_CONTENT, st.booleans(), st.booleans(), st.booleans())
def test_plan_uninstall_keeps_only_changed_configuration(
    there: str | None, is_configuration: bool, purge: bool, has_record: bool
) -> None:
    path = CONFIG if is_configuration else UNIT
    record = Record("1", True, {path: (digest(b"old"),)}) if has_record else None
    found = {CONFIG: None, path: None if there is None else digest(there.encode())}
    actions = {change.path: change.action for change in plan_uninstall(SYSTEM, record, found, purge)}
    if path not in actions:
        assert not has_record  # nothing is known of it: it is not ours
    elif there is None:
        assert actions[path] is Action.GONE
    else:
        is_ours = has_record and there == "old"
        assert actions[path] is (Action.KEEP if is_configuration and not purge and not is_ours else Action.REMOVE)
