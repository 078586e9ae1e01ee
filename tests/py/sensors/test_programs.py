import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from greenboost_py.base.abi import PAGE_LINK, PageError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.programs import ProgramsReading, read_programs

MakePage = Callable[..., bytes]
Show = Callable[[Callable[[int], bytes]], int]


def tree(
    root: Path, page: bytes, pids: tuple[int, ...] = (4242,), link: str = PAGE_LINK, status: str | None = None
) -> SysRoot:
    """A /proc in which each process has the page open; in a tree they all share the one file the link names."""
    (root / link.lstrip("/")).write_bytes(page)
    for pid in pids:
        (root / f"proc/{pid}/fd").mkdir(parents=True)
        (root / f"proc/{pid}/fd/0").symlink_to("/dev/null")
        (root / f"proc/{pid}/fd/512").symlink_to(link)
        (root / f"proc/{pid}/status").write_text(f"Name:\tx\nNSpid:\t{pid}\n" if status is None else status)
    return SysRoot(root)


def test_read_programs_of_a_machine_without_proc_finds_nobody(tmp_path: Path) -> None:
    assert read_programs(SysRoot(tmp_path), None) == ProgramsReading((), ())


def test_read_programs_finds_the_page_of_a_process(tmp_path: Path, make_page: MakePage) -> None:
    reading = read_programs(tree(tmp_path, make_page({(0, 2): 7})), os.getuid())
    assert reading.errors == ()
    assert [(program.pid, program.page.program) for program in reading.programs] == [(4242, "trainer")]
    assert reading.programs[0].page.devices[0].tiers[2].bytes == 7


def test_read_programs_leaves_other_users_out(tmp_path: Path, make_page: MakePage) -> None:
    root = tree(tmp_path, make_page())
    assert read_programs(root, os.getuid() + 1) == ProgramsReading((), ())
    assert len(read_programs(root, None).programs) == 1


def test_read_programs_of_one_pid_leaves_the_others_out(tmp_path: Path, make_page: MakePage) -> None:
    root = tree(tmp_path, make_page())
    assert len(read_programs(root, None, pid=4242).programs) == 1
    assert read_programs(root, None, pid=4243) == ProgramsReading((), ())


def test_read_programs_counts_a_parents_page_once(tmp_path: Path, make_page: MakePage) -> None:
    reading = read_programs(tree(tmp_path, make_page(), pids=(4242, 4243, 4244)), None)
    assert [program.pid for program in reading.programs] == [4242]


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ("NSpid:\t4242\t17\t3\n", 1),  # in a container: the page has the pid of the innermost namespace
        ("NSpid:\t4242\t17\n", 0),
        ("Name:\tx\n", 0),
        ("NSpid:\n", 0),
        ("NSpid:\tx\n", 0),
        ("", 0),
    ],
)
def test_read_programs_knows_a_process_by_its_innermost_pid(
    tmp_path: Path, make_page: MakePage, status: str, found: int
) -> None:
    assert len(read_programs(tree(tmp_path, make_page(pid=3), status=status), None).programs) == found


@pytest.mark.parametrize("link", ["/memfd:greenboost", "/memfd:greenboost2 (deleted)", "/memfd:x (deleted)"])
def test_read_programs_leaves_other_files_alone(tmp_path: Path, make_page: MakePage, link: str) -> None:
    assert read_programs(tree(tmp_path, make_page(), link=link), None) == ProgramsReading((), ())


@pytest.mark.parametrize("page", [b"", bytes(100), bytes(65536)])
def test_read_programs_skips_a_page_that_is_about_to_be_written(tmp_path: Path, page: bytes) -> None:
    assert read_programs(tree(tmp_path, page), None) == ProgramsReading((), ())


def test_read_programs_skips_a_process_that_vanished(tmp_path: Path, make_page: MakePage) -> None:
    root = tree(tmp_path, make_page())
    (tmp_path / PAGE_LINK.lstrip("/")).unlink()
    (tmp_path / "proc/17").mkdir()
    (tmp_path / "proc/self").symlink_to("4242")
    assert read_programs(root, None) == ProgramsReading((), ())


@pytest.fixture
def show() -> Iterator[Show]:
    """A function that starts a real process, which shows what it is given for its pid in a memfd; answers the pid."""
    source = """
import os, sys
fd = os.memfd_create("greenboost")
os.write(fd, sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))
print("shown", flush=True)
sys.stdin.buffer.read()
"""
    children: list[subprocess.Popen[bytes]] = []

    def start(content: Callable[[int], bytes]) -> int:
        child = subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        children.append(child)
        data = content(child.pid)
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(f"{len(data)}\n".encode() + data)
        child.stdin.flush()
        assert child.stdout.readline() == b"shown\n"
        return child.pid

    yield start
    for child in children:
        child.communicate()


def test_read_programs_reads_real_processes_and_goes_on_past_a_malformed_one(show: Show, make_page: MakePage) -> None:
    good = [show(lambda pid: make_page({(0, 1): pid}, pid=pid)) for _ in range(2)]
    bad = show(lambda pid: make_page(pid=pid, magic=1))
    short = show(lambda pid: b"Gbst")
    reading = read_programs(SysRoot(), os.getuid())
    found = {program.pid: program.page for program in reading.programs}
    assert [found[pid].devices[0].tiers[1].bytes for pid in good] == good
    assert bad not in found and short not in found
    for pid in (bad, short):
        (error,) = [error for error in reading.errors if f"process {pid}," in str(error)]
        assert isinstance(error, PageError)
