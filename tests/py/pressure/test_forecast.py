import math
import random
from collections.abc import Callable, Iterable
from functools import reduce
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.pressure.forecast import (
    BYTES_MAX,
    LEAST_POINTS,
    POINTS_PER_WINDOW,
    WINDOWS_S,
    Forecast,
    History,
    bounded,
    forecast,
    latest_fill_bytes_per_s,
    remember,
)
from greenboost_py.pressure.levels import Sample

MIB, GIB = 1 << 20, 1 << 30
TOTAL = 16 * GIB


def look(at_s: float, available_bytes: float, total_bytes: int = TOTAL) -> Sample:
    return Sample("ram", at_s, total_bytes, int(available_bytes))


def after(samples: Iterable[Sample], history: History | None = None) -> History:
    return reduce(remember, samples, history or History())


def course(available: Callable[[float], float], until_s: float, every_s: float) -> list[Sample]:
    return [look(n * every_s, available(n * every_s)) for n in range(round(until_s / every_s) + 1)]


@pytest.mark.parametrize("every_s", [0.02, 0.1, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("fill", [10 * MIB, GIB // 4, -100 * MIB])
def test_forecast_of_a_straight_line_is_its_slope(fill: int, every_s: float) -> None:
    ahead = forecast(after(course(lambda t: 8 * GIB - fill * t, 30, every_s)))
    assert ahead.fill_bytes_per_s == pytest.approx(fill, rel=1e-6)
    assert ahead.exhausted_in_s == (pytest.approx((8 * GIB - 30 * fill) / fill) if fill > 0 else None)


def test_forecast_of_a_line_with_noise_is_near_its_slope() -> None:
    noise = random.Random(1)
    ahead = forecast(after(course(lambda t: 6 * GIB - 100 * MIB * t + noise.gauss(0, 100 * MIB), 50, 0.5)))
    assert ahead.fill_bytes_per_s == pytest.approx(100 * MIB, rel=0.15)


@pytest.mark.parametrize(
    "available",
    [
        pytest.param(lambda t: 8 * GIB, id="nothing changes"),
        pytest.param(lambda t: 8 * GIB - (2 * GIB if t > 39.9 else 0), id="a step at the newest look"),
        pytest.param(lambda t: 8 * GIB - (2 * GIB if 37.0 < t < 38.5 else 0), id="a spike and back"),
        pytest.param(lambda t: 8 * GIB - GIB * (t % 0.7), id="a sawtooth of short teeth"),
        pytest.param(lambda t: 8 * GIB - 2 * GIB * math.sin(t * 3), id="an oscillation"),
    ],
)
def test_forecast_of_what_is_no_trend_is_none(available: Callable[[float], float]) -> None:
    assert forecast(after(course(available, 40, 0.1))) == Forecast()


def test_forecast_of_a_step_is_none_wherever_it_lies() -> None:
    history = History()
    for sample in course(lambda t: 8 * GIB - (6 * GIB if t > 20 else 0), 100, 0.1):
        history = remember(history, sample)
        assert forecast(history) == Forecast(), sample.at_s


def test_forecast_is_hardly_moved_by_wrong_points() -> None:
    def available(t: float) -> float:
        return GIB / 8 if round(t * 10) % 50 == 0 else 8 * GIB - 100 * MIB * t

    ahead = forecast(after(course(available, 49.9, 0.1)))
    assert ahead.fill_bytes_per_s == pytest.approx(100 * MIB, rel=0.1)


def test_forecast_needs_the_least_number_of_points_and_no_more() -> None:
    samples = course(lambda t: 4 * GIB - 2 * GIB * t, 1.5, 0.2)
    assert forecast(after(samples[: LEAST_POINTS - 1])) == Forecast()
    assert forecast(after(samples[:LEAST_POINTS])).fill_bytes_per_s == 2 * GIB


def test_forecast_of_many_looks_needs_a_third_of_the_window() -> None:
    samples = course(lambda t: 4 * GIB - 2 * GIB * t, 2, 0.01)
    first = next(n for n in range(len(samples)) if forecast(after(samples[: n + 1])) != Forecast())
    assert WINDOWS_S[0] / 3 <= samples[first].at_s <= WINDOWS_S[0] / 2


@pytest.mark.parametrize("available_bytes", [12 * GIB, 4 * GIB])
def test_forecast_reaches_four_times_as_far_as_the_fall_has_lasted(available_bytes: int) -> None:
    # 0.25 GiB/s: exhausted after 48 s or 16 s, hence within reach at a fifth of it.
    history, fill = History(), GIB // 4
    for sample in course(lambda t: available_bytes - fill * t, available_bytes / fill, 0.1):
        history = remember(history, sample)
        ahead = forecast(history)
        if sample.at_s > 1 and abs(sample.at_s - available_bytes / fill / 5) > 4:
            assert ahead.is_within_reach == (sample.at_s > available_bytes / fill / 5), sample.at_s


def test_forecast_of_several_falls_is_the_soonest_end() -> None:
    # A leak all the time, and something faster in the last three seconds.
    ahead = forecast(after(course(lambda t: 8 * GIB - 20 * MIB * t - 2 * GIB * max(0, t - 57), 60, 0.1)))
    assert ahead.exhausted_in_s == pytest.approx((8 * GIB - 60 * 20 * MIB - 6 * GIB) / (2 * GIB + 20 * MIB), rel=0.01)
    assert ahead.is_within_reach


def test_forecast_of_several_falls_out_of_reach_is_the_longest() -> None:
    ahead = forecast(after(course(lambda t: 8 * GIB - 10 * MIB * t - 100 * MIB * max(0, t - 57.5), 60, 0.1)))
    assert ahead.fill_bytes_per_s == pytest.approx(10 * MIB, rel=0.1)
    assert not ahead.is_within_reach


def test_forecast_of_a_leak_that_pauses_is_kept_by_the_longer_windows() -> None:
    ahead = forecast(after(course(lambda t: 2 * GIB - 20 * MIB * min(t, 57), 60, 0.1)))
    assert ahead.fill_bytes_per_s == pytest.approx(20 * MIB, rel=0.1)
    assert ahead.is_within_reach


def test_forecast_of_a_load_that_stopped_is_gone_before_long() -> None:
    ahead = forecast(after(course(lambda t: 12 * GIB - 2 * GIB * min(t, 4), 25, 0.1)))
    assert ahead == Forecast()


@pytest.mark.parametrize("every_s", [0.1, 0.5, 2.0])
def test_forecast_of_white_noise_is_seen_at_one_look_in_a_hundred_at_most(every_s: float) -> None:
    seen = 0
    for seed in range(3):
        noise, history = random.Random(seed), History()
        for n in range(1000):
            history = remember(history, look(n * every_s, 4 * GIB + noise.gauss(0, GIB)))
            seen += forecast(history).is_within_reach
    assert seen <= 30


@given(
    st.lists(st.integers(0, 4 * GIB), min_size=8, max_size=40),
    st.floats(0.05, 3),
    st.integers(0, 12 * GIB),
)
def test_forecast_does_not_depend_on_how_much_there_is_but_for_the_time_left(
    values: list[int], every_s: float, more_bytes: int
) -> None:
    less = forecast(after(look(n * every_s, value) for n, value in enumerate(values)))
    more = forecast(after(look(n * every_s, value + more_bytes) for n, value in enumerate(values)))
    if less.exhausted_in_s is None:
        assert more == less
    elif more.is_within_reach:
        assert less.is_within_reach
        assert more.exhausted_in_s is not None
        assert less.exhausted_in_s <= more.exhausted_in_s


@given(st.floats(1e-6, 5), st.integers(0, 4000))
def test_remember_keeps_few_points_however_often_it_looks(every_s: float, looks: int) -> None:
    history = after(look(n * every_s, 8 * GIB - n) for n in range(looks))
    for points, length_s in zip(history.windows, WINDOWS_S, strict=True):
        assert len(points) <= POINTS_PER_WINDOW + 2
        assert all(earlier[0] < later[0] for earlier, later in pairwise(points))
        assert not points or points[-1][0] - points[0][0] <= length_s


def test_remember_thinned_out_spans_the_whole_window() -> None:
    history = after(course(lambda t: 8 * GIB, 200, 0.01))
    for points, length_s in zip(history.windows, WINDOWS_S, strict=True):
        assert points[-1][0] == 200
        assert points[-1][0] - points[0][0] > 0.85 * length_s
        assert len(points) >= POINTS_PER_WINDOW - 1


@pytest.mark.parametrize("at_s", [10.0, 10.0005, 9.0, -50.0, math.nan, math.inf, -math.inf])
def test_remember_of_a_time_that_is_not_later_changes_nothing(at_s: float) -> None:
    history = after([look(9.5, 8 * GIB), look(10, 8 * GIB)])
    assert remember(history, look(at_s, 3 * GIB)) is history


@pytest.mark.parametrize(
    "sample",
    [
        pytest.param(look(1000.0 + 3 * 3600, 5 * GIB), id="hours later"),
        pytest.param(look(1000.5, 5 * GIB, 32 * GIB), id="another total"),
        pytest.param(look(900.0, 5 * GIB), id="a clock set back"),
    ],
)
def test_remember_after_a_break_begins_anew(sample: Sample) -> None:
    history = after(look(940 + n, 8 * GIB - n * 50 * MIB) for n in range(61))
    assert forecast(history).exhausted_in_s is not None
    begun = remember(history, sample)
    assert begun.windows == (((sample.at_s, 5 * GIB),),) * len(WINDOWS_S)
    assert forecast(begun) == Forecast()
    assert latest_fill_bytes_per_s(history, begun) == 0


def test_latest_fill_is_the_change_since_the_look_before() -> None:
    before = after([look(1, 8 * GIB), look(2, 8 * GIB)])
    now = remember(before, look(2.5, 7 * GIB))
    assert latest_fill_bytes_per_s(before, now) == 2 * GIB
    assert latest_fill_bytes_per_s(History(), before) == 0
    assert latest_fill_bytes_per_s(now, now) == 0


@pytest.mark.parametrize(
    ("total_bytes", "available_bytes", "expected"),
    [
        (16, 4, (16, 4)),
        (16, -1, (16, 0)),
        (16, 17, (16, 16)),
        (0, 5, (0, 0)),
        (-3, -5, (0, 0)),
        (10**400, 10**399, (BYTES_MAX, BYTES_MAX)),
    ],
)
def test_bounded_takes_the_nearest_that_is_possible(
    total_bytes: int, available_bytes: int, expected: tuple[int, int]
) -> None:
    assert bounded(Sample("ram", 0.0, total_bytes, available_bytes)) == expected
