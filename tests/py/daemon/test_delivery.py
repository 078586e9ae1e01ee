"""Which way tells what: the ways themselves are stood in for, and have tests of their own (tests/py/actions)."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from greenboost_py.actions import wall
from greenboost_py.actions.alert import Alert
from greenboost_py.actions.dbus_signal import Changed, Signaller
from greenboost_py.actions.hooks import Hooks
from greenboost_py.base.config import Config, NotifyConfig
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.daemon.delivery import Delivery
from greenboost_py.daemon.view import Held, View
from greenboost_py.pressure.levels import Level
from greenboost_py.sensors.holders import Holder

if TYPE_CHECKING:
    from tests.py.daemon.conftest import Recorder

MakeView = Callable[..., View]
OK, NOTICE, WARN, CRITICAL = Level
VRAM = "vram:0000:01:00.0"
HOLDER = Holder(7, 1000, "secret-project", 1, 3 << 30, {}, {})


class Told:
    """What went which way, in order, as (way, resource or text, level)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[tuple[str, str, Level]] = []
        self.texts: list[str] = []
        self.problem: str | None = None
        self.lookups: list[str] = []
        self.gpu_host_bytes = 0
        told = self

        async def send(signaller: Signaller, changed: Changed, environment: Mapping[str, str]) -> str | None:
            told.told.append(("desktop", changed.resource, changed.level))
            told.texts.append(f"{changed.headline} {changed.body}")
            return told.problem

        async def write(message: str, environment: Mapping[str, str]) -> str | None:
            told.told.append(("wall", message.split(" ")[0].lower(), CRITICAL if "exhausted" in message else WARN))
            told.texts.append(message)
            return told.problem

        async def run(hooks: Hooks, alert: Alert, environment: Mapping[str, str]) -> str | None:
            told.told.append(("hook", alert.resource, alert.level))
            return None

        monkeypatch.setattr(Signaller, "send", send)
        monkeypatch.setattr(wall, "write", write)
        monkeypatch.setattr(Hooks, "run", run)

    def who_holds(self, resource: str) -> Held:
        self.lookups.append(resource)
        return Held((HOLDER,), self.gpu_host_bytes)

    def by(self, way: str) -> list[tuple[str, str]]:
        return [(resource, level.name) for each, resource, level in self.told if each == way]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(monkeypatch)


def show(
    told: Told, recorder: "Recorder", views: Sequence[View], notify: NotifyConfig | None = None, root: Path = Path("/x")
) -> list[tuple[str, str]]:
    """Shows looks one after the other; what went into the journal, as (resource, level)."""

    async def run() -> None:
        delivery = Delivery(SysRoot(root), replace(Config(), notify=notify or NotifyConfig()), recorder, {})
        for view in views:
            delivery.show(view, told.who_holds)
            await asyncio.sleep(0)
        for _ in range(3):  # a task begins, ends, and is followed up
            await asyncio.sleep(0)
        await delivery.close()

    asyncio.run(run())
    alerts = [entry for entry in recorder.entries if "GREENBOOST_LEVEL" in entry]
    return [(entry["GREENBOOST_RESOURCE"], entry["GREENBOOST_LEVEL"].upper()) for entry in alerts]


@pytest.mark.parametrize(
    ("level", "ways"),
    [
        (OK, set()),
        (NOTICE, {"journal", "hook"}),
        (WARN, {"journal", "hook", "desktop"}),
        (CRITICAL, {"journal", "hook", "desktop", "wall"}),
    ],
)
def test_each_way_has_its_lowest_level(
    told: Told, recorder: "Recorder", make_view: MakeView, level: Level, ways: set[str]
) -> None:
    journal = show(told, recorder, [make_view({"ram": level})])
    assert {way for way, _, _ in told.told} | ({"journal"} if journal else set()) == ways
    assert all(each == ("ram", level.name) for each in [*journal, *told.by("hook"), *told.by("desktop")])


@pytest.mark.parametrize(
    ("notify", "level", "ways"),
    [
        (NotifyConfig(wall="warn"), WARN, {"hook", "desktop", "wall"}),
        (NotifyConfig(wall="warn", desktop=False), WARN, {"hook", "wall"}),
        (NotifyConfig(wall="off"), CRITICAL, {"hook", "desktop"}),
        (NotifyConfig(wall="off", desktop=False), CRITICAL, {"hook"}),
    ],
)
def test_ways_for_people_can_be_turned_off(
    told: Told, recorder: "Recorder", make_view: MakeView, notify: NotifyConfig, level: Level, ways: set[str]
) -> None:
    assert show(told, recorder, [make_view({"ram": level})], notify) == [("ram", level.name)]
    assert {way for way, _, _ in told.told} == ways


@pytest.mark.parametrize(("vram", "ways"), [(False, {"hook"}), (True, {"hook", "desktop", "wall"})])
def test_vram_is_told_to_people_only_if_they_want_that(
    told: Told, recorder: "Recorder", make_view: MakeView, vram: bool, ways: set[str]
) -> None:
    views = [make_view({"ram": OK, VRAM: CRITICAL})]
    assert show(told, recorder, views, NotifyConfig(vram=vram)) == [(VRAM, "CRITICAL")]
    assert {way for way, _, _ in told.told} == ways


def test_other_resources_are_told_to_people(told: Told, recorder: "Recorder", make_view: MakeView) -> None:
    others = ["gtt:0000:c4:00.0", "cgroup:/sys/fs/cgroup/job_7"]
    assert show(told, recorder, [make_view(dict.fromkeys(others, WARN))]) == [(name, "WARN") for name in others]
    assert told.by("desktop") == [(name, "WARN") for name in others]


def test_a_group_at_its_limit_is_not_written_to_every_terminal(
    told: Told, recorder: "Recorder", make_view: MakeView
) -> None:
    show(told, recorder, [make_view({"ram": OK, "cgroup:/sys/fs/cgroup/job_7": CRITICAL})])
    assert {way for way, _, _ in told.told} == {"desktop", "hook"}


def test_every_change_is_told_once_and_what_lasts_again_after_a_while(
    told: Told, recorder: "Recorder", make_view: MakeView
) -> None:
    steps = [(OK, 0.0), (NOTICE, 1.0), (NOTICE, 2.0), (CRITICAL, 3.0), (CRITICAL, 4.0), (CRITICAL, 63.5)]
    views = [make_view({"ram": level}, at_s) for level, at_s in steps]
    assert [level for _, level in show(told, recorder, views)] == ["NOTICE", "CRITICAL", "CRITICAL"]
    # A command has done what it does: it is not run again for the same level.
    assert [level for _, level in told.by("hook")] == ["NOTICE", "CRITICAL"]
    assert [level for _, level in told.by("desktop")] == ["CRITICAL", "CRITICAL"]


def test_recovery_is_told_once_it_lasts_to_those_who_heard_of_the_trouble(
    told: Told, recorder: "Recorder", make_view: MakeView
) -> None:
    steps = [(NOTICE, 1.0), (OK, 2.0), (NOTICE, 3.0), (OK, 4.0), (OK, 20.0), (OK, 30.0)]
    views = [make_view({"ram": level}, at_s) for level, at_s in steps]
    assert [level for _, level in show(told, recorder, views)] == ["NOTICE", "OK"]
    assert [level for _, level in told.by("hook")] == ["NOTICE", "OK"]
    assert told.by("desktop") == []


def test_a_resource_that_flaps_is_not_told_without_end(told: Told, recorder: "Recorder", make_view: MakeView) -> None:
    views = []
    for number in range(300):
        at_s = number * 15.0 / 10
        views.append(make_view({"ram": WARN if number // 10 % 2 else OK}, at_s))
    said = show(told, recorder, views)
    # 450 s: at most ten a minute, and every other of them an end.
    assert 4 <= len(said) <= 76
    assert [level for _, level in said] == ["WARN", "OK"] * (len(said) // 2) + ["WARN"] * (len(said) % 2)


def test_holders_are_looked_up_only_when_something_is_told(
    told: Told, recorder: "Recorder", make_view: MakeView
) -> None:
    show(told, recorder, [make_view({"ram": OK, VRAM: OK}, float(at_s)) for at_s in range(5)])
    assert told.lookups == []
    show(told, recorder, [make_view({"ram": OK, VRAM: WARN}, float(at_s)) for at_s in range(5)])
    assert told.lookups == [VRAM]


def test_the_journal_names_programs_and_broadcasts_name_users(
    told: Told, recorder: "Recorder", make_view: MakeView, tmp_path: Path
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("ada:x:1000:1000::/home/ada:/bin/sh\n")
    told.gpu_host_bytes = 8 << 30
    show(told, recorder, [make_view({"ram": CRITICAL}, gpu_host_bytes=5 << 30)], root=tmp_path)
    (entry,) = recorder.entries
    assert "secret-project (pid 7)" in entry["MESSAGE"]
    assert entry["GREENBOOST_GPU_HOST_BYTES"] == str(8 << 30)
    assert entry["GREENBOOST_SWAP_FREE_BYTES"] == str(1 << 30)
    assert len(told.texts) == 2
    for text in told.texts:
        assert "a program of ada" in text and "secret" not in text and "pid" not in text


def test_users_that_cannot_be_read_keep_nothing_from_being_told(
    told: Told, recorder: "Recorder", make_view: MakeView, tmp_path: Path
) -> None:
    (tmp_path / "etc/passwd").mkdir(parents=True)
    show(told, recorder, [make_view({"ram": CRITICAL})], root=tmp_path)
    assert len(told.texts) == 2
    assert all("a program of user 1000" in text for text in told.texts)


def test_a_way_that_fails_is_a_line_in_the_journal(told: Told, recorder: "Recorder", make_view: MakeView) -> None:
    told.problem = "no bus at unix:path=/nowhere"
    show(told, recorder, [make_view({"ram": WARN})])
    assert recorder.messages()[1:] == [told.problem]
    assert recorder.entries[1]["PRIORITY"] == "5"


def test_a_way_that_breaks_is_a_line_in_the_journal(
    monkeypatch: pytest.MonkeyPatch, told: Told, recorder: "Recorder", make_view: MakeView
) -> None:
    async def breaks(*_: Any) -> str | None:
        raise RuntimeError("bug")

    monkeypatch.setattr(Hooks, "run", breaks)
    assert show(told, recorder, [make_view({"ram": WARN})]) == [("ram", "WARN")]
    assert recorder.messages()[1:] == ["an alert was not told: RuntimeError('bug')"]
    assert told.by("desktop") == [("ram", "WARN")]


def test_close_at_once_leaves_nothing_unfinished(told: Told, recorder: "Recorder", make_view: MakeView) -> None:
    async def run() -> None:
        delivery = Delivery(SysRoot("/x"), Config(), recorder, {})
        delivery.show(make_view({"ram": CRITICAL}), told.who_holds)
        await delivery.close()

    # What was begun and never ran would be a warning, hence an error.
    asyncio.run(run())
    assert len(recorder.entries) == 1


def test_close_ends_what_is_still_being_told(
    monkeypatch: pytest.MonkeyPatch, recorder: "Recorder", make_view: MakeView
) -> None:
    ended: list[str] = []

    async def hang(*_: Any) -> str | None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("hook")
        return None

    monkeypatch.setattr(Hooks, "run", hang)
    config = replace(Config(), notify=NotifyConfig(desktop=False, wall="off"))

    async def run() -> None:
        delivery = Delivery(SysRoot("/x"), config, recorder, {})
        delivery.show(make_view({"ram": NOTICE}), lambda _: Held((), 0))
        await asyncio.sleep(0)
        await delivery.close()

    asyncio.run(asyncio.wait_for(run(), 30))
    assert ended == ["hook"]
