"""Values of the configuration that are each accepted and do not go together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from greenboost_py.base.config import Config
from greenboost_py.base.config_values import size_text
from greenboost_py.base.units import Size


@dataclass(frozen=True, slots=True)
class Misfit:
    """Two values that are each accepted and do not go together.

    Attributes:
        section: where both are.
        smaller: the key that is less than it may be, and its value as text.
        larger: the key that it may not be less than, and its value as text.
    """

    section: str
    smaller: tuple[str, str]
    larger: tuple[str, str]


def misfits(config: Config) -> Iterator[Misfit]:
    """Levels that are not reached in their order, and a longest time that is shorter than the shortest.

    A share and a number of bytes are not compared: how they compare depends on the machine.
    """
    for section in ("ram", "vram", "gtt"):
        sizes: list[Size] = [getattr(getattr(config, section), name) for name in ("notice", "warn", "critical")]
        for i, j in _disorder([size.value for size in sizes], [size.is_share for size in sizes]):
            names = list(zip(("notice", "warn", "critical"), map(size_text, sizes), strict=True))
            yield Misfit(section, names[i], names[j])
    near = config.forecast.notice_s, config.forecast.warn_s, config.forecast.critical_s
    for i, j in _disorder(near, [value > 0 for value in near]):
        if near[i] > 0:  # 0 is off
            texts = [f"{value:g}" for value in near]
            names = list(zip(("notice_s", "warn_s", "critical_s"), texts, strict=True))
            yield Misfit("forecast", names[i], names[j])
    fastest, slowest = config.poll.fastest_s, config.poll.slowest_s
    if slowest < fastest:
        yield Misfit("poll", ("slowest_s", f"{slowest:g}"), ("fastest_s", f"{fastest:g}"))


def _disorder(values: Sequence[float], kinds: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Neighbours among three values of one kind of which the first is less than the second, by their places."""
    for i, j in ((0, 1), (1, 2), (0, 2)):
        is_between = j - i == 2 and kinds[1] == kinds[0]
        if kinds[i] == kinds[j] and not is_between and values[i] < values[j]:
            yield i, j
