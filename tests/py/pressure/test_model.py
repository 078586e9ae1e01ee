import math
import random
from collections.abc import Callable, Iterable

import pytest

from greenboost_py.base.config import Config, ForecastConfig, GttConfig, RamConfig, VramConfig
from greenboost_py.base.units import parse_size
from greenboost_py.pressure.levels import Assessment, Level, Reason, Sample
from greenboost_py.pressure.model import CALM_S, Limits, State, limits_of, section_of, step, threshold_level

MIB, GIB = 1 << 20, 1 << 30
TOTAL = 16 * GIB
OK, NOTICE, WARN, CRITICAL = Level
LIMITS = limits_of(RamConfig(), ForecastConfig(), TOTAL)  # 3.2, 1.6 and 0.8 GiB; 120 s and 30 s
THRESHOLDS = Limits(LIMITS.notice_bytes, LIMITS.warn_bytes, LIMITS.critical_bytes)


def assess(looks: Iterable[tuple[float, float]], limits: Limits = LIMITS) -> list[Assessment]:
    state, assessments = State(), []
    for at_s, available_bytes in looks:
        state, assessment = step(state, Sample("ram", at_s, TOTAL, int(available_bytes)), limits)
        assessments.append(assessment)
    return assessments


def course(available: Callable[[float], float], until_s: float, every_s: float) -> list[tuple[float, float]]:
    return [(n * every_s, available(n * every_s)) for n in range(round(until_s / every_s) + 1)]


def changes(assessments: Iterable[Assessment]) -> list[tuple[Level, Reason | None]]:
    """The levels in their order, each once, with the reason at their beginning."""
    found: list[tuple[Level, Reason | None]] = [(OK, None)]
    for assessment in assessments:
        if assessment.level is not found[-1][0]:
            found.append((assessment.level, assessment.reason))
    return found[1:]


def browser(t: float) -> float:
    """1.5 GiB of garbage in 15 s, collected at once."""
    return 7.5 * GIB - 100 * MIB * (t % 15)


def load_in_pieces(t: float) -> float:
    """8 GiB as 512 MiB every 0.3 s, then it stops."""
    return 12 * GIB - 512 * MIB * min(t // 0.3, 16)


BY_THRESHOLD, BY_FORECAST = Reason.THRESHOLD, Reason.FORECAST


@pytest.mark.parametrize(
    ("available", "until_s", "every_s", "expected"),
    [
        pytest.param(lambda t: 12 * GIB, 60, 1, [], id="nothing happens"),
        pytest.param(
            lambda t: 4 * GIB - 10 * MIB * t,
            400,
            1,
            [(NOTICE, BY_THRESHOLD), (WARN, BY_THRESHOLD), (CRITICAL, BY_THRESHOLD)],
            id="a leak of 10 MiB/s",
        ),
        pytest.param(
            lambda t: 12 * GIB - 100 * MIB * t,
            122,
            0.5,
            [(NOTICE, BY_FORECAST), (WARN, BY_FORECAST), (CRITICAL, BY_THRESHOLD)],
            id="a leak of 100 MiB/s",
        ),
        pytest.param(lambda t: 12 * GIB - 10 * GIB * min(max(t - 30, 0), 0.5), 60, 0.1, [], id="a spike of 10 GiB/s"),
        pytest.param(lambda t: 12 * GIB - (8 * GIB if 30 < t < 31 else 0), 60, 0.1, [], id="a spike and back"),
        pytest.param(
            lambda t: 5 * GIB - (3 * GIB if 30 < t < 31 else 0),
            60,
            0.1,
            [(NOTICE, BY_THRESHOLD), (OK, None)],
            id="a spike below the threshold and back",
        ),
        pytest.param(browser, 120, 0.5, [], id="the sawtooth of a browser, looked at often"),
        pytest.param(browser, 120, 2, [], id="the sawtooth of a browser, looked at seldom"),
        pytest.param(load_in_pieces, 60, 0.1, [(NOTICE, BY_FORECAST), (OK, None)], id="a load that stops"),
        pytest.param(
            lambda t: 12 * GIB - 2 * GIB * min(max(t - 10, 0), 1), 60, 0.1, [], id="a short load that stops early"
        ),
        pytest.param(
            lambda t: LIMITS.notice_bytes + GIB * math.cos(t * math.tau / 600),
            1800,
            2,
            [(NOTICE, BY_THRESHOLD), (OK, None)] * 3,
            id="a slow oscillation around a threshold",
        ),
        pytest.param(
            lambda t: LIMITS.notice_bytes - GIB / 4 + (GIB / 2 if t % 3 < 0.5 else 0),
            60,
            0.5,
            [(NOTICE, BY_THRESHOLD)],
            id="better for less than the margin",
        ),
        pytest.param(
            lambda t: LIMITS.notice_bytes - GIB / 4 + (4 * GIB if t % 6 < 4.5 else 0),
            60,
            0.5,
            [(NOTICE, BY_THRESHOLD)],
            id="better for less than the time that counts",
        ),
        pytest.param(lambda t: 12 * GIB if t < 60 else 6 * GIB, 120, 2, [], id="half of it taken at once"),
    ],
)
def test_step_in_a_situation_gives_its_levels(
    available: Callable[[float], float], until_s: float, every_s: float, expected: list[tuple[Level, Reason | None]]
) -> None:
    assert changes(assess(course(available, until_s, every_s))) == expected


@pytest.mark.parametrize("threshold_bytes", [LIMITS.notice_bytes, LIMITS.warn_bytes, LIMITS.critical_bytes])
def test_step_on_noise_around_a_threshold_stays_at_its_level(threshold_bytes: int) -> None:
    noise = random.Random(1)
    levels = [
        assessment.level
        for assessment in assess(
            ((n * 0.1, threshold_bytes + noise.uniform(-0.1, 0.1) * threshold_bytes) for n in range(3000)), THRESHOLDS
        )
    ]
    reached = threshold_level(threshold_bytes, LIMITS)
    first = levels.index(reached)
    assert first < 20
    assert set(levels[first:]) == {reached}


def test_step_after_a_suspension_does_not_reckon_across_it() -> None:
    before = course(lambda t: 12 * GIB - 50 * MIB * t, 30, 0.5)
    after = [(3 * 3600 + t, 6 * GIB - 50 * MIB * t) for t, _ in course(lambda t: 0, 30, 0.5)]
    assessments = assess([*before, *after])
    first = assessments[len(before)]
    assert (first.level, first.exhausted_in_s, first.fill_bytes_per_s, first.latest_fill_bytes_per_s) == (
        OK,
        None,
        0,
        0,
    )
    assert assessments[-1].fill_bytes_per_s == pytest.approx(50 * MIB)


def test_step_at_a_threshold_reaches_its_level_at_that_look() -> None:
    state, _ = step(State(), Sample("ram", 0, TOTAL, 12 * GIB), LIMITS)
    for available_bytes, level in [
        (LIMITS.notice_bytes + 1, OK),
        (LIMITS.notice_bytes, NOTICE),
        (LIMITS.warn_bytes + 1, NOTICE),
        (LIMITS.warn_bytes, WARN),
        (LIMITS.critical_bytes + 1, WARN),
        (LIMITS.critical_bytes, CRITICAL),
        (0, CRITICAL),
    ]:
        # Even at the same moment: a look that comes late counts.
        state, assessment = step(state, Sample("ram", 0, TOTAL, available_bytes), LIMITS)
        assert assessment.level is level
        assert assessment.reason is (BY_THRESHOLD if level else None)


def test_step_from_critical_goes_to_each_level_once_that_has_held() -> None:
    looks = course(lambda t: GIB / 2 if t < 10 else 2.5 * GIB if t < 13 else 12 * GIB, 30, 0.5)
    levels = {t: assessment.level for (t, _), assessment in zip(looks, assess(looks, THRESHOLDS), strict=True)}
    assert levels[10 + CALM_S - 0.5] is CRITICAL
    assert levels[10 + CALM_S] is levels[13 + CALM_S - 0.5] is NOTICE
    assert levels[13 + CALM_S] is OK


def test_step_from_critical_to_plenty_is_one_step() -> None:
    looks = course(lambda t: GIB / 2 if t < 10 else 12 * GIB, 30, 0.5)
    assert changes(assess(looks, THRESHOLDS)) == [(CRITICAL, BY_THRESHOLD), (OK, None)]


def test_step_with_a_forecast_at_one_look_alone_changes_nothing() -> None:
    # The sixth point makes the trend; the seventh ends it.
    falling = [(n * 0.2, 5 * GIB - n * GIB / 4) for n in range(6)]
    assert changes(assess([*falling, (1.2, 5 * GIB)])) == []
    assert changes(assess([*falling, (1.2, 3.5 * GIB)])) == [(NOTICE, BY_FORECAST)]


def test_step_with_a_repeated_look_does_not_confirm_a_forecast() -> None:
    falling = [(n * 0.2, 5 * GIB - n * GIB / 4) for n in range(6)]
    assert changes(assess([*falling, falling[-1], falling[-1]])) == []


@pytest.mark.parametrize(
    ("from_bytes", "expected"),
    [(12 * GIB, NOTICE), (3.1 * GIB, WARN), (1.5 * GIB, CRITICAL)],
)
def test_step_by_the_forecast_is_one_level_ahead_of_the_thresholds(from_bytes: float, expected: Level) -> None:
    # Exhausted in 5 s at all three, with a second of it seen.
    near = Limits(LIMITS.notice_bytes, LIMITS.warn_bytes, LIMITS.critical_bytes, 120, 30, 10)
    levels = assess(course(lambda t: from_bytes * (1 - t / 5), 1.6, 0.1), near)
    assert (
        max(assessment.level for assessment in levels if assessment.sample.available_bytes > 0.7 * from_bytes)
        is expected
    )


def test_step_without_limits_on_the_time_left_still_tells_it() -> None:
    assessments = assess(course(lambda t: 12 * GIB - 100 * MIB * t, 60, 0.5), THRESHOLDS)
    assert changes(assessments) == []
    assert assessments[-1].exhausted_in_s == pytest.approx((12 * GIB - 6000 * MIB) / (100 * MIB))


def test_step_leaves_a_forecast_when_the_end_is_clearly_further_away() -> None:
    # Ever slower: the end is 80 s away at first, and recedes by 0.8 s a second.
    assessments = assess(course(lambda t: 15.9 * GIB * (1 + t / 100) ** -1.25, 250, 0.5))
    levels = [assessment.level for assessment in assessments]
    reached, left = levels.index(NOTICE), levels.index(OK, levels.index(NOTICE))
    assert set(levels[:reached]) == set(levels[left:]) == {OK}
    left_s = [assessment.exhausted_in_s or 0 for assessment in assessments[reached:left]]
    assert max(left_s[: -int(CALM_S / 0.5)]) <= 180 < min(left_s[-int(CALM_S / 0.5) + 1 :])


def test_step_at_a_level_that_is_only_kept_keeps_its_reason() -> None:
    # The fall stops a little above the threshold of WARN.
    low = LIMITS.warn_bytes + 50 * MIB
    assessments = assess(course(lambda t: max(12 * GIB - 200 * MIB * t, low), 120, 0.5))
    assert changes(assessments) == [(NOTICE, BY_FORECAST), (WARN, BY_FORECAST)]
    assert assessments[-1].reason is BY_FORECAST


def test_step_down_to_a_level_that_is_only_kept_tells_what_keeps_it() -> None:
    low = LIMITS.notice_bytes + 50 * MIB
    assert changes(assess([(0, GIB / 2), (1, low), (6, low), (60, low)])) == [
        (CRITICAL, BY_THRESHOLD),
        (NOTICE, BY_THRESHOLD),
    ]


def test_step_tells_since_when_a_level_holds() -> None:
    assessments = assess([(5, 12 * GIB), (6, 3 * GIB), (7, 3 * GIB), (8, GIB), (8.5, GIB)], THRESHOLDS)
    assert [assessment.since_s for assessment in assessments] == [5, 6, 6, 8, 8]


def test_step_after_the_clock_was_set_back_begins_to_wait_anew() -> None:
    looks = [(1000, GIB / 2), (1001, 12 * GIB), (1002, 12 * GIB), (10, 12 * GIB), (14, 12 * GIB), (15, 12 * GIB)]
    assessments = assess(looks, THRESHOLDS)
    assert [assessment.level for assessment in assessments] == [CRITICAL] * 5 + [OK]
    assert [assessment.since_s for assessment in assessments] == [1000, 1000, 1000, 10, 10, 15]


def test_step_with_other_limits_follows_them_at_once() -> None:
    state, _ = step(State(), Sample("ram", 0, TOTAL, 3 * GIB), Limits(2 * GIB, GIB, 0))
    assert state.level is OK
    state, _ = step(state, Sample("ram", 1, TOTAL, 3 * GIB), Limits(4 * GIB, 3 * GIB, 0))
    assert state.level is WARN


def test_step_at_a_threshold_of_all_there_is_can_be_left_at_none_less() -> None:
    limits = Limits(TOTAL - 1, 0, 0)
    assert changes(assess([(0, TOTAL - 1), (1, TOTAL), (6, TOTAL)], limits)) == [(NOTICE, BY_THRESHOLD), (OK, None)]


def test_limits_of_shares_and_sizes_are_bytes() -> None:
    section = RamConfig(notice=parse_size("25%"), warn=parse_size("2GiB"), critical=parse_size("1GiB"))
    near = ForecastConfig(notice_s=60, warn_s=20, critical_s=5)
    assert limits_of(section, near, TOTAL) == Limits(4 * GIB, 2 * GIB, GIB, 60, 20, 5)


def test_limits_of_levels_in_disorder_never_reach_a_worse_one_first() -> None:
    section = RamConfig(notice=parse_size("1%"), warn=parse_size("2GiB"), critical=parse_size("3GiB"))
    assert limits_of(section, ForecastConfig(), TOTAL) == Limits(3 * GIB, 3 * GIB, 3 * GIB, 120, 30, 0)


def test_limits_of_vram_have_no_forecast() -> None:
    limits = limits_of(VramConfig(), ForecastConfig(), 1000)
    assert limits == Limits(50, 20, 5, 0, 0, 0)


@pytest.mark.parametrize(
    ("resource", "section"),
    [
        ("ram", RamConfig),
        ("gtt:0000:c4:00.0", GttConfig),
        ("vram:0000:c4:00.0", VramConfig),
        ("cgroup:/sys/fs/cgroup/a:b", RamConfig),
    ],
)
def test_section_of_a_resource_is_by_its_kind(resource: str, section: type) -> None:
    assert type(section_of(Config(), resource)) is section
