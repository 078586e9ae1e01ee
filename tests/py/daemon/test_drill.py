"""The drill against a daemon that sees a machine of 64 GiB; what it takes is really taken, so the tests' steps are small."""

from collections.abc import Callable
from typing import Any

import pytest

from greenboost_py.base.errors import GreenboostError
from greenboost_py.daemon import drill
from greenboost_py.pressure.levels import Level

MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill, "STEP_BYTES", MIB)


def status(level: str, available_bytes: int) -> dict[str, Any]:
    ram = {"resource": "ram", "level": level, "available_bytes": available_bytes, "total_bytes": 64 * GIB}
    return {"resources": [{"resource": "gtt:0000:c4:00.0", "level": "warn"}, ram]}


def answers(*each: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    left = list(each)
    return lambda: left.pop(0)


def test_drill_takes_a_step_at_a_time_until_the_level_is_reached() -> None:
    pauses: list[None] = []
    seen = list(
        drill.drill(
            Level.NOTICE,
            answers(status("ok", 30 * GIB), status("ok", 20 * GIB), status("notice", 12 * GIB)),
            lambda: pauses.append(None),
        )
    )
    assert [(each.taken_bytes, each.level) for each in seen] == [
        (0, Level.OK),
        (MIB, Level.OK),
        (2 * MIB, Level.NOTICE),
    ]
    assert len(pauses) == 2


def test_drill_goes_on_past_a_lower_level() -> None:
    seen = list(drill.drill(Level.WARN, answers(status("notice", 12 * GIB), status("critical", 5 * GIB)), lambda: None))
    assert seen[-1].level is Level.CRITICAL


def test_drill_stops_at_a_sixteenth_of_ram() -> None:
    with pytest.raises(GreenboostError, match="has not said NOTICE"):
        list(drill.drill(Level.NOTICE, answers(status("ok", 5 * GIB), status("ok", 4 * GIB)), lambda: None))


def test_drill_without_a_reading_of_ram_takes_nothing() -> None:
    with pytest.raises(GreenboostError, match="how much RAM"):
        list(drill.drill(Level.NOTICE, answers({"resources": []}), lambda: None))


def test_drill_gives_back_when_it_is_ended_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    real = drill._take

    def take() -> Any:
        taken.append(real())
        return taken[-1]

    monkeypatch.setattr(drill, "_take", take)
    running = drill.drill(Level.WARN, lambda: status("ok", 30 * GIB), lambda: None)
    for _ in range(3):
        next(running)
    running.close()
    assert len(taken) == 2 and all(block.closed for block in taken)
