import errno
import os
from pathlib import Path

import pytest

from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot


def test_read_text_of_the_real_proc_is_this_process() -> None:
    status = SysRoot().read_text("proc/self/status")
    assert status is not None
    assert f"\nPid:\t{os.getpid()}\n" in status


def test_read_bytes_stops_at_the_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    assert SysRoot(tmp_path).read_bytes("file", 4) == b"0123"
    assert SysRoot(tmp_path).read_bytes("file", 0) == b""


def test_read_at_begins_at_the_offset_and_stops_at_the_limit(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(100_000) + b"0123456789")
    assert SysRoot(tmp_path).read_at("x", 100_002, 4) == b"2345"
    assert SysRoot(tmp_path).read_at("x", 0, 1) == b"\0"


def test_read_at_ends_where_the_file_ends(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    assert SysRoot(tmp_path).read_at("x", 8, 100) == b"89"
    assert SysRoot(tmp_path).read_at("x", 4 << 30, 100) == b""
    assert SysRoot(tmp_path).read_at("absent", 8, 100) is None


def test_everything_of_an_absent_file_is_none(tmp_path: Path) -> None:
    root = SysRoot(tmp_path)
    (tmp_path / "file").touch()
    for path in ("absent", "absent/below", "file/below"):
        assert root.read_bytes(path) is None
        assert root.read_text(path) is None
        assert root.names(path) is None
        assert root.link_text(path) is None
        assert root.links(path) is None
        assert root.owner(path) is None


def test_names_of_a_directory_are_sorted(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / "folder" / name).mkdir(parents=True)
    assert SysRoot(tmp_path).names("folder") == ("a", "b", "c")


def test_read_text_of_bytes_that_are_no_text_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a\xffb")
    text = SysRoot(tmp_path).read_text("file")
    assert text is not None
    assert text.encode("utf-8", "surrogateescape") == b"a\xffb"


def test_an_absolute_link_points_into_the_tree(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("the tree's own")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "etc/relative").symlink_to("passwd")
    root = SysRoot(tmp_path)
    assert root.link_text("link") == "/etc/passwd"
    assert root.read_text("link") == root.read_text("etc/relative") == "the tree's own"


def test_a_link_on_the_way_leads_out_of_no_tree(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("another system's")
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (root / "real/file").write_text("the tree's own")
    (root / "real/link").symlink_to("file")
    for name, target in (("absolute", "/real"), ("upwards", "../../../real")):
        (root / name).symlink_to(target)
        assert SysRoot(root).read_text(f"{name}/file") == "the tree's own"
        assert SysRoot(root).names(name) == ("file", "link")
        assert SysRoot(root).link_text(f"{name}/link") == "file"
    (root / "out").symlink_to(tmp_path)
    assert SysRoot(root).read_text("out/outside") is None
    assert SysRoot(root).read_text("../outside") is None


def test_read_bytes_of_a_circle_of_links_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("/b")
    (tmp_path / "b").symlink_to("/a")
    with pytest.raises(SensorError, match="/a: "):
        SysRoot(tmp_path).read_bytes("a")


def test_read_bytes_of_a_pipe_does_not_wait_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SensorError, match="/pipe: not a regular file"):
        SysRoot(tmp_path).read_bytes("pipe")


def test_read_bytes_of_a_directory_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(SensorError, match="/folder: "):
        SysRoot(tmp_path).read_bytes("folder")


def test_link_text_of_a_file_that_is_no_link_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert SysRoot(tmp_path).link_text("file") is None
    assert SysRoot(tmp_path).owner("file") == os.getuid()


def test_write_text_replaces_all_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "setting").write_text("12345678\n")
    SysRoot(tmp_path).write_text("setting", "42")
    assert (tmp_path / "setting").read_text() == "42"


def test_write_text_follows_a_link_within_the_tree(tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys/setting").write_text("1")
    (tmp_path / "link").symlink_to("/sys/setting")
    SysRoot(tmp_path).write_text("link", "2")
    assert (tmp_path / "sys/setting").read_text() == "2"


def test_write_text_of_an_absent_file_is_an_error_and_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match=r"^/absent: No such file or directory$"):
        SysRoot(tmp_path).write_text("absent", "1")
    assert list(tmp_path.iterdir()) == []


def test_write_text_of_what_is_no_regular_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        for name in ("folder", "pipe"):
            with pytest.raises(SensorError, match=f"^/{name}: "):
                SysRoot(tmp_path).write_text(name, "1")
        assert os.read(reader, 1) == b"", "nothing may have been written"
    finally:
        os.close(reader)


def test_write_text_that_the_kernel_refuses_is_an_error_with_its_reason() -> None:
    # A number is what this file takes; the write fails before anything changes. Source: proc(5), oom_score_adj.
    with pytest.raises(SensorError, match=r"^/proc/self/oom_score_adj: Invalid argument$"):
        SysRoot().write_text("proc/self/oom_score_adj", "a word")


def test_read_all_of_a_directory_is_what_its_files_hold_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"x" * 9)
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("b")
    os.mkfifo(tmp_path / "pipe")
    assert SysRoot(tmp_path).read_all("", 4) == {"a": b"", "b": b"xxxx"}
    assert SysRoot(tmp_path).read_all("folder") == {}
    assert SysRoot(tmp_path).read_all("b") is None
    assert SysRoot(tmp_path).read_all("absent") is None


def test_read_all_of_this_process_is_what_its_descriptors_say(tmp_path: Path) -> None:
    with (tmp_path / "open").open("wb") as file:
        file.write(b"12345")
        file.flush()
        said = SysRoot().read_all("proc/self/fdinfo")
        assert said is not None
        assert said[str(file.fileno())].startswith(b"pos:\t5\n")


def test_inode_of_a_file_is_the_file_systems(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert SysRoot(tmp_path).inode("file") == (tmp_path / "file").stat().st_ino
    assert SysRoot(tmp_path).inode("absent") is None


def test_links_of_a_directory_are_what_they_say_and_nothing_else(tmp_path: Path) -> None:
    for name, target in (("10", "/dev/null"), ("9", "gone (deleted)")):
        (tmp_path / name).symlink_to(target)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    assert SysRoot(tmp_path).links("") == {"10": "/dev/null", "9": "gone (deleted)"}
    assert SysRoot(tmp_path).links("folder") == {}


def test_links_of_this_process_are_its_open_files(tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as file:
        links = SysRoot().links("proc/self/fd")
        assert links is not None
        assert links[str(file.fileno())] == str(tmp_path / "open")


@pytest.mark.parametrize("number", [errno.ENODEV, errno.EOPNOTSUPP, errno.EACCES, errno.ESRCH])
def test_read_bytes_of_what_is_gone_or_switched_off_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    root = SysRoot(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        data = root.read_bytes("file")
    assert data is None


def test_read_bytes_of_a_long_file_is_all_of_it(tmp_path: Path) -> None:
    data = bytes(range(256)) * 1000
    (tmp_path / "file").write_bytes(data)
    assert SysRoot(tmp_path).read_bytes("file") == data
    assert SysRoot(tmp_path).read_bytes("file", 70000) == data[:70000]


def test_folders_of_a_directory_are_sorted_without_files_and_links(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / "folder" / name).mkdir(parents=True)
    (tmp_path / "folder/file").touch()
    (tmp_path / "folder/link").symlink_to("a")
    root = SysRoot(tmp_path)
    assert root.folders("folder") == ("a", "b")
    assert root.folders("absent") is root.folders("folder/file") is None
