"""Whether the service came with a package of the distribution: its files are then the package manager's."""

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.service.layout import PACKAGED, SYSTEM, UNIT, Layout

_UNITS = (f"usr/lib/systemd/system/{UNIT}", f"lib/systemd/system/{UNIT}")
"""Where a package puts the daemon's unit; /lib may be a link. Source: systemd.unit(5), "Unit File Load Path"."""


def packaged_unit(root: SysRoot) -> str | None:
    """The daemon's unit that a package brought, without its leading slash; None: there is none."""
    return next((path for path in _UNITS if root.owner(path) is not None), None)


def system_layout(root: SysRoot) -> Layout:
    """Where the files of the system's service go: what a package did not bring."""
    return SYSTEM if packaged_unit(root) is None else PACKAGED
