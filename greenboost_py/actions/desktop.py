"""A user's desktop: notifications by the server of the session (org.freedesktop.Notifications).

Source: specifications.freedesktop.org/notification.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from greenboost_py.actions.bus import Address, Bus, BusError, session_address

RESOURCES_MAX = 64
"""Bubbles that are remembered, to be replaced; as in actions/limiter.py."""

LOW, NORMAL, CRITICAL = 0, 1, 2
"""Urgencies."""

SERVERS_CHOICE_MS, UNTIL_CLOSED_MS = -1, 0
"""Times with a meaning of their own, for `Bubble.expire_ms`."""

_SERVER = Address("/org/freedesktop/Notifications", "org.freedesktop.Notifications", "org.freedesktop.Notifications")


@dataclass(frozen=True, slots=True)
class Bubble:
    """One notification.

    Attributes:
        summary: its title.
        body: its text, plain.
        urgency: 0 low, 1 normal, 2 critical.
        expire_ms: -1: as the server likes; 0: when somebody closes it.
        icon: a name of the icon naming specification.
    """

    summary: str
    body: str
    urgency: int
    expire_ms: int
    icon: str


class Desktop:
    """The notification server of a session; reached when there is something to show, and again when it went away.

    Args:
        environment: where DBUS_SESSION_BUS_ADDRESS or XDG_RUNTIME_DIR is.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._bus: Bus | None = None
        self._shown: dict[str, int] = {}

    async def show(self, resource: str, bubble: Bubble) -> None:
        """Shows a notification, in the place of this resource's last one.

        Raises:
            BusError: it cannot be shown now.
        """
        if self._bus is None:
            address = session_address(self._environment)
            if address is None:
                raise BusError("no session here: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set")
            self._bus = await Bus.connect(address)
        try:
            (capabilities,) = await self._bus.call(_SERVER, "GetCapabilities")
            body = escaped(bubble.body) if "body-markup" in capabilities else bubble.body
            self._remember(resource, await self._notify(self._bus, self._shown.get(resource, 0), bubble, body))
        except BusError:
            self.close()
            raise

    def close(self) -> None:
        """Ends the connection."""
        if self._bus is not None:
            self._bus.close()
            self._bus = None

    @staticmethod
    async def _notify(bus: Bus, replaces: int, bubble: Bubble, body: str) -> int:
        hints: dict[str, tuple[str, Any]] = {"urgency": ("y", bubble.urgency), "category": ("s", "device")}
        arguments: tuple[Any, ...] = (
            "GreenBoost",
            replaces,
            bubble.icon,
            bubble.summary,
            body,
            [],
            hints,
            bubble.expire_ms,
        )
        (number,) = await bus.call(_SERVER, "Notify", "susssasa{sv}i", arguments)
        return int(number)

    def _remember(self, resource: str, number: int) -> None:
        self._shown.pop(resource, None)
        if len(self._shown) >= RESOURCES_MAX:
            del self._shown[next(iter(self._shown))]
        self._shown[resource] = number


def escaped(text: str) -> str:
    """Plain text for a server that takes the body for markup. Source: notification specification, "body-markup"."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
