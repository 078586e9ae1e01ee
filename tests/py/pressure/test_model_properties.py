"""What holds of every course of looks, however hostile."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.base.config import ForecastConfig, RamConfig
from greenboost_py.pressure.forecast import POINTS_PER_WINDOW
from greenboost_py.pressure.levels import Assessment, Level, Sample
from greenboost_py.pressure.model import CALM_S, Limits, State, limits_of, step, threshold_level

GIB = 1 << 30
TOTAL = 16 * GIB

any_integer = st.integers() | st.sampled_from([0, -1, 2**63, 2**64, 10**400, -(10**400)])
any_sample = st.builds(
    Sample,
    st.just("ram"),
    st.floats() | st.floats(0, 100),
    any_integer | st.just(TOTAL),
    any_integer | st.integers(0, TOTAL),
)
any_limits = st.builds(
    Limits,
    any_integer,
    any_integer,
    any_integer,
    st.floats(min_value=0),
    st.floats(min_value=0),
    st.floats(min_value=0),
)
ordered_limits = st.builds(
    lambda sizes, times: Limits(*sorted(sizes, reverse=True), *sorted(times, reverse=True)),
    st.tuples(*[st.integers(0, TOTAL)] * 3),
    st.tuples(*[st.floats(0, 300)] * 3),
)
steps_s = st.sampled_from([0.001, 0.1, 0.5, 2.0, 30.0]) | st.floats(0.001, 10)
amounts = st.integers(0, TOTAL)


@st.composite
def courses(draw: st.DrawFn) -> list[tuple[float, int]]:
    """Times that go on, and amounts that jump, or go on as before for a while."""
    looks: list[tuple[float, int]] = []
    at_s, available_bytes = 0.0, draw(amounts)
    for _ in range(draw(st.integers(1, 6))):
        every_s, change = draw(steps_s), draw(st.just(0) | st.integers(-GIB, GIB))
        available_bytes = draw(st.just(available_bytes) | amounts)
        for _ in range(draw(st.integers(1, 15))):
            at_s += every_s
            available_bytes = min(max(available_bytes + change, 0), TOTAL)
            looks.append((at_s, available_bytes))
    return looks


def assess(samples: Sequence[Sample], limits: Limits) -> list[tuple[State, Assessment]]:
    steps = accumulate(
        samples, lambda past, sample: step(past[0], sample, limits), initial=step(State(), samples[0], limits)
    )
    return list(steps)[1:]


def of_ram(looks: Sequence[tuple[float, int]], less_bytes: int = 0) -> list[Sample]:
    return [Sample("ram", at_s, TOTAL, available_bytes - less_bytes) for at_s, available_bytes in looks]


@given(st.lists(any_sample, min_size=1, max_size=30), any_limits)
def test_step_on_anything_gives_the_same_twice_and_never_raises(samples: list[Sample], limits: Limits) -> None:
    first, second = assess(samples, limits), assess(samples, limits)
    assert first == second
    for (state, assessment), sample in zip(first, samples, strict=True):
        assert assessment.sample is sample
        assert (state.level, state.reason, state.since_s) == (assessment.level, assessment.reason, assessment.since_s)
        assert (assessment.reason is None) == (assessment.level is Level.OK)
        assert assessment.exhausted_in_s is None or (assessment.exhausted_in_s >= 0 and assessment.fill_bytes_per_s > 0)
        assert all(len(points) <= POINTS_PER_WINDOW + 2 for points in state.history.windows)


@given(st.lists(any_sample, min_size=1, max_size=30), any_limits)
def test_step_is_never_later_than_the_threshold(samples: list[Sample], limits: Limits) -> None:
    for _, assessment in assess(samples, limits):
        sample = assessment.sample
        if 0 <= sample.available_bytes <= sample.total_bytes < 2**64:
            assert assessment.level >= threshold_level(sample.available_bytes, limits)


@given(courses(), ordered_limits)
def test_step_crosses_no_border_downwards_twice_within_the_time_that_counts(
    looks: list[tuple[float, int]], limits: Limits
) -> None:
    assessments = [assessment for _, assessment in assess(of_ram(looks), limits)]
    for border in (Level.OK, Level.NOTICE, Level.WARN):
        crossed_s = [
            after.sample.at_s for before, after in pairwise(assessments) if after.level <= border < before.level
        ]
        assert all(later - earlier >= CALM_S for earlier, later in pairwise(crossed_s))


@given(courses(), ordered_limits, st.data())
def test_step_with_less_available_all_the_time_is_never_at_a_lower_level(
    looks: list[tuple[float, int]], limits: Limits, data: st.DataObject
) -> None:
    # The same course, lower by a constant: with other slopes nothing of the kind holds, nor should it.
    less_bytes = data.draw(st.integers(0, min(available_bytes for _, available_bytes in looks)))
    more, less = assess(of_ram(looks), limits), assess(of_ram(looks, less_bytes), limits)
    for (_, with_more), (_, with_less) in zip(more, less, strict=True):
        assert with_less.level >= with_more.level


@given(amounts, amounts, any_limits)
def test_threshold_level_of_less_is_never_lower(one_bytes: int, other_bytes: int, limits: Limits) -> None:
    assert threshold_level(min(one_bytes, other_bytes), limits) >= threshold_level(max(one_bytes, other_bytes), limits)


@given(
    st.sampled_from([Level.NOTICE, Level.WARN, Level.CRITICAL]),
    st.lists(st.floats(-1, 1), min_size=2, max_size=80),
    steps_s,
)
def test_step_on_noise_within_the_margin_changes_its_level_once_at_most(
    level: Level, noise: list[float], every_s: float
) -> None:
    limits = limits_of(RamConfig(), ForecastConfig(notice_s=0, warn_s=0, critical_s=0), TOTAL)
    threshold_bytes = (limits.notice_bytes, limits.warn_bytes, limits.critical_bytes)[level - 1]
    looks = [(n * every_s, threshold_bytes + int(each * threshold_bytes / 10)) for n, each in enumerate(noise)]
    levels = [assessment.level for _, assessment in assess(of_ram(looks), limits)]
    assert sum(before is not after for before, after in pairwise(levels)) <= 1
    assert levels == sorted(levels)
