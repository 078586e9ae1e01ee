"""The page of counters that the shim shows, read by the C declarations themselves (shim/abi/greenboost_abi.h)."""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greenboost_py.base import shim_files
from greenboost_py.base.errors import GreenboostError, InstallError

if TYPE_CHECKING:
    from cffi import FFI

PAGE_LINK = "/memfd:greenboost (deleted)"
"""What /proc/PID/fd/N says for the descriptor of a page. Source: memfd_create(2), "name"."""

_BEGIN, _END = "/* cffi: begin */", "/* cffi: end */"
_NO_LIMIT = 2**64 - 1


class PageError(GreenboostError):
    """A page that does not hold what the header says."""


@dataclass(frozen=True, slots=True)
class TierUse:
    """What one tier of one device holds for a process.

    Attributes:
        name: as in enum gb_tier, lower case: device, split, host_mapped, managed, pageable, unified.
        bytes: held now.
        peak_bytes: the most ever held.
        blocks: live blocks.
    """

    name: str
    bytes: int
    peak_bytes: int
    blocks: int


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """What a process has on one device.

    Attributes:
        ordinal: the CUDA ordinal in that process.
        limit_bytes: VRAM it may use; None: no limit.
        spilled_bytes: ever placed outside VRAM.
        refused: requests answered with out of memory.
        moved_bytes: ever moved between VRAM and host memory, either way.
        split_vram_bytes: what split allocations have in VRAM; counted in the tier `device` too.
        vram_chunks, host_chunks: the chunks of split allocations, by where they lie.
        tiers: every tier, in the order of enum gb_tier.
    """

    ordinal: int
    limit_bytes: int | None
    spilled_bytes: int
    refused: int
    moved_bytes: int
    split_vram_bytes: int
    vram_chunks: int
    host_chunks: int
    tiers: tuple[TierUse, ...]

    @property
    def is_used(self) -> bool:
        """Whether anything was ever held or refused here."""
        return bool(self.refused or self.spilled_bytes or any(tier.peak_bytes or tier.bytes for tier in self.tiers))


@dataclass(frozen=True, slots=True)
class Page:
    """One process' counters. Each is whole, but not all of them are of one instant.

    Attributes:
        version: the writer's GB_ABI_VERSION; above ours, meanings may have changed.
        is_newer: whether it is above ours.
        pid: in the writer's own pid namespace.
        program: the executable's name, cut to 63 bytes.
        host_bytes: host memory held now, over all devices.
        host_limit_bytes: host memory it may hold; None: no limit but the machine's.
        devices: every device the page has room for, by ordinal.
    """

    version: int
    is_newer: bool
    pid: int
    program: str
    host_bytes: int
    host_limit_bytes: int | None
    devices: tuple[DeviceUse, ...]


def declarations(text: str, source: str) -> str:
    """The part of the header that cffi reads.

    Args:
        text: the header.
        source: its name, for errors.

    Raises:
        InstallError: the two marks are not there, or not in order.
    """
    _, begin, rest = text.partition(_BEGIN)
    part, end, _ = rest.partition(_END)
    if not begin or not end:
        raise InstallError(f"{source}: the marks '{_BEGIN}' and '{_END}' are missing")
    return part


@functools.cache
def abi() -> "FFI":
    """The declarations of the shared page, ready for use.

    Raises:
        InstallError: the header is missing or malformed.
    """
    import cffi  # it brings a C parser along, which `greenboost run` does not need

    path = shim_files.shim_file("abi/greenboost_abi.h")
    ffi = cffi.FFI()
    ffi.cdef(declarations(path.read_text(encoding="utf-8"), str(path)))
    return ffi


def page_bytes() -> int:
    """The size in bytes of the page as this version knows it."""
    return abi().sizeof("struct gb_page")


def constant(name: str) -> int:
    """The value of one of the header's enumerators, for example GB_ABI_MAGIC."""
    value: int = getattr(_constants(), name)
    return value


@functools.cache
def _constants() -> Any:
    return abi().dlopen(None)


@functools.cache
def tier_names() -> tuple[str, ...]:
    """The tiers, in the order of enum gb_tier."""
    by_value: dict[int, str] = abi().typeof("enum gb_tier").elements
    return tuple(by_value[index].removeprefix("GB_TIER_").lower() for index in range(constant("GB_TIER_COUNT")))


def parse_page(data: bytes, source: str) -> Page:
    """Reads a page. A newer writer's, which has more at its end, is read as far as this version knows it.

    Args:
        data: the page's bytes, and whatever follows them.
        source: where they are from, for errors.

    Raises:
        PageError: too short, not a page, or one that contradicts itself.
    """
    ffi = abi()
    known = page_bytes()
    if len(data) < known:
        raise PageError(f"{source}: not a page: {len(data)} bytes, where {known} are the least")
    # A copy, so that what is checked is what is read.
    page: Any = ffi.new("struct gb_page *")
    ffi.memmove(page, data, known)
    if page.magic != constant("GB_ABI_MAGIC"):
        raise PageError(f"{source}: not a page: it starts with 0x{page.magic:08x}")
    if page.version < 1 or page.bytes < known or page.pid < 1:
        raise PageError(
            f"{source}: a malformed page: version {page.version},"
            f" {page.bytes} bytes of at least {known}, pid {page.pid}"
        )
    return Page(
        version=page.version,
        is_newer=page.version > constant("GB_ABI_VERSION"),
        pid=page.pid,
        program=ffi.buffer(page.program)[:].split(b"\0", 1)[0].decode("utf-8", "replace"),
        host_bytes=page.host_bytes,
        host_limit_bytes=_limit(page.host_limit_bytes),
        devices=tuple(
            _device(ordinal, *pair) for ordinal, pair in enumerate(zip(page.device, page.split, strict=True))
        ),
    )


def _device(ordinal: int, device: Any, split: Any) -> DeviceUse:
    return DeviceUse(
        ordinal=ordinal,
        limit_bytes=_limit(device.limit_bytes),
        spilled_bytes=device.spilled_bytes,
        refused=device.refused,
        moved_bytes=device.moved_bytes,
        split_vram_bytes=split.vram_bytes,
        vram_chunks=split.vram_chunks,
        host_chunks=split.host_chunks,
        tiers=tuple(
            TierUse(name, tier.bytes, tier.peak_bytes, tier.blocks)
            for name, tier in zip(tier_names(), device.tier, strict=False)
        ),
    )


def _limit(limit_bytes: int) -> int | None:
    return None if limit_bytes == _NO_LIMIT else limit_bytes
