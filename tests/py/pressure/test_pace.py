import pytest

from greenboost_py.base.config import PollConfig
from greenboost_py.pressure.levels import Assessment, Level, Sample
from greenboost_py.pressure.model import Limits
from greenboost_py.pressure.pace import FASTEST_FILL_BYTES_PER_S, next_look_s

GIB = 1 << 30
POLL = PollConfig(fastest_s=0.1, slowest_s=2.0)
LIMITS = Limits(4 * GIB, 2 * GIB, GIB, 120, 30)


def judged(
    available_bytes: float, level: Level = Level.OK, resource: str = "ram", trend: float = 0.0, latest: float = 0.0
) -> tuple[Assessment, Limits]:
    sample = Sample(resource, 100.0, 64 * GIB, int(available_bytes))
    return Assessment(sample, level, None, None, trend, 99.0, latest), LIMITS


@pytest.mark.parametrize(
    ("resource", "lasted_s", "exhausted_in_s", "expected_s"),
    [
        ("gtt:0000:c4:00.0", 61.0, None, 1.0),
        ("cgroup:/a", 61.0, None, 1.0),
        ("cgroup:/a", 59.0, None, 0.1),
        ("cgroup:/a", 61.0, 30.0, 0.1),
        ("ram", 61.0, None, 0.1),
    ],
)
def test_next_look_at_what_stays_short_is_once_a_second(
    resource: str, lasted_s: float, exhausted_in_s: float | None, expected_s: float
) -> None:
    sample = Sample(resource, 100.0, 64 * GIB, GIB)
    short = Assessment(sample, Level.WARN, None, exhausted_in_s, 0.0, 100.0 - lasted_s), LIMITS
    assert next_look_s([judged(60 * GIB), short], POLL) == expected_s


@pytest.mark.parametrize(
    ("available_bytes", "expected_s"),
    [(60 * GIB, 2.0), (14 * GIB, 2.0), (8 * GIB, 1.0), (5 * GIB, 0.5), (2.1 * GIB, 0.1), (2 * GIB, 0.1), (0, 0.1)],
)
def test_next_look_is_when_the_fastest_fill_would_reach_the_threshold(
    available_bytes: float, expected_s: float
) -> None:
    assert next_look_s([judged(available_bytes)], POLL) == pytest.approx(expected_s)
    room_bytes = available_bytes - LIMITS.warn_bytes
    assert expected_s in (0.1, 2.0) or expected_s == pytest.approx(room_bytes / FASTEST_FILL_BYTES_PER_S)


@pytest.mark.parametrize("level", [Level.WARN, Level.CRITICAL])
@pytest.mark.parametrize("resource", ["ram", "gtt:0000:c4:00.0", "cgroup:/a"])
def test_next_look_from_warn_on_is_the_shortest(level: Level, resource: str) -> None:
    assert next_look_s([judged(60 * GIB), judged(60 * GIB, level, resource)], POLL) == 0.1
    assert next_look_s([judged(60 * GIB, Level.NOTICE, resource)], POLL) == 2.0


def test_next_look_while_tasks_stall_is_the_shortest() -> None:
    assert next_look_s([judged(60 * GIB)], POLL, is_stalling=True) == 0.1


def test_next_look_with_a_full_card_is_the_longest() -> None:
    full = judged(0, Level.CRITICAL, "vram:0000:41:00.0", trend=5 * GIB, latest=5 * GIB)
    assert next_look_s([judged(60 * GIB), full], POLL) == 2.0


@pytest.mark.parametrize(("latest", "expected_s"), [(GIB / 4, 2.0), (2 * GIB, 1.0), (8 * GIB, 0.25), (-8 * GIB, 2.0)])
def test_next_look_after_a_great_fall_is_sooner(latest: float, expected_s: float) -> None:
    assert next_look_s([judged(50 * GIB, latest=latest)], POLL) == pytest.approx(expected_s)


def test_next_look_during_a_fall_beyond_what_is_plausible_is_before_the_threshold() -> None:
    assert next_look_s([judged(22 * GIB, trend=20 * GIB)], POLL) == pytest.approx(0.5)


@pytest.mark.parametrize(("nearer", "expected_s"), [(5 * GIB, 0.5), (8 * GIB, 1.0)])
def test_next_look_of_several_is_the_soonest(nearer: int, expected_s: float) -> None:
    assert next_look_s([judged(60 * GIB), judged(nearer), judged(14 * GIB)], POLL) == pytest.approx(expected_s)


def test_next_look_without_any_resource_is_the_longest() -> None:
    assert next_look_s([], POLL) == 2.0
    assert next_look_s([], PollConfig(fastest_s=1.0, slowest_s=1.0)) == 1.0
