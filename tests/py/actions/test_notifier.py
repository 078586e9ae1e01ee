import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from greenboost_py.actions import notifier
from greenboost_py.actions.dbus_signal import Changed, Signaller
from greenboost_py.actions.desktop import Bubble, Desktop, escaped
from greenboost_py.actions.notifier import Notifier, own_programs, plan
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.pressure.levels import Level

MakeBus = Callable[..., Any]
MakeDesktop = Callable[..., Any]

GIB = 1 << 30

CHANGED = Changed(
    "ram",
    Level.CRITICAL,
    Level.OK,
    "RAM is nearly exhausted.",
    "Held: 2.00 GiB by a program of <alice>.\nClose it.",
    1,
    2,
    None,
    ((4711, 1000, 2 * GIB), (4712, 1001, GIB)),
)
BUBBLE = Bubble("summary", "<b>body</b> & more", 1, -1, "dialog-warning")

GREENBOOST = [sys.executable, "-c", "from greenboost_py.cli.main import main; main()"]


@pytest.mark.parametrize(
    ("level", "look"),
    [
        (Level.OK, (0, 5000, "dialog-information")),
        (Level.NOTICE, (0, -1, "dialog-information")),
        (Level.WARN, (1, -1, "dialog-warning")),
        (Level.CRITICAL, (2, 0, "dialog-error")),
    ],
)
def test_plan_looks_as_urgent_as_the_level(level: Level, look: tuple[int, int, str]) -> None:
    bubble = plan(replace(CHANGED, level=level), {})
    assert (bubble.urgency, bubble.expire_ms, bubble.icon) == look
    assert (bubble.summary, bubble.body) == (CHANGED.headline, CHANGED.body)


def test_plan_names_the_users_own_programs() -> None:
    lines = plan(CHANGED, {4711: "pyt\x1bhon"}).body.splitlines()
    assert lines[2:] == ["Yours: 2.00 GiB by pyt?hon (pid 4711)."]


def test_plan_of_hostile_texts_is_printable() -> None:
    bubble = plan(replace(CHANGED, headline="a\x1b\nb", body="c\rd\ne\x9b"), {})
    assert (bubble.summary, bubble.body) == ("a??b", "c\nd\ne?")


def test_own_programs_are_those_of_this_user_that_still_run(tmp_path: Path) -> None:
    for pid in (4711, 4712):
        (tmp_path / f"proc/{pid}").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/comm").write_text("python\n")
    me, other = os.getuid(), os.getuid() + 1
    changed = replace(CHANGED, holders=((4711, me, 1), (4712, other, 1), (4713, me, 1)))
    assert own_programs(SysRoot(tmp_path), changed, me) == {4711: "python"}
    # A process that has got another owner since: the number was used again, or it has changed its user.
    assert own_programs(SysRoot(tmp_path), replace(CHANGED, holders=((4711, other, 1),)), other) == {}


@pytest.mark.parametrize(
    ("text", "markup"), [("plain", "plain"), ("<a href='x'>&amp;</a>", "&lt;a href='x'&gt;&amp;amp;&lt;/a&gt;")]
)
def test_escaped_is_no_markup(text: str, markup: str) -> None:
    assert escaped(text) == markup


@pytest.mark.parametrize(
    ("capabilities", "body"),
    [("body", "<b>body</b> & more"), ("body body-markup", "&lt;b&gt;body&lt;/b&gt; &amp; more")],
)
def test_show_escapes_for_a_server_that_takes_markup(
    make_bus: MakeBus, make_desktop: MakeDesktop, capabilities: str, body: str
) -> None:
    bus = make_bus("session")
    server = make_desktop(bus, capabilities)

    async def run() -> None:
        desktop = Desktop({"DBUS_SESSION_BUS_ADDRESS": bus.address})
        await desktop.show("ram", BUBBLE)
        desktop.close()

    asyncio.run(run())
    (line,) = server.notifications()
    assert f'"GreenBoost" 0 "dialog-warning" "summary" "{body}" []' in line
    assert re.search(r'[{,] ?"urgency": 1\b', line)


def test_show_replaces_the_bubble_of_its_resource_only(make_bus: MakeBus, make_desktop: MakeDesktop) -> None:
    bus = make_bus("session")
    server = make_desktop(bus)

    async def run() -> None:
        desktop = Desktop({"DBUS_SESSION_BUS_ADDRESS": bus.address})
        for resource in ("ram", "vram:x", "ram", "vram:x"):
            await desktop.show(resource, BUBBLE)
        desktop.close()

    asyncio.run(run())
    assert [re.findall(r'"GreenBoost" (\d+)', line)[0] for line in server.notifications()] == ["0", "0", "1", "2"]


async def signalled(address: str, changed: Changed) -> None:
    assert await Signaller().send(changed, {"DBUS_SYSTEM_BUS_ADDRESS": address}) is None


class Session:
    """A notifier that runs between two buses."""

    def __init__(self, system: Any, session: Any) -> None:
        self.system = system
        environment = {"DBUS_SYSTEM_BUS_ADDRESS": system.address, "DBUS_SESSION_BUS_ADDRESS": session.address}
        self.notifier = Notifier(SysRoot(), os.getuid(), environment, retry_s=0.02)

    async def tell_until_shown(self, server: Any, changed: Changed, count: int = 1) -> list[str]:
        """Signals again and again, for a signal that comes before the match is not heard; then what was shown."""
        while len(server.notifications()) < count:
            await Signaller().send(changed, {"DBUS_SYSTEM_BUS_ADDRESS": self.system.address})
            await asyncio.sleep(0.02)
        shown: list[str] = server.notifications()
        return shown

    async def ended(self, task: "asyncio.Task[None]") -> None:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_run_shows_what_the_daemon_signals(make_bus: MakeBus, make_desktop: MakeDesktop) -> None:
    system, desktop_bus = make_bus("system"), make_bus("session")
    server = make_desktop(desktop_bus)
    session = Session(system, desktop_bus)

    async def run() -> list[str]:
        task = asyncio.create_task(session.notifier.run())
        shown = await session.tell_until_shown(server, CHANGED)
        await session.ended(task)
        return shown

    line = asyncio.run(run())[0]
    assert '"RAM is nearly exhausted."' in line
    assert "Held: 2.00 GiB by a program of <alice>." in line


def test_run_goes_on_when_the_system_bus_was_away(make_bus: MakeBus, make_desktop: MakeDesktop) -> None:
    system, desktop_bus = make_bus("system"), make_bus("session")
    server = make_desktop(desktop_bus)
    session = Session(system, desktop_bus)
    system.end()

    async def run() -> None:
        task = asyncio.create_task(session.notifier.run())
        await asyncio.sleep(0.05)
        await asyncio.to_thread(system.start)
        await session.tell_until_shown(server, CHANGED)
        before = len(server.notifications())
        await asyncio.to_thread(system.end)
        await asyncio.sleep(0.05)
        await asyncio.to_thread(system.start)
        await session.tell_until_shown(server, CHANGED, before + 1)
        await session.ended(task)

    asyncio.run(run())


def test_run_shows_the_newest_when_the_desktop_is_back(make_bus: MakeBus, make_desktop: MakeDesktop) -> None:
    system, desktop_bus = make_bus("system"), make_bus("session")
    session = Session(system, desktop_bus)
    desktop_bus.end()

    async def run() -> list[str]:
        task = asyncio.create_task(session.notifier.run())
        while not session.notifier.waiting:
            await signalled(system.address, CHANGED)
            await asyncio.sleep(0.02)
        while session.notifier.waiting[0].headline != "newest":
            await signalled(system.address, replace(CHANGED, headline="newest"))
            await asyncio.sleep(0.02)
        await asyncio.to_thread(desktop_bus.start)
        server = await asyncio.to_thread(make_desktop, desktop_bus)
        shown: list[str] = await asyncio.to_thread(server.wait_for, 1)
        await session.ended(task)
        return shown

    shown = asyncio.run(run())
    assert ['"newest"' in line for line in shown] == [True]


def test_heard_remembers_one_alert_of_each_resource_and_not_too_many() -> None:
    heard = Notifier(SysRoot(), 0, {})
    for number in range(notifier.RESOURCES_MAX + 5):
        heard.hear(replace(CHANGED, resource=f"vram:{number}"))
    heard.hear(replace(CHANGED, resource="vram:0", headline="newer"))
    heard.hear(None)
    assert len(heard.waiting) == notifier.RESOURCES_MAX
    assert heard.waiting[0].headline == "newer"


def notify(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    # Not the developer's own buses, whatever happens.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DBUS_", "XDG_RUNTIME"))}
    command = [*GREENBOOST, "notify", *arguments]
    return subprocess.Popen(command, env=clean | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_notify_test_shows_one_notification(make_bus: MakeBus, make_desktop: MakeDesktop) -> None:
    bus = make_bus("session")
    server = make_desktop(bus)
    process = notify("--test", DBUS_SESSION_BUS_ADDRESS=bus.address)
    assert process.communicate() == ("", "")
    assert process.returncode == 0
    (line,) = server.notifications()
    assert '"GreenBoost can reach this desktop"' in line


def test_notify_test_without_a_session_is_one_line_and_exit_1() -> None:
    process = notify("--test")
    out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert err == "greenboost: no session here: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set\n"


def test_notify_test_without_a_notification_server_is_one_line_and_exit_1(make_bus: MakeBus) -> None:
    process = notify("--test", DBUS_SESSION_BUS_ADDRESS=make_bus("session").address)
    out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert re.fullmatch(
        r"greenboost: org\.freedesktop\.DBus\.Error\.ServiceUnknown: .*org\.freedesktop\.Notifications.*\n", err
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_notify_shows_and_ends_cleanly_by_a_signal(
    make_bus: MakeBus, make_desktop: MakeDesktop, number: signal.Signals
) -> None:
    system, session = make_bus("system"), make_bus("session")
    server = make_desktop(session)
    process = notify(DBUS_SYSTEM_BUS_ADDRESS=system.address, DBUS_SESSION_BUS_ADDRESS=session.address)
    try:
        asyncio.run(Session(system, session).tell_until_shown(server, CHANGED))
        process.send_signal(number)
        assert process.communicate() == ("", "")
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
