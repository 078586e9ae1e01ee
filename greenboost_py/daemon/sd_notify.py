"""What the service manager is told: ready, status, still alive.

Source: sd_notify(3), the protocol of $NOTIFY_SOCKET and $WATCHDOG_USEC. No library is worth its weight here: a
message is one datagram of text.
"""

import socket
import time
from collections.abc import Mapping


class Notifier:
    """The service manager that started this process; without one every call does nothing.

    Args:
        environment: where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are.
        pid: this process.
    """

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # An abstract socket is written with @ for its first byte, which is NUL.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = _watchdog_s(environment, pid)
        """The manager expects to hear from us within this many seconds; None: it does not."""

    def ready(self, status: str) -> None:
        """The start is over."""
        self._tell(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """The configuration is being read anew; `ready` ends it."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def alive(self, status: str) -> None:
        """Feeds the watchdog, and says in a line how things are."""
        self._tell(f"WATCHDOG=1\nSTATUS={status}")

    def stopping(self) -> None:
        """The end has begun."""
        self._tell("STOPPING=1")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as to:
                to.sendto(text.encode("utf-8", "replace"), self._address)
        except OSError:
            return  # a manager that does not listen is no reason to stop watching


def _watchdog_s(environment: Mapping[str, str], pid: int) -> float | None:
    period_us = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid) or not period_us.isdecimal() or not int(period_us):
        return None
    return int(period_us) / 1e6
