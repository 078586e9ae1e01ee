"""A group's name by its inode: in a container the kernel writes `/..` for each group above the container's own."""

import functools

from greenboost_py.base.sysroot import SysRoot


@functools.lru_cache(maxsize=8)  # it is asked for with each lease, and no inode of a hierarchy is given twice
def find_group(root: SysRoot, top: str, levels: int, inode: int) -> tuple[str, ...]:
    """Looks through a hierarchy, level by level. Of a node with 250 pods that is some thousand folders, once.

    Args:
        root: where the hierarchy is mounted.
        top: the folder to begin at.
        levels: how far below it the group is.
        inode: the group's.

    Returns:
        The folders' names, one for each level; empty: it is not there.

    Raises:
        SensorError: a folder cannot be listed.

    Source: kernfs numbers the nodes of a hierarchy on 64-bit machines without reuse (fs/kernfs/dir.c, kernfs_new_node).
    """
    found: list[tuple[str, ...]] = [()]
    for _ in range(levels):
        found = [(*above, name) for above in found for name in root.folders(_path(top, above)) or ()]
    return next((names for names in found if root.inode(_path(top, names)) == inode), ())


def _path(top: str, names: tuple[str, ...]) -> str:
    return "/".join((top.strip("/"), *names))
