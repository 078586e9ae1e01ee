"""When a resource will be exhausted, from how it went of late. Pure.

How a trend is found. The last 2, 6, 20 and 60 seconds are looked at separately: each window is about three times the
one before, so a fall that has lasted anything from a second to a minute makes up most of one of them. In each
window the slope is the median of the slopes between all pairs of points (Theil-Sen), which a spike hardly moves: up to
29 % of the points may be anywhere.

When it is believed. All of these hold:

- There are at least six points. Since points that are close to each other are thinned out, they lie over a third of the
  window or more.
- The change over the window is above five times the upper quartile of the points' distances from the line. (The median
  of the distances is too kind a measure: of six points, half may well be on the line by chance.)
- Each half of the window goes the same way by itself, at no less than 70 % of that rate. A step, however high, has a
  calm half: it is no trend. So a spike ends nothing, and a load that has stopped is soon forgotten.

How far it reaches. A fall that has lasted T is taken to go on for at most 4 T: nothing else is known of it. So nothing
is said of the end before the fall has gone a fifth of the way to it, and most of what starts and stops on an ordinary
day never does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from greenboost_py.pressure.levels import Sample

Point = tuple[float, int]
"""A time in seconds, and the bytes available then."""

WINDOWS_S = (2.0, 6.0, 20.0, 60.0)

POINTS_PER_WINDOW = 12
"""Points closer than a twelfth of the window are thinned out: at most 14 are left, with 91 slopes between them."""

LEAST_POINTS = 6

NOISE_FACTOR = 5.0

STEADY_SHARE = 0.7

REACH = 4.0

LEAST_STEP_S = 0.001
"""Looks closer to each other than this are one look."""

BYTES_MAX = 2**64 - 1


@dataclass(frozen=True, slots=True)
class History:
    """What is remembered of a resource: at most 14 points for each window, however often it is looked at.

    Attributes:
        at_s: the newest time; None before the first look.
        total_bytes: all there was of the resource then.
        windows: for each window its points, oldest first.
    """

    at_s: float | None = None
    total_bytes: int = 0
    windows: tuple[tuple[Point, ...], ...] = ((),) * len(WINDOWS_S)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the trend is, and what follows.

    Attributes:
        fill_bytes_per_s: the present rate; 0: no trend beats the noise; negative: memory is being given back.
        exhausted_in_s: how long what is available lasts at this rate; None: it is not getting less.
        is_within_reach: whether the fall has lasted long enough to say so.
    """

    fill_bytes_per_s: float = 0.0
    exhausted_in_s: float | None = None
    is_within_reach: bool = False


@dataclass(frozen=True, slots=True)
class _Trend:
    """A believable trend in one window: its rate (positive: filling) and the time it was seen for."""

    fill_bytes_per_s: float
    span_s: float


def bounded(sample: Sample) -> tuple[int, int]:
    """The sample's total and available bytes, within what is possible: 0 <= available <= total < 2^64."""
    total_bytes = min(max(sample.total_bytes, 0), BYTES_MAX)
    return total_bytes, min(max(sample.available_bytes, 0), total_bytes)


def remember(history: History, sample: Sample) -> History:
    """Adds a look.

    Returns:
        The same object where there is nothing to add: the time is not later than the newest, or is no number.
        Everything before is forgotten where the total has changed, where the clock was set back by more than the
        longest window, and what is older than that anyway: after a suspension nothing is left.
    """
    if not math.isfinite(sample.at_s):
        return history
    total_bytes, available_bytes = bounded(sample)
    if history.at_s is not None:
        passed_s = sample.at_s - history.at_s
        if -WINDOWS_S[-1] <= passed_s < LEAST_STEP_S:
            return history
        if passed_s < 0 or total_bytes != history.total_bytes:
            history = History()
    point = sample.at_s, available_bytes
    windows = (_extended(points, point, length_s) for points, length_s in zip(history.windows, WINDOWS_S, strict=True))
    return History(sample.at_s, total_bytes, tuple(windows))


def forecast(history: History) -> Forecast:
    """The trend that counts.

    Of falls within reach, the one that ends soonest. Else the fall that was seen for longest; else, what is being given
    back, by the shortest window.
    """
    trends = [trend for points in history.windows if (trend := _trend(points)) is not None]
    if not trends:
        return Forecast()
    available_bytes = history.windows[-1][-1][1]
    falls = [(trend, available_bytes / trend.fill_bytes_per_s) for trend in trends if trend.fill_bytes_per_s > 0]
    if not falls:
        return Forecast(trends[0].fill_bytes_per_s)
    near = [(exhausted_in_s, trend) for trend, exhausted_in_s in falls if exhausted_in_s <= REACH * trend.span_s]
    if near:
        exhausted_in_s, trend = min(near, key=lambda each: each[0])
        return Forecast(trend.fill_bytes_per_s, exhausted_in_s, is_within_reach=True)
    trend, exhausted_in_s = max(falls, key=lambda each: each[0].span_s)
    return Forecast(trend.fill_bytes_per_s, exhausted_in_s)


def latest_fill_bytes_per_s(before: History, after: History) -> float:
    """The change between the two newest looks, be it a trend or not; 0 where they cannot be compared.

    Args:
        before: after the last look but one.
        after: `before` with one look more, or the same.
    """
    if after is before or not before.windows[-1] or len(after.windows[-1]) < 2:
        return 0.0
    (was_s, was_bytes), (now_s, now_bytes) = before.windows[-1][-1], after.windows[-1][-1]
    return (was_bytes - now_bytes) / (now_s - was_s)


def _extended(points: tuple[Point, ...], point: Point, length_s: float) -> tuple[Point, ...]:
    """A window's points with a new one, without those that are too old.

    The newest point is always there. It makes way for the next one while it is too close to the one before it.
    """
    at_s = point[0]
    if len(points) > 1 and points[-1][0] - points[-2][0] < length_s / POINTS_PER_WINDOW:
        points = points[:-1]
    return *(old for old in points if at_s - old[0] <= length_s), point


def _trend(points: Sequence[Point]) -> _Trend | None:
    """The trend of a window's points; None where none is believable."""
    if len(points) < LEAST_POINTS:
        return None
    newest_s, newest_bytes = points[-1]
    span_s = newest_s - points[0][0]
    slope = _slope(points)
    if slope == 0:
        return None
    # Relative to the newest point: where the line lies makes no difference, nor does it to the rounding.
    heights = [available - newest_bytes - slope * (at_s - newest_s) for at_s, available in points]
    middle = _median(heights)
    distances = sorted(abs(height - middle) for height in heights)
    if abs(slope) * span_s <= NOISE_FACTOR * distances[len(distances) * 3 // 4]:
        return None
    half = len(points) // 2
    if min(_slope(points[: half + 1]) / slope, _slope(points[half:]) / slope) < STEADY_SHARE:
        return None
    return _Trend(-slope, span_s)


def _slope(points: Sequence[Point]) -> float:
    """The median of the slopes between all pairs, in bytes per second."""
    return _median([(b - a) / (t - s) for (s, a), (t, b) in combinations(points, 2)])


def _median(values: list[float]) -> float:
    values.sort()
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2
