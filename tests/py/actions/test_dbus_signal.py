import asyncio
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jeepney  # type: ignore[import-untyped]
import pytest

from greenboost_py.actions.alert import Alert
from greenboost_py.actions.bus import Bus, Signal
from greenboost_py.actions.dbus_signal import (
    BUS_NAME,
    MATCH,
    MEMBER,
    SIGNATURE,
    SOURCE,
    Changed,
    Signaller,
    parse,
    plan,
    policy,
)
from greenboost_py.pressure.levels import Level
from greenboost_py.sensors.holders import Holder

MakeAlert = Callable[..., Alert]
MakeBus = Callable[..., Any]
MakeHolder = Callable[..., Holder]

GIB = 1 << 30

CHANGED = Changed("ram", Level.WARN, Level.OK, "RAM is short.", "Close it.", 1, 2**63, None, ((7, 1000, 2**40),))


def signal_of(changed: Changed, **fields: Any) -> Signal:
    values: dict[str, Any] = {
        **{"path": SOURCE.path, "interface": SOURCE.interface, "member": MEMBER, "signature": SIGNATURE},
        **{"body": changed.values(), "is_broadcast": True, **fields},
    }
    return Signal(**values)


def test_plan_has_the_figures_and_no_names(make_alert: MakeAlert, make_holder: MakeHolder) -> None:
    alert = make_alert(Level.WARN, Level.NOTICE, holders=(make_holder(4711, ram_bytes=GIB, name="secretproject"),))
    changed = plan(alert, {1000: "alice"})
    assert changed.holders == ((4711, 1000, GIB),)
    assert changed.headline.startswith("RAM is short: ")
    assert "a program of alice" in changed.body
    assert "secretproject" not in repr(changed)
    assert (changed.level, changed.previous, changed.exhausted_in_s) == (Level.WARN, Level.NOTICE, 8.0)


@pytest.mark.parametrize("changed", [CHANGED, replace(CHANGED, exhausted_in_s=0.0, holders=(), level=Level.OK)])
def test_parse_reads_what_values_writes(changed: Changed) -> None:
    assert parse(signal_of(changed)) == changed


def test_parse_takes_a_newer_version_that_has_more() -> None:
    newer = signal_of(CHANGED, signature=SIGNATURE + "s", body=(*CHANGED.values(), "more"))
    assert parse(newer) == CHANGED


@pytest.mark.parametrize(
    "fields",
    [
        {"is_broadcast": False},
        {"path": "/org/greenboost/Other"},
        {"interface": "org.greenboost.Pressure2"},
        {"member": "NameAcquired"},
        {"signature": "s", "body": ("ram",)},
        {"signature": "", "body": ()},
        {"body": ("ram", "DIRE", "ok", "h", "b", 1, 2, -1.0, [])},
        {"body": ("ram", "warn", "", "h", "b", 1, 2, -1.0, [])},
    ],
)
def test_parse_of_anything_else_is_none(fields: dict[str, Any]) -> None:
    assert parse(signal_of(CHANGED, **fields)) is None


async def listening(address: str) -> Bus:
    bus = await Bus.connect(address)
    await bus.call_bus("AddMatch", "s", (MATCH,))
    return bus


async def next_changed(bus: Bus) -> Changed:
    """The next one that counts, as the notifier would see it."""
    while True:
        changed = parse(await bus.receive())
        if changed is not None:
            return changed


def test_send_is_heard_by_who_asks_for_the_names_owner(make_bus: MakeBus) -> None:
    address = make_bus("system").address

    async def run() -> Changed:
        listener = await listening(address)
        signaller = Signaller()
        assert await signaller.send(CHANGED, {"DBUS_SYSTEM_BUS_ADDRESS": address}) is None
        try:
            return await next_changed(listener)
        finally:
            listener.close()

    assert asyncio.run(run()) == CHANGED


def test_send_of_several_at_once_keeps_their_order(make_bus: MakeBus) -> None:
    address = make_bus("system").address
    sent = [replace(CHANGED, available_bytes=number) for number in range(5)]

    async def run() -> list[Changed]:
        listener, signaller = await listening(address), Signaller()
        environment = {"DBUS_SYSTEM_BUS_ADDRESS": address}
        assert await asyncio.gather(*(signaller.send(one, environment) for one in sent)) == [None] * 5
        try:
            return [await next_changed(listener) for _ in sent]
        finally:
            listener.close()

    assert asyncio.run(run()) == sent


def test_send_without_a_bus_has_a_reason_and_the_next_one_may_succeed(make_bus: MakeBus) -> None:
    server = make_bus("system")
    environment = {"DBUS_SYSTEM_BUS_ADDRESS": server.address}
    server.end()

    async def run() -> None:
        signaller = Signaller()
        assert signaller.reason is None
        reason = await signaller.send(CHANGED, environment)
        assert reason == signaller.reason
        assert str(reason).startswith(f"no bus at {server.address}: ")
        await asyncio.to_thread(server.start)
        assert await signaller.send(CHANGED, environment) is None
        assert signaller.reason is None

    asyncio.run(run())


def test_send_on_a_bus_without_the_policy_names_the_file(make_bus: MakeBus) -> None:
    address = make_bus("system", own="deny").address
    reason = asyncio.run(Signaller().send(CHANGED, {"DBUS_SYSTEM_BUS_ADDRESS": address}))
    assert reason is not None
    assert "org.freedesktop.DBus.Error.AccessDenied" in reason
    assert "/etc/dbus-1/system.d/org.greenboost.conf" in reason


def test_send_on_a_bus_with_the_policy_is_allowed(make_bus: MakeBus) -> None:
    import getpass

    address = make_bus("system", own="deny", policy=policy(getpass.getuser())).address
    assert asyncio.run(Signaller().send(CHANGED, {"DBUS_SYSTEM_BUS_ADDRESS": address})) is None


def test_send_where_another_owns_the_name_says_so(make_bus: MakeBus) -> None:
    address = make_bus("system").address

    async def run() -> str | None:
        other = await Bus.connect(address)
        await other.call_bus("RequestName", "su", (BUS_NAME, 0))
        try:
            return await Signaller().send(CHANGED, {"DBUS_SYSTEM_BUS_ADDRESS": address})
        finally:
            other.close()

    assert asyncio.run(run()) == "org.greenboost belongs to another process on the bus"


def test_a_signal_of_who_does_not_own_the_name_is_not_heard(make_bus: MakeBus) -> None:
    address = make_bus("system").address

    async def run() -> list[Signal]:
        listener, forger = await listening(address), await Bus.connect(address)
        forged = replace(CHANGED, headline="forged").values()
        await forger.emit(SOURCE, MEMBER, SIGNATURE, forged)
        # Past the match, to the listener alone: the bus delivers that.
        to_one = jeepney.new_signal(SOURCE.jeepney, MEMBER, SIGNATURE, forged)
        to_one.header.fields[jeepney.HeaderFields.destination] = ":1.0"
        forger._write(to_one)
        await forger.call_bus("GetId")
        await Signaller().send(CHANGED, {"DBUS_SYSTEM_BUS_ADDRESS": address})
        try:
            came = [await listener.receive() for _ in range(3)]
        finally:
            listener.close()
            forger.close()
        return came

    came = asyncio.run(run())
    assert [signal.member for signal in came] == ["NameAcquired", MEMBER, MEMBER]
    assert [parse(signal) for signal in came] == [None, None, CHANGED]


@pytest.mark.parametrize("user", ["root", "greenboost"])
def test_policy_lets_root_and_the_user_own_the_name_and_nobody_else(user: str) -> None:
    config = ElementTree.fromstring(policy(user))
    rules = {(p.get("context"), p.get("user")): [(r.tag, r.get("own")) for r in p] for p in config}
    assert rules[("default", None)] == [("deny", BUS_NAME)]
    assert {who: rule for who, rule in rules.items() if rule == [("allow", BUS_NAME)]}.keys() == {
        (None, "root"),
        (None, user),
    }
    assert len(rules) == (2 if user == "root" else 3)
