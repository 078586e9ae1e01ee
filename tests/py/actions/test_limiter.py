import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.actions.limiter import (
    CRITICAL_RESERVE,
    PER_WINDOW_MAX,
    RESOURCES_MAX,
    SETTLE_S,
    WINDOW_S,
    Kind,
    Limiter,
    Verdict,
)
from greenboost_py.pressure.levels import Level

OK, NOTICE, WARN, CRITICAL = Level


def told(limiter: Limiter, looks: list[tuple[float, Level]], resource: str = "ram") -> list[tuple[float, str, Level]]:
    """What is told of one resource: when, why, and the level that was told before."""
    verdicts = [(at_s, limiter.decide(resource, level, at_s)) for at_s, level in looks]
    return [(at_s, verdict.kind.value, verdict.previous) for at_s, verdict in verdicts if verdict is not None]


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([(0, OK), (1, OK)], []),
        ([(0, NOTICE)], []),
        ([(0, WARN), (1, WARN), (59, WARN)], [(0, "rise", OK)]),
        ([(0, WARN), (1, CRITICAL)], [(0, "rise", OK), (1, "rise", WARN)]),
        (
            [(0, WARN), (60, WARN), (119, WARN), (120, WARN)],
            [(0, "rise", OK), (60, "repeat", WARN), (120, "repeat", WARN)],
        ),
        ([(0, WARN), (1, OK), (10, OK), (11, OK), (12, OK)], [(0, "rise", OK), (11, "fall", WARN)]),
        (
            [(0, CRITICAL), (1, WARN), (5, NOTICE), (11, WARN), (90, WARN)],
            [(0, "rise", OK), (11, "fall", CRITICAL), (90, "repeat", WARN)],
        ),
        ([(0, WARN), (1, OK), (9, WARN), (15, OK), (20, WARN)], [(0, "rise", OK)]),
        ([(0, WARN), (1, OK), (9, CRITICAL), (10, OK)], [(0, "rise", OK), (9, "rise", WARN)]),
        ([(0, WARN), (1, OK), (11, OK), (12, WARN)], [(0, "rise", OK), (11, "fall", WARN), (12, "rise", OK)]),
    ],
)
def test_decide_tells_a_rise_at_once_and_a_fall_that_lasts(
    looks: list[tuple[float, Level]], expected: list[tuple[float, str, Level]]
) -> None:
    assert told(Limiter(WARN, 60), looks) == expected


def test_decide_without_repetition_tells_a_level_once() -> None:
    assert told(Limiter(WARN, 0), [(second, WARN) for second in range(1000)]) == [(0, "rise", OK)]


def test_decide_of_a_recovery_that_nobody_waits_for_says_nothing() -> None:
    limiter = Limiter(CRITICAL, 60)
    assert told(limiter, [(0, WARN), (1, OK), (20, OK)]) == []


def test_decide_at_the_cap_keeps_a_voice_for_what_becomes_critical() -> None:
    limiter = Limiter(NOTICE, 0)
    cards = [f"vram:{card}" for card in range(PER_WINDOW_MAX)]
    said = [card for card in cards if limiter.decide(card, WARN, 0)]
    assert len(said) == PER_WINDOW_MAX - CRITICAL_RESERVE
    assert limiter.decide("ram", WARN, 1) is None
    assert limiter.decide("ram", CRITICAL, 1) == Verdict(Kind.RISE, OK)


def test_decide_tells_what_the_cap_held_back_when_there_is_room_again() -> None:
    limiter = Limiter(NOTICE, 0)
    for card in range(PER_WINDOW_MAX - CRITICAL_RESERVE):
        assert limiter.decide(f"vram:{card}", WARN, 0)
    assert limiter.decide("ram", WARN, WINDOW_S - 1) is None
    assert limiter.decide("ram", WARN, WINDOW_S) == Verdict(Kind.RISE, OK)


def test_decide_forgets_the_resource_told_longest_ago_when_there_are_too_many() -> None:
    limiter = Limiter(NOTICE, 0)
    at_s = 0.0
    for number in range(RESOURCES_MAX + 1):
        at_s += WINDOW_S
        assert limiter.decide(f"vram:{number}", WARN, at_s)
    at_s += WINDOW_S
    assert limiter.decide("vram:1", WARN, at_s) is None
    assert limiter.decide("vram:0", WARN, at_s) == Verdict(Kind.RISE, OK)


LOOKS = st.lists(
    st.tuples(st.sampled_from(["ram", "vram:a", "gtt:a"]), st.sampled_from(list(Level)), st.floats(0, 30)), max_size=200
)


@given(LOOKS, st.sampled_from([NOTICE, WARN, CRITICAL]), st.floats(0, 100))
def test_decide_never_floods_and_never_contradicts_itself(
    looks: list[tuple[str, Level, float]], lowest: Level, repeat_s: float
) -> None:
    limiter = Limiter(lowest, repeat_s)
    at_s, times = 0.0, list[float]()
    last: dict[str, Level] = {}
    for resource, level, passed_s in looks:
        at_s += passed_s
        verdict = limiter.decide(resource, level, at_s)
        heard = level if level >= lowest else OK
        if verdict is None:
            continue
        assert verdict.previous == last.get(resource, OK), "what was told last"
        assert {
            Kind.RISE: heard > verdict.previous,
            Kind.FALL: heard < verdict.previous,
            Kind.REPEAT: heard == verdict.previous,
        }[verdict.kind]
        last[resource] = heard
        times.append(at_s)
    assert all(times[first + PER_WINDOW_MAX] - times[first] >= WINDOW_S for first in range(len(times) - PER_WINDOW_MAX))


@given(st.floats(0.01, SETTLE_S / 2))
def test_decide_of_a_flapping_resource_tells_no_recovery(period_s: float) -> None:
    looks = [(step * period_s, CRITICAL if step % 2 == 0 else OK) for step in range(200)]
    assert {kind for _, kind, _ in told(Limiter(WARN, 0), looks)} == {"rise"}
