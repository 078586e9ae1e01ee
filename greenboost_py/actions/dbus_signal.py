"""Alerts on the system's bus, for whoever wants to show them: one signal, for everybody to read.

    org.greenboost.Pressure1.Changed, from /org/greenboost/Pressure, by who owns org.greenboost

Only root, or the user that the policy names, may own that name: it is what tells a listener that a signal is true. A
connection lasts for one signal: alerts are rare, and a bus that restarts needs no care.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from greenboost_py.actions.alert import Alert
from greenboost_py.actions.alert_text import broadcast_body, headline
from greenboost_py.actions.bus import Address, Bus, BusError, Signal, system_address
from greenboost_py.pressure.levels import Level
from greenboost_py.sensors.holders import held_bytes

BUS_NAME = "org.greenboost"
SOURCE = Address("/org/greenboost/Pressure", "org.greenboost.Pressure1")
MEMBER = "Changed"

SIGNATURE = "sssssttda(uut)"
"""resource, level, previous level, headline, body; available and total bytes; seconds until it is exhausted, -1 where
there is no trend; the largest holders: pid, user id, bytes held. A newer version adds at the end."""

MATCH = f"type='signal',sender='{BUS_NAME}',path='{SOURCE.path}',interface='{SOURCE.interface}',member='{MEMBER}'"
"""What a listener asks for. The bus itself compares the sender: only broadcasts of the name's owner match."""

POLICY_PATH = "etc/dbus-1/system.d/org.greenboost.conf"
"""Where the policy goes, under the system's root."""

_DO_NOT_QUEUE = 4
_PRIMARY_OWNER = 1
"""Flag and answer of RequestName. Source: the D-Bus specification, org.freedesktop.DBus.RequestName."""


def policy(user: str = "root") -> str:
    """The bus policy that lets only root, and `user`, own the name. Source: dbus-daemon(1), "configuration file"."""
    owners = "".join(
        f'  <policy user="{owner}">\n    <allow own="{BUS_NAME}"/>\n  </policy>\n'
        for owner in dict.fromkeys(("root", user))
    )
    return (
        '<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"\n'
        ' "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">\n'
        "<!-- Written by greenboost: who may signal that memory is short. -->\n"
        "<busconfig>\n"
        f'  <policy context="default">\n    <deny own="{BUS_NAME}"/>\n  </policy>\n'
        f"{owners}"
        "</busconfig>\n"
    )


@dataclass(frozen=True, slots=True)
class Changed:
    """What the signal says.

    Attributes:
        resource: as in `Alert`.
        level: as it is now.
        previous: what was told before.
        headline: one line.
        body: lines, without the names of programs.
        available_bytes: what can still be had.
        total_bytes: all there is.
        exhausted_in_s: None: no trend.
        holders: pid, user id and bytes held, the largest first.
    """

    resource: str
    level: Level
    previous: Level
    headline: str
    body: str
    available_bytes: int
    total_bytes: int
    exhausted_in_s: float | None
    holders: tuple[tuple[int, int, int], ...]

    def values(self) -> tuple[Any, ...]:
        """As the signal carries it: `SIGNATURE`."""
        return (
            self.resource,
            self.level.name.lower(),
            self.previous.name.lower(),
            self.headline,
            self.body,
            self.available_bytes,
            self.total_bytes,
            -1.0 if self.exhausted_in_s is None else self.exhausted_in_s,
            list(self.holders),
        )


def plan(alert: Alert, users: Mapping[int, str]) -> Changed:
    """What to signal of an alert.

    Args:
        alert: what to tell.
        users: login names by user id.
    """
    return Changed(
        resource=alert.resource,
        level=alert.level,
        previous=alert.previous,
        headline=headline(alert),
        body=broadcast_body(alert, users),
        available_bytes=alert.available_bytes,
        total_bytes=alert.total_bytes,
        exhausted_in_s=alert.exhausted_in_s,
        holders=tuple((holder.pid, holder.uid, held_bytes(holder, alert.resource)) for holder in alert.holders),
    )


def parse(signal: Signal) -> Changed | None:
    """Reads a signal; None: it is another, or somebody sent it past the match (see `MATCH`), or makes no sense."""
    what = signal.path, signal.interface, signal.member
    if what != (SOURCE.path, SOURCE.interface, MEMBER) or not signal.is_broadcast:
        return None
    if not signal.signature.startswith(SIGNATURE):
        return None
    resource, level, previous, head, body, available_bytes, total_bytes, exhausted_in_s, holders = signal.body[:9]
    levels = {known.name.lower(): known for known in Level}
    if level not in levels or previous not in levels:
        return None
    return Changed(
        resource,
        levels[level],
        levels[previous],
        head,
        body,
        available_bytes,
        total_bytes,
        exhausted_in_s if exhausted_in_s >= 0 else None,
        tuple((pid, uid, held) for pid, uid, held in holders),
    )


class Signaller:
    """Sends them, one after the other.

    Attributes:
        reason: why the last one did not reach the bus; None: it did, or there was none yet.
    """

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()
        self.reason: str | None = None

    async def send(self, changed: Changed, environment: Mapping[str, str]) -> str | None:
        """Signals a change. With no bus nothing happens; with one that hangs, nothing waits for it but this.

        Args:
            changed: from `plan`.
            environment: where DBUS_SYSTEM_BUS_ADDRESS is, if the bus is elsewhere.

        Returns:
            `reason`.
        """
        async with self._one_at_a_time:
            try:
                await _send(system_address(environment), changed)
                self.reason = None
            except BusError as error:
                self.reason = str(error)
        return self.reason


async def _send(address: str, changed: Changed) -> None:
    bus = await Bus.connect(address)
    try:
        try:
            (owner,) = await bus.call_bus("RequestName", "su", (BUS_NAME, _DO_NOT_QUEUE))
        except BusError as error:
            raise BusError(f"{error} (its policy file, /{POLICY_PATH}, comes with the service)") from error
        if owner != _PRIMARY_OWNER:
            raise BusError(f"{BUS_NAME} belongs to another process on the bus")
        await bus.emit(SOURCE, MEMBER, SIGNATURE, changed.values())
    finally:
        bus.close()
