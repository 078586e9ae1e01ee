"""The programs that run under the shim, found by the page that each of them shows."""

from dataclasses import dataclass

from greenboost_py.base import abi
from greenboost_py.base.abi import Page, PageError
from greenboost_py.base.errors import GreenboostError, SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.container import Container, read_container


@dataclass(frozen=True, slots=True)
class Program:
    """A program under the shim.

    Attributes:
        pid: as seen from here; the page's own is that of its pid namespace.
        page: its counters.
        container: the one that it is in; None: in none.
    """

    pid: int
    page: Page
    container: Container | None = None


@dataclass(frozen=True, slots=True)
class ProgramsReading:
    """Who runs under the shim.

    Attributes:
        programs: by pid.
        errors: what could not be read, each naming the process; the others are read all the same.
    """

    programs: tuple[Program, ...]
    errors: tuple[GreenboostError, ...]


def read_programs(root: SysRoot, uid: int | None, pid: int | None = None) -> ProgramsReading:
    """Looks through the open files of every process.

    A process that ends meanwhile, or that may not be looked into, is left out, as is one without a page: the shim
    creates it when a program first reaches the CUDA driver.

    Args:
        root: where /proc is.
        uid: whose processes; None: everybody's.
        pid: only this process; None: all.
    """
    programs, errors = [], []
    pids = sorted(int(name) for name in root.names("proc") or () if name.isascii() and name.isdecimal())
    for candidate in pids if pid is None else [pid]:
        try:
            page = _page_of(root, candidate, uid)
            if page is not None:
                programs.append(Program(candidate, page, read_container(root, candidate)))
        except (PageError, SensorError) as error:
            errors.append(error)
    return ProgramsReading(tuple(programs), tuple(errors))


def _page_of(root: SysRoot, pid: int, uid: int | None) -> Page | None:
    """The page of a process.

    Raises:
        PageError: it has one that is malformed.
        SensorError: /proc cannot be read.
    """
    folder = f"proc/{pid}"
    if uid is not None and root.owner(folder) != uid:
        return None
    for name in root.names(f"{folder}/fd") or ():
        if root.link_text(f"{folder}/fd/{name}") != abi.PAGE_LINK:
            continue
        data = root.read_bytes(f"{folder}/fd/{name}", abi.page_bytes())
        if data is None or not data.strip(b"\0"):
            continue  # gone since, or about to be written
        page = abi.parse_page(data, f"process {pid}, /{folder}/fd/{name}")
        # A forked child holds its parent's page open too; it has counters of its own, which nobody sees.
        if page.pid == _own_pid(root, pid):
            return page
    return None


def _own_pid(root: SysRoot, pid: int) -> int:
    """The pid that a process knows itself by, in the innermost pid namespace. Source: proc(5), NSpid."""
    for line in (root.read_text(f"proc/{pid}/status") or "").splitlines():
        key, _, values = line.partition(":")
        if key == "NSpid" and values.split() and values.split()[-1].isdecimal():
            return int(values.split()[-1])
    return pid
