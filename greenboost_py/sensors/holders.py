"""Which process holds how much: RAM by its own pages, VRAM and GTT by what its GPU files say (fdinfo)."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.drm_fdinfo import DrmClient
from greenboost_py.sensors.gpu_files import read_devices, read_gpu_files
from greenboost_py.sensors.kernel_text import NUMBER_MAX, malformed, parse_number
from greenboost_py.sensors.mappings import read_mapped_bytes
from greenboost_py.sensors.nvml_reading import NvidiaProcess

_STATUS_LINE = re.compile(rb"^(Name|Uid|RssAnon|RssShmem|VmSwap):\t(.*)$", re.MULTILINE)
"""The name cannot forge another line: the kernel writes a newline in it as `\\n`."""

_USER_IDS = re.compile(rb"([0-9]{1,10})(?:\t[0-9]{1,10}){3}")

_ESCAPE = re.compile(rb"\\([n\\])")

_START_TICKS_FIELD = 22 - 3
"""Field 22 of stat, counted from the third, which follows the name."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process and the memory it holds.

    Attributes:
        pid: the process.
        uid: its user's id.
        name: its command's name, at most 15 bytes; the process may set it to anything, and what is not printable shows
            as a question mark.
        start_ticks: when it started, in clock ticks since boot: with the pid, its identity.
        ram_bytes: resident and swapped pages of its own (RssAnon + RssShmem + VmSwap): no file pages.
        vram_bytes: by PCI address of the GPU.
        gtt_bytes: RAM that a GPU's driver holds for it, by PCI address; in no other figure of the process, but for
            memory of its own that it lends to the GPU (hipHostRegister), which is in both.
        gpu_mapped_bytes: buffers that it has mapped of GPUs whose driver says nothing of memory: at most so much RAM
            beside; they may be in VRAM, and those that are not mapped are unknown.
    """

    pid: int
    uid: int
    name: str
    start_ticks: int
    ram_bytes: int
    vram_bytes: dict[str, int]
    gtt_bytes: dict[str, int]
    gpu_mapped_bytes: int = 0


@dataclass(frozen=True, slots=True)
class HoldersReading:
    """Who holds memory.

    Attributes:
        holders: by pid; kernel threads and zombies too, which hold none.
        errors: what could not be read, each naming the file; the others are read all the same.
    """

    holders: tuple[Holder, ...]
    errors: tuple[SensorError, ...]


def read_holders(root: SysRoot, nvidia_processes: Iterable[NvidiaProcess] = ()) -> HoldersReading:
    """Looks at every process, and at its open files of GPUs.

    A process that ends meanwhile is left out. One whose files may not be looked into has no VRAM or GTT here: another
    user's, unless this one may trace it (CAP_SYS_PTRACE).

    A client of a GPU counts once, for the lowest pid that has it open: forks and passed descriptors share it.

    Args:
        root: where /proc is.
        nvidia_processes: what NVML says of its GPUs, whose files say nothing; who is not in /proc is left out.
    """
    holders: list[Holder] = []
    errors: list[SensorError] = []
    seen: set[tuple[str, int]] = set()
    try:
        names = root.names("proc") or ()
        devices = read_devices(root)
    except SensorError as error:
        return HoldersReading((), (error,))
    for pid in sorted(int(name) for name in names if name.isascii() and name.isdecimal()):
        try:
            holder = _read_process(root, pid)
        except SensorError as error:
            errors.append(error)
            continue
        if holder is not None:
            files = read_gpu_files(root, pid, devices, errors)
            _add_clients(holder, files.clients, seen)
            holders.append(replace(holder, gpu_mapped_bytes=_read_mapped(root, pid, files.silent, errors)))
    _add_nvidia({holder.pid: holder for holder in holders}, nvidia_processes)
    return HoldersReading(tuple(holders), tuple(errors))


def held_bytes(holder: Holder, resource: str) -> int:
    """What a process holds of a resource.

    Args:
        holder: the process.
        resource: `ram`, which counts what GPU drivers hold for it too, `vram:<PCI address>`, `gtt:<PCI address>`, or
            `cgroup:<folder>`, in which only its own pages count: no group is charged for those of drivers.

    Returns:
        Bytes; 0 of a GPU that it does not use.

    Raises:
        ValueError: there is no such kind of resource.
    """
    kind, _, address = resource.partition(":")
    if resource == "ram":
        return holder.ram_bytes + sum(holder.gtt_bytes.values()) + holder.gpu_mapped_bytes
    if kind == "vram":
        return holder.vram_bytes.get(address, 0)
    if kind == "gtt":
        return holder.gtt_bytes.get(address, 0)
    if kind == "cgroup":
        return holder.ram_bytes
    raise ValueError(f"no such resource: {resource!r}")


def largest_of(holders: Iterable[Holder], resource: str, n: int) -> tuple[Holder, ...]:
    """The `n` processes that hold most of a resource, the largest first, equals by pid; only who holds any.

    Raises:
        ValueError: as `held_bytes`.
    """
    amounts = [(held_bytes(holder, resource), holder) for holder in holders]
    amounts.sort(key=lambda pair: (-pair[0], pair[1].pid))
    return tuple(holder for amount, holder in amounts[:n] if amount > 0)


def largest_ram_holders(holders: Iterable[Holder], n: int) -> tuple[Holder, ...]:
    """The `n` processes that hold most RAM, with what GPU drivers hold for them."""
    return largest_of(holders, "ram", n)


def _read_process(root: SysRoot, pid: int) -> Holder | None:
    """A process without what it has on GPUs; None where it has ended.

    Its identity is read first. If the pid is another's by the time that its memory is read, the identity is the old
    one's: who acts on it finds that it has changed, and nobody is taken for somebody else.

    Raises:
        SensorError: a file is malformed.
    """
    stat_path, status_path = f"proc/{pid}/stat", f"proc/{pid}/status"
    stat, status = root.read_bytes(stat_path), root.read_bytes(status_path)
    if stat is None or status is None:
        return None
    fields: dict[bytes, bytes] = dict(_STATUS_LINE.findall(status))
    user_ids = _USER_IDS.fullmatch(fields.get(b"Uid", b""))
    if user_ids is None:
        raise malformed(status_path, "Uid", fields.get(b"Uid", b""))
    if b"Name" not in fields:
        raise malformed(status_path, "Name", b"")
    return Holder(
        pid=pid,
        uid=int(user_ids[1]),
        name=_printable(fields[b"Name"]),
        start_ticks=_parse_start(stat, stat_path),
        ram_bytes=sum(_parse_kib(fields, key, status_path) for key in (b"RssAnon", b"RssShmem", b"VmSwap")),
        vram_bytes={},
        gtt_bytes={},
    )


def _parse_start(stat: bytes, path: str) -> int:
    """When a process started, in clock ticks since boot. Source: proc(5), /proc/pid/stat, starttime.

    Raises:
        SensorError: the file does not say.
    """
    # The name may hold brackets, blanks and newlines; only numbers follow it.
    _, bracket, rest = stat.rpartition(b")")
    after_name = rest.split()
    if not bracket or len(after_name) <= _START_TICKS_FIELD:
        raise malformed(path, "the start time", stat)
    return parse_number(after_name[_START_TICKS_FIELD], path, "the start time")


def _parse_kib(fields: dict[bytes, bytes], key: bytes, path: str) -> int:
    """One amount of a status file in bytes; 0 where it is not there, as in a kernel thread's and a zombie's.

    Raises:
        SensorError: malformed.
    """
    if key not in fields:
        return 0
    number, blank, unit = fields[key].lstrip(b" ").partition(b" ")
    if blank and unit == b"kB":
        return parse_number(number, path, key.decode(), NUMBER_MAX >> 10) << 10
    raise malformed(path, key.decode(), fields[key])


def _printable(name: bytes) -> str:
    """A name as its process set it, fit for a terminal and a log."""
    text = _ESCAPE.sub(lambda match: b"\n" if match[1] == b"n" else b"\\", name).decode("utf-8", "surrogateescape")
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _read_mapped(root: SysRoot, pid: int, paths: Collection[str], errors: list[SensorError]) -> int:
    if not paths:
        return 0
    try:
        return read_mapped_bytes(root, pid, paths)
    except SensorError as error:
        errors.append(error)
        return 0


def _add_clients(holder: Holder, clients: Iterable[DrmClient], seen: set[tuple[str, int]]) -> None:
    """Counts the clients that nobody was seen with before."""
    for client in clients:
        identity = (client.pci_address, client.client_id)
        if identity in seen:
            continue
        seen.add(identity)
        for amounts, more in ((holder.vram_bytes, client.vram_bytes), (holder.gtt_bytes, client.gtt_bytes)):
            if more:
                amounts[client.pci_address] = amounts.get(client.pci_address, 0) + more


def _add_nvidia(holders: dict[int, Holder], processes: Iterable[NvidiaProcess]) -> None:
    """Enters what NVML says; where a driver says the same in fdinfo, the larger counts, not both."""
    for process in processes:
        if process.pid in holders and process.used_bytes:
            amounts = holders[process.pid].vram_bytes
            amounts[process.pci_address] = max(amounts.get(process.pci_address, 0), process.used_bytes)
