"""The level of a resource: thresholds on what is available and on the time left, with hysteresis. Pure.

Upwards. At or below a threshold its level is reached at once: CRITICAL is never later than the look that shows it. By
the forecast a level is reached when two looks in a row say so.

A forecast is one level ahead of the thresholds, never more: it gives NOTICE while there is plenty, WARN at or below the
threshold of NOTICE, CRITICAL at or below that of WARN. Something that fills 100 GiB at 5 GiB/s is 20 s from the end,
but nearly always it is a model being loaded, which stops, and until it does nothing tells the two apart. So while
there is plenty it goes into the journal, and nobody is called. What that costs: a fall that would have made WARN by the
time left while there was plenty makes it at the threshold of NOTICE, by default with a fifth of RAM left. That
is still twice as early as the threshold of WARN, and who wants it earlier raises `notice`.

Downwards. A level is left when what is available has been above its threshold by a margin, and the time left above its
limit by half, for five seconds without a break; then at once for the lowest level of which that is true. So no border
between two levels is crossed downwards more than once in five seconds, whatever is measured.
"""

from dataclasses import dataclass, field

from greenboost_py.base.config import Config, ForecastConfig, GttConfig, RamConfig, VramConfig
from greenboost_py.pressure.forecast import Forecast, History, bounded, forecast, latest_fill_bytes_per_s, remember
from greenboost_py.pressure.levels import Assessment, Level, Reason, Sample

CALM_S = 5.0
"""How long it must have been better before it is called better: longer than programs pause between allocations."""

MARGIN_DIVISOR = 10
"""The margin is a tenth of the threshold, and..."""

FLOOR_DIVISOR = 512
"""... 1/512 of the total, 32 MiB of 16 GiB, so that a low threshold has one too."""

LONGER = 1.5
"""The time left is clearly longer than a limit from this multiple of it on."""

_LOWER = (Level.OK, Level.NOTICE, Level.WARN)
"""The levels that another can go down to."""

Section = RamConfig | VramConfig | GttConfig


@dataclass(frozen=True, slots=True)
class Limits:
    """When which level is reached.

    Attributes:
        notice_bytes, warn_bytes, critical_bytes: at or below so much available; none is less than the next.
        notice_s, warn_s, critical_s: with so little time left, or less; 0: off.
    """

    notice_bytes: int
    warn_bytes: int
    critical_bytes: int
    notice_s: float = 0.0
    warn_s: float = 0.0
    critical_s: float = 0.0


@dataclass(frozen=True, slots=True)
class State:
    """What of a resource's past the next look needs; without arguments: nothing is known yet.

    Attributes:
        level: the newest.
        reason: what it is due to; None at OK.
        since_s: when it was reached; None before the first look.
        history: the recent looks, thinned out.
        forecast_level: by the newest forecast alone, before it is held to one level above the thresholds.
        confirmed_level: likewise, by the two newest forecasts in a row.
        calm_since_s: for OK, NOTICE and WARN: since when nothing has spoken for a higher level, hysteresis included;
            None: something does.
    """

    level: Level = Level.OK
    reason: Reason | None = None
    since_s: float | None = None
    history: History = field(default_factory=History)
    forecast_level: Level = Level.OK
    confirmed_level: Level = Level.OK
    calm_since_s: tuple[float | None, ...] = (None,) * len(_LOWER)


def section_of(config: Config, resource: str) -> Section:
    """The thresholds for a resource. A memory cgroup has those of RAM, as shares of its limit."""
    sections: dict[str, Section] = {"vram": config.vram, "gtt": config.gtt}
    return sections.get(resource.partition(":")[0], config.ram)


def limits_of(section: Section, near: ForecastConfig, total_bytes: int) -> Limits:
    """The limits on one resource.

    Shares and bytes may be mixed, so the configuration's loader cannot see every disorder: here no level is reached
    later than a worse one. A forecast gives no level of VRAM: programs fill a card on purpose, within milliseconds.

    Args:
        section: the thresholds.
        near: the times.
        total_bytes: what the shares are of.
    """
    critical_bytes = section.critical.resolve(total_bytes)
    warn_bytes = max(section.warn.resolve(total_bytes), critical_bytes)
    notice_bytes = max(section.notice.resolve(total_bytes), warn_bytes)
    if isinstance(section, VramConfig):
        return Limits(notice_bytes, warn_bytes, critical_bytes)
    return Limits(notice_bytes, warn_bytes, critical_bytes, near.notice_s, near.warn_s, near.critical_s)


def threshold_level(available_bytes: int, limits: Limits) -> Level:
    """The level by what is available alone, without any past."""
    if available_bytes <= limits.critical_bytes:
        return Level.CRITICAL
    if available_bytes <= limits.warn_bytes:
        return Level.WARN
    return Level.NOTICE if available_bytes <= limits.notice_bytes else Level.OK


def step(state: State, sample: Sample, limits: Limits) -> tuple[State, Assessment]:
    """Takes one look into account.

    Any sample is accepted, with impossible figures taken as the nearest possible ones. One whose time is not later than
    the last one's counts against the thresholds and is not remembered.

    Args:
        state: of the same resource, after the last look.
        sample: the look.
        limits: they may differ from the last ones.
    """
    total_bytes, available_bytes = bounded(sample)
    history = remember(state.history, sample)
    is_remembered = history is not state.history
    ahead = forecast(history)
    by_time = _level_by_time(ahead, limits, 1.0)
    confirmed = min(by_time, state.forecast_level if is_remembered else state.confirmed_level)
    by_threshold = threshold_level(available_bytes, limits)
    kept_by_threshold = threshold_level(available_bytes, _with_margins(limits, total_bytes))
    reached = _worse(by_threshold, confirmed)
    kept = _worse(kept_by_threshold, _level_by_time(ahead, limits, LONGER))

    now_s, before_s = history.at_s or 0.0, state.history.at_s or 0.0
    calm_since_s = _calm_since_s(state.calm_since_s if now_s >= before_s else State().calm_since_s, kept, now_s)
    level = max(reached, min(state.level, _lowest_calm(calm_since_s, now_s)))
    has_changed = level is not state.level or state.since_s is None or state.since_s > now_s
    after = State(
        level=level,
        reason=_reason(level, state, by_threshold, reached, kept_by_threshold),
        since_s=now_s if has_changed else state.since_s,
        history=history,
        forecast_level=by_time,
        confirmed_level=confirmed,
        calm_since_s=calm_since_s,
    )
    return after, Assessment(
        sample=sample,
        level=level,
        reason=after.reason,
        exhausted_in_s=ahead.exhausted_in_s,
        fill_bytes_per_s=ahead.fill_bytes_per_s,
        since_s=now_s if after.since_s is None else after.since_s,
        latest_fill_bytes_per_s=latest_fill_bytes_per_s(state.history, history),
    )


def _with_margins(limits: Limits, total_bytes: int) -> Limits:
    """Thresholds that are higher by their margins, but below the total: at that, nothing is short."""

    def raised(threshold_bytes: int) -> int:
        margin_bytes = threshold_bytes // MARGIN_DIVISOR + total_bytes // FLOOR_DIVISOR
        return max(threshold_bytes, min(threshold_bytes + margin_bytes, total_bytes - 1))

    return Limits(raised(limits.notice_bytes), raised(limits.warn_bytes), raised(limits.critical_bytes))


def _level_by_time(ahead: Forecast, limits: Limits, factor: float) -> Level:
    """The level that the time left stands for, with every limit on it multiplied by `factor`."""
    left_s = ahead.exhausted_in_s
    if left_s is None or not ahead.is_within_reach:
        return Level.OK
    limits_s = (Level.CRITICAL, limits.critical_s), (Level.WARN, limits.warn_s), (Level.NOTICE, limits.notice_s)
    return next((level for level, limit_s in limits_s if limit_s > 0 and left_s <= limit_s * factor), Level.OK)


def _worse(by_threshold: Level, by_time: Level) -> Level:
    """Of the two together: the forecast counts for at most one level above what the thresholds say."""
    return max(by_threshold, min(by_time, Level(min(by_threshold + 1, Level.CRITICAL))))


def _calm_since_s(before: tuple[float | None, ...], kept: Level, now_s: float) -> tuple[float | None, ...]:
    """For each lower level, since when the level that is kept has been no higher."""
    return tuple(
        None if kept > level else now_s if since_s is None else since_s
        for level, since_s in zip(_LOWER, before, strict=True)
    )


def _lowest_calm(calm_since_s: tuple[float | None, ...], now_s: float) -> Level:
    """The lowest level that has held for long enough."""
    for level, since_s in zip(_LOWER, calm_since_s, strict=True):
        if since_s is not None and now_s - since_s >= CALM_S:
            return level
    return Level.CRITICAL


def _reason(level: Level, state: State, by_threshold: Level, reached: Level, kept_by_threshold: Level) -> Reason | None:
    """What a level is due to: what speaks for it now; else what it was due to; else what keeps it from being left."""
    if level is Level.OK:
        return None
    if by_threshold >= level:
        return Reason.THRESHOLD
    if reached >= level:
        return Reason.FORECAST
    if level is state.level:
        return state.reason
    return Reason.THRESHOLD if kept_by_threshold >= level else Reason.FORECAST
