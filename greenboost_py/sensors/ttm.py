"""The limits on the RAM that drivers may take for GPUs: parameters of the kernel module TTM."""

from dataclasses import dataclass

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.kernel_text import parse_number

MODULES = ("ttm", "amdttm")
"""TTM, and the copy of it that amdgpu-dkms brings along; both can be loaded, each with the GPUs of its own drivers."""

PAGE_BYTES = 4096
"""What the limits count in: pages of x86-64, the only architecture that GreenBoost is for."""

_PAGES_MAX = 2**64 - 1
"""An unsigned long: the kernel takes, and shows, any value that is written."""


@dataclass(frozen=True, slots=True)
class TtmReading:
    """One module's limits. Source: drivers/gpu/drm/ttm/ttm_tt.c, ttm_pool.c.

    Attributes:
        module: ttm or amdttm.
        pages_limit: the most pages that its drivers may hold together; beyond, buffers are swapped out, and where none
            can be, the limit does not hold. 0 until the first GPU is set up. None: the module has no such limit.
        page_pool_size: the most pages of freed buffers that are kept for reuse. None: likewise.
    """

    module: str
    pages_limit: int | None
    page_pool_size: int | None

    @property
    def limit_bytes(self) -> int | None:
        """`pages_limit` in bytes."""
        return None if self.pages_limit is None else self.pages_limit * PAGE_BYTES


def read_ttm(root: SysRoot) -> tuple[TtmReading, ...]:
    """Reads the limits of each module that is loaded or built in, and has any.

    Raises:
        SensorError: a parameter is malformed.
    """
    readings = (
        TtmReading(module, _read_pages(root, module, "pages_limit"), _read_pages(root, module, "page_pool_size"))
        for module in MODULES
    )
    return tuple(r for r in readings if r.pages_limit is not None or r.page_pool_size is not None)


def _read_pages(root: SysRoot, module: str, parameter: str) -> int | None:
    path = f"sys/module/{module}/parameters/{parameter}"
    data = root.read_bytes(path)
    return None if data is None else parse_number(data.removesuffix(b"\n"), path, parameter, _PAGES_MAX)
