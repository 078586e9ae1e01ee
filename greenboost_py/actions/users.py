"""Login names by user id, from the local file alone.

Asking the name service (getpwuid) may wait for a directory server, which a daemon cannot afford while memory is short.
"""

from greenboost_py.base.sysroot import SysRoot


def read_users(root: SysRoot) -> dict[int, str]:
    """The names of /etc/passwd; a line that is malformed is left out, and of two names for an id the first counts.

    Raises:
        SensorError: the file cannot be read.

    Source: passwd(5).
    """
    users: dict[int, str] = {}
    for line in (root.read_text("etc/passwd") or "").splitlines():
        fields = line.split(":")
        if len(fields) == 7 and fields[0] and fields[2].isascii() and fields[2].isdecimal() and len(fields[2]) <= 10:
            users.setdefault(int(fields[2]), fields[0])
    return users
