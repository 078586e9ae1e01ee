"""The daemon's configuration: every key, its default and what it means, in one place.

The classes below are the list. The loader (base/config_file.py), the commented file that `greenboost service install`
writes and docs/configuration.md are made from their fields.
"""

from dataclasses import dataclass, field
from typing import Any

from greenboost_py.base.units import Size, parse_size


def _key(default: Any, help: str) -> Any:
    """A key: its default, and one line on what it means."""
    return field(default=default, metadata={"help": help})


def _size_key(default: str, help: str) -> Any:
    return _key(parse_size(default), help)


@dataclass(frozen=True, slots=True)
class RamConfig:
    """When RAM is short. A share is of MemTotal; what is compared is what can really be had, not MemAvailable."""

    notice: Size = _size_key("20%", "level NOTICE at or below this much available")
    warn: Size = _size_key("10%", "level WARN at or below this much")
    critical: Size = _size_key("5%", "level CRITICAL at or below this much: no lease is granted any more")


@dataclass(frozen=True, slots=True)
class VramConfig:
    """When the memory of a card is short. A share is of the card's total. Programs may well fill a card on purpose."""

    notice: Size = _size_key("5%", "level NOTICE at or below this much free")
    warn: Size = _size_key("2%", "level WARN at or below this much")
    critical: Size = _size_key("0.5%", "level CRITICAL at or below this much")


@dataclass(frozen=True, slots=True)
class GttConfig:
    """When an AMD GPU's share of RAM is short. A share is of mem_info_gtt_total."""

    notice: Size = _size_key("10%", "level NOTICE at or below this much free")
    warn: Size = _size_key("5%", "level WARN at or below this much")
    critical: Size = _size_key("2%", "level CRITICAL at or below this much")


@dataclass(frozen=True, slots=True)
class ForecastConfig:
    """When something will be short: the time until nothing is left, at the present rate."""

    notice_s: float = _key(120.0, "level NOTICE if that is nearer than so many seconds; 0: no forecast")
    warn_s: float = _key(30.0, "level WARN, likewise")
    critical_s: float = _key(0.0, "level CRITICAL, likewise")


@dataclass(frozen=True, slots=True)
class LeaseConfig:
    """How much host memory programs may have. A share is of MemTotal."""

    reserve: Size | None = _key(
        None,
        "RAM that stays available after a grant (in a memory cgroup at most 1/16 of its limit); unset: 1/16 of RAM,"
        " within 256 MiB and 4 GiB",
    )
    per_process: Size | None = _key(None, "the most one process may hold; unset: no cap of its own")
    per_user: Size | None = _key(None, "the most the processes of one user may hold together; unset: no cap of its own")
    clients_per_user: int = _key(1024, "connections that one user may have")


@dataclass(frozen=True, slots=True)
class PollConfig:
    """How often the daemon looks."""

    fastest_s: float = _key(0.1, "the shortest time between two looks, in seconds")
    slowest_s: float = _key(2.0, "the longest, when nothing changes")
    psi: bool = _key(True, "have the kernel call when tasks stall for memory, where it can (from the next start)")
    nvml: bool = _key(
        True, "ask NVIDIA's driver about its GPUs; off lets the GPU of a laptop sleep (from the next start)"
    )
    nvml_deadline_s: float = _key(
        2.0, "a driver that takes longer than this is left alone until it answers (from the next start)"
    )


@dataclass(frozen=True, slots=True)
class NotifyConfig:
    """Who is told."""

    repeat_s: float = _key(60.0, "the same warning is not repeated within so many seconds")
    desktop: bool = _key(True, "signal warnings on the system bus, for the notifier on desktops")
    wall: str = _key("critical", "lowest level that is written to every terminal: warn, critical or off")
    vram: bool = _key(False, "tell people of short VRAM as well, not only the journal")


@dataclass(frozen=True, slots=True)
class HooksConfig:
    """Commands that are run when a level is reached, with the reading in their environment (GREENBOOST_*). No shell."""

    on_ok: tuple[str, ...] = _key((), "the command and its arguments, for a level that has gone back to OK")
    on_notice: tuple[str, ...] = _key((), "likewise, on reaching NOTICE")
    on_warn: tuple[str, ...] = _key((), "likewise, on reaching WARN")
    on_critical: tuple[str, ...] = _key((), "likewise, on reaching CRITICAL")
    timeout_s: float = _key(10.0, "a command that takes longer is ended")


@dataclass(frozen=True, slots=True)
class TtmConfig:
    """The limit on the RAM that GPU drivers may take (pages_limit of ttm and amdttm)."""

    limit: Size | None = _key(None, "set it when the daemon starts (share: of MemTotal); unset: left as it is")
    lower_when_critical: bool = _key(False, "lower it to what is in use while RAM is CRITICAL, and restore it after")


@dataclass(frozen=True, slots=True)
class TerminateConfig:
    """The last resort, off unless asked for."""

    largest_holder: bool = _key(False, "while RAM is CRITICAL, send SIGTERM to whoever holds most of it")
    after_s: float = _key(2.0, "only if it has been CRITICAL for so many seconds")
    spare: tuple[str, ...] = _key((), "names of programs that are never ended")


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """Figures for Prometheus, to whoever reaches them: there is no password and no TLS."""

    listen: str = _key(
        "127.0.0.1:9477",
        "address and port of /metrics; 0.0.0.0 or [::]: all addresses, which the service has to be allowed"
        " (greenboost service install --allow-metrics); empty: none",
    )


@dataclass(frozen=True, slots=True)
class Config:
    """All of it, by section."""

    ram: RamConfig = field(default_factory=RamConfig)
    vram: VramConfig = field(default_factory=VramConfig)
    gtt: GttConfig = field(default_factory=GttConfig)
    forecast: ForecastConfig = field(default_factory=ForecastConfig)
    lease: LeaseConfig = field(default_factory=LeaseConfig)
    poll: PollConfig = field(default_factory=PollConfig)
    notify: NotifyConfig = field(default_factory=NotifyConfig)
    hooks: HooksConfig = field(default_factory=HooksConfig)
    ttm: TtmConfig = field(default_factory=TtmConfig)
    terminate: TerminateConfig = field(default_factory=TerminateConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
