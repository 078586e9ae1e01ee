"""The limit on the RAM that GPU drivers may take (pages_limit of TTM): set, lowered while RAM is CRITICAL, put back.

The limit is a soft one: a driver that wants more has buffers swapped out to shmem, and takes the pages anyway where
none can be. So it is never lowered below what is in use, which would push out what is being worked with.

What was changed is put back when the daemon ends by itself. After a crash it stays: the next start cannot know what an
administrator would want; a boot setting comes back with the next boot. A value that somebody else has set since is left
as it is, always.

Source: drivers/gpu/drm/ttm/ttm_tt.c, ttm_tt_populate; ttm_device.c, ttm_global_init.
"""

import enum

from greenboost_py.base.config import TtmConfig
from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.pressure.levels import Level
from greenboost_py.sensors.ttm import PAGE_BYTES, read_ttm

LOWEST_PAGES = 16384
"""64 MiB: a display's buffers. Less would be no limit but a stop, and 0 is what a module reads that has no GPU yet."""

RESTORE_AFTER_S = 60.0
"""RAM must have been OK for so long before drivers may take more of it again."""

CHANGE_EVERY_S = 60.0
"""At least so many seconds between two changes: whatever the level does, the limit does not swing with it."""


def lowered_pages(limit_pages: int, in_use_bytes: int) -> int | None:
    """The limit that keeps drivers from taking more than they have; None: the limit is no higher than that.

    Args:
        limit_pages: the limit now; 0, which no module has that is in use, is left alone.
        in_use_bytes: what GPU drivers hold of RAM.
    """
    pages = max(LOWEST_PAGES, -(-in_use_bytes // PAGE_BYTES))
    return pages if pages < limit_pages else None


def default_pages(ram_total_bytes: int) -> int:
    """The kernel's own limit, half of RAM; it sets it when the first GPU is set up, if none is set."""
    return ram_total_bytes // PAGE_BYTES // 2


class Step(enum.Enum):
    """What to do with the limits now."""

    LOWER = "lower"
    RESTORE = "restore"


class Episode:
    """When to lower, and when to restore: once each from the first CRITICAL until RAM has been OK for a while. Pure."""

    def __init__(self) -> None:
        self._is_on = False
        self._ok_since_s: float | None = None
        self._changed_at_s: float | None = None

    def step(self, level: Level, at_s: float, can_lower: bool = True) -> Step | None:
        """What to do, which counts as done.

        Args:
            level: of RAM, at every look.
            at_s: now, in seconds of a clock that never goes back.
            can_lower: whether it is known to what.
        """
        if level is not Level.OK:
            self._ok_since_s = None
        elif self._ok_since_s is None:
            self._ok_since_s = at_s
        if self._changed_at_s is not None and at_s - self._changed_at_s < CHANGE_EVERY_S:
            return None
        if level is Level.CRITICAL and not self._is_on and can_lower:
            step = Step.LOWER
        elif self._is_on and self._ok_since_s is not None and at_s - self._ok_since_s >= RESTORE_AFTER_S:
            step = Step.RESTORE
        else:
            return None
        self._is_on = step is Step.LOWER
        self._changed_at_s = at_s
        return step


class TtmLimit:
    """Keeps the limits of every module as configured. Each method returns lines for the journal.

    Args:
        root: where the parameters are.
        config: what to do.
        ram_total_bytes: all the RAM there is.
    """

    def __init__(self, root: SysRoot, config: TtmConfig, ram_total_bytes: int) -> None:
        self._root = root
        self._config = config
        self._ram_total_bytes = ram_total_bytes
        self._episode = Episode()
        self._found: dict[str, int] = {}
        """What each module had before we changed it."""
        self._before_lowering: dict[str, int] = {}
        self._ours: dict[str, int] = {}
        """What we set last, where that is still ours."""

    def start(self) -> list[str]:
        """Sets the configured limit, if there is one, in every module that is there."""
        if self._config.limit is None:
            return []
        pages = self._config.limit.resolve(self._ram_total_bytes) // PAGE_BYTES
        if pages < LOWEST_PAGES:
            return [
                f"ttm.limit: {pages} pages are too few: at least {LOWEST_PAGES} ({LOWEST_PAGES * PAGE_BYTES >> 20} MiB)"
            ]
        limits, lines = self._read()
        for module, found in limits.items():
            if found != pages:
                lines += self._set(module, found, pages)
        return lines

    def look(self, level: Level, in_use_bytes: int | None, at_s: float) -> list[str]:
        """Lowers the limits, or restores them, when it is time to.

        Args:
            level: of RAM.
            in_use_bytes: what GPU drivers hold of it; None: not known, so nothing is lowered.
            at_s: now, in seconds of a clock that never goes back.
        """
        if not self._config.lower_when_critical:
            return []
        step = self._episode.step(level, at_s, in_use_bytes is not None)
        if step is Step.LOWER and in_use_bytes is not None:
            return self._lower(in_use_bytes)
        return self._put_back(self._before_lowering) if step is Step.RESTORE else []

    def stop(self) -> list[str]:
        """Puts back what was found, in every module that still has what was set here."""
        self._before_lowering.clear()
        return self._put_back(self._found)

    def _lower(self, in_use_bytes: int) -> list[str]:
        limits, lines = self._read()
        for module, limit in limits.items():
            pages = lowered_pages(limit, in_use_bytes)
            if pages is not None:
                self._before_lowering[module] = limit
                lines += self._set(module, limit, pages)
        return lines

    def _put_back(self, values: dict[str, int]) -> list[str]:
        limits, lines = self._read()
        for module, before in list(values.items()):
            ours = self._ours.get(module)
            # A module without a GPU reads 0. Where it has got one since, 0 would mean: no memory at all.
            pages = before or default_pages(self._ram_total_bytes)
            if ours is None or ours == pages or module not in limits:
                continue
            if limits[module] == ours:
                lines += self._set(module, ours, pages)
            else:
                lines.append(f"{module}.pages_limit: {limits[module]} was set by somebody else, and is left as it is")
                self._forget(module)
        values.clear()
        return lines

    def _set(self, module: str, found: int, pages: int) -> list[str]:
        """Writes a limit, and reads it back."""
        path = f"sys/module/{module}/parameters/pages_limit"
        if self._ours.get(module, found) != found:
            self._found.pop(module, None)  # somebody else's value: there is no way back behind it
        try:
            self._root.write_text(path, str(pages))
            now = self._read()[0].get(module)
        except SensorError as error:
            return [f"ttm: {error}"]
        if now != pages:
            return [f"{module}.pages_limit: {pages} was written, and {now} is read back"]
        self._found.setdefault(module, found)
        self._ours[module] = pages
        return [f"{module}.pages_limit: {found} → {pages}"]

    def _forget(self, module: str) -> None:
        for values in (self._ours, self._found):
            values.pop(module, None)

    def _read(self) -> tuple[dict[str, int], list[str]]:
        try:
            readings = read_ttm(self._root)
        except SensorError as error:
            return {}, [f"ttm: {error}"]
        return {r.module: r.pages_limit for r in readings if r.pages_limit is not None}, []
