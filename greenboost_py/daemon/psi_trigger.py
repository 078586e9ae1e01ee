"""The kernel calls when tasks stall for memory.

Source: Documentation/accounting/psi.rst, "Monitoring for pressure thresholds".
"""

import os
import select

from greenboost_py.base.sysroot import SysRoot

STALL_US, WINDOW_US = 150_000, 1_000_000
"""150 ms of stalls within a second: what that document takes for its example."""

UNPRIVILEGED_WINDOW_US = 2_000_000
"""Without CAP_SYS_RESOURCE only multiples of 2 s are taken (kernel/sched/psi.c, since 6.5)."""


class PsiTrigger:
    """One trigger on memory pressure, as a descriptor that an event loop can wait for.

    The kernel signals by POLLPRI, which event loops do not offer: an epoll of our own stands between, and is readable
    when it has something.

    Args:
        root: where /proc is.

    Raises:
        OSError: the kernel has no PSI, or gives no trigger (older than 5.2; not permitted; in a container).
    """

    def __init__(self, root: SysRoot) -> None:
        self._epoll = select.epoll()
        self._fd = -1
        try:
            self._fd = root.open_events("proc/pressure/memory")
            self.window_us = self._arm()
            self._epoll.register(self._fd, select.EPOLLPRI | select.EPOLLERR)
        except OSError:
            self.close()
            raise

    def _arm(self) -> int:
        """Asks for the short window, else for the one that everybody gets."""
        try:
            self._write(WINDOW_US)
            return WINDOW_US
        except OSError:
            self._write(UNPRIVILEGED_WINDOW_US)
            return UNPRIVILEGED_WINDOW_US

    def _write(self, window_us: int) -> None:
        # The kernel overwrites the last byte with its NUL: a newline is there to be lost.
        os.write(self._fd, f"some {STALL_US} {window_us}\n".encode())

    def fileno(self) -> int:
        """What to wait for: readable when the trigger has fired."""
        return self._epoll.fileno()

    def has_fired(self) -> bool:
        """Takes the event. The kernel sends at most one a window.

        Raises:
            OSError: the trigger is gone (its cgroup or the file was removed): close it.
        """
        for _, events in self._epoll.poll(timeout=0):
            if events & (select.EPOLLERR | select.EPOLLHUP):
                raise OSError(f"the trigger on memory pressure is gone (poll events {events:#x})")
            return bool(events & select.EPOLLPRI)
        return False

    def close(self) -> None:
        """Takes the trigger back."""
        self._epoll.close()
        if self._fd >= 0:
            os.close(self._fd)
