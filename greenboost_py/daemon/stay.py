"""Staying able to act when memory is short: no page of the daemon's may have to be read back from disk first."""

import resource
from typing import Any

import cffi

# include/uapi/asm-generic/mman.h; the same on x86-64 and aarch64
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


def lock_memory() -> str | None:
    """Keeps this process' pages in RAM, each from when it is first touched.

    A daemon whose code was evicted warns after the thrashing it should have warned of. Source: mlock(2), MCL_ONFAULT.

    Returns:
        None, or why it could not be done, for the log.
    """
    libc = cffi.FFI()
    libc.cdef("int mlockall(int flags);")
    functions: Any = libc.dlopen(None)
    if functions.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0:
        return None
    limit_bytes, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return f"memory is not locked: RLIMIT_MEMLOCK is {limit_bytes} bytes, and CAP_IPC_LOCK is missing"
