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


def test_everything_of_an_absent_file_is_none(tmp_path: Path) -> None:
    root = SysRoot(tmp_path)
    (tmp_path / "file").touch()
    for path in ("absent", "absent/below", "file/below"):
        assert root.read_bytes(path) is None
        assert root.read_text(path) is None
        assert root.names(path) is None
        assert root.link_text(path) is None
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
