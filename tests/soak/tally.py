"""What is counted in a soak, and the report of it: one screen of 80 columns, and JSON."""

import json
from collections import Counter
from dataclasses import dataclass, field

from greenboost_py.base.units import format_size

WIDTH = 80
LEVELS = ("notice", "warn", "critical")


@dataclass
class Tally:
    """What happened so far.

    Attributes:
        started: programs by kind.
        ended: programs by how they ended.
        stillborn: programs and daemons that were killed while they started.
        daemons: daemons by how they ended, those that were stopped and went on among them.
        leases: of the daemons' own counters, summed over their lives as far as they were seen.
        levels: by kind of resource, levels that were seen, by name.
        intruders: by kind.
    """

    seed: int
    events: int = 0
    elapsed_s: float = 0.0
    started: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    stillborn: Counter[str] = field(default_factory=Counter)
    daemons: Counter[str] = field(default_factory=Counter)
    reloads: Counter[str] = field(default_factory=Counter)
    intruders: Counter[str] = field(default_factory=Counter)
    squeezes: int = 0
    least_left_bytes: int | None = None
    leases: Counter[str] = field(default_factory=Counter)
    reconnections: int = 0
    peak_bytes: int = 0
    quiets: int = 0
    checks: Counter[str] = field(default_factory=Counter)
    levels: dict[str, str] = field(default_factory=dict)
    warnings: int = 0
    longest_life: dict[str, int] = field(default_factory=dict)
    slowest_grant_ms: float = 0.0
    notes: list[str] = field(default_factory=list)
    failure: str | None = None
    is_interrupted: bool = False

    @property
    def verdict(self) -> str:
        """In a word or two, and why."""
        if self.failure is not None:
            return "FAILED"
        return "interrupted; nothing wrong so far" if self.is_interrupted else "passed"

    def saw_level(self, resource: str, level: str) -> None:
        """Keeps the highest level of each kind of resource."""
        kind = resource.partition(":")[0]
        if level in LEVELS and LEVELS.index(level) >= LEVELS.index(self.levels.get(kind, LEVELS[0])):
            self.levels[kind] = level

    def as_json(self) -> str:
        """Everything, for programs."""
        return json.dumps(vars(self) | {"verdict": self.verdict}, indent=2) + "\n"

    def progress(self) -> str:
        """One line while it runs."""
        held = f"{sum(self.started.values())} programs, {sum(self.daemons.values())} daemons ended or stopped"
        return f"{_duration(self.elapsed_s)}: {self.events} events, {held}, {sum(self.checks.values())} checks"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min {rest} s" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def screen(tally: Tally) -> str:
    """The report for people."""
    life, leases = tally.longest_life, tally.leases
    refused = {name: count for name, count in leases.items() if name.startswith("refused ")}
    rows = [
        ("length", f"{_duration(tally.elapsed_s)}, {tally.events} events, seed {tally.seed}"),
        ("programs", _counts(tally.started)),
        ("they ended", f"{_counts(tally.ended)}; stillborn {tally.stillborn['program']}"),
        ("daemon", f"{_counts(tally.daemons)}; stillborn {tally.stillborn['daemon']}; {_counts(tally.reloads)}"),
        ("intruders", f"{sum(tally.intruders.values())} of {len(tally.intruders)} kinds"),
        ("leases", f"{leases['granted']} granted, {format_size(leases['granted_bytes'])}; at a time at most"
         f" {format_size(tally.peak_bytes)}; slowest {tally.slowest_grant_ms:.1f} ms"),
        ("refused", ", ".join(f"{name.partition(' ')[2]} {count}" for name, count in refused.items()) or "none"),
        ("reconnected", f"{tally.reconnections} programs"),
        ("pressure", _pressure(tally)),
        ("checks", f"{sum(tally.checks.values())} at {tally.quiets} quiet points"),
    ]  # fmt: skip
    if life:
        rows.append(
            ("daemon's RSS", f"{format_size(life['first_rss_bytes'])} first, {format_size(life['last_rss_bytes'])} last;"
             f" descriptors {life['first_fds']} and {life['last_fds']}, of {life['quiets']} quiet points")
        )  # fmt: skip
    rows += [("note", note) for note in tally.notes]
    rows += [("verdict", tally.verdict)]
    lines = [line for name, text in rows for line in _row(name, text)]
    return "\n".join(lines + ([] if tally.failure is None else _row("", tally.failure)))


def _pressure(tally: Tally) -> str:
    levels = ", ".join(f"{kind} {level.upper()}" for kind, level in sorted(tally.levels.items()))
    left = "" if tally.least_left_bytes is None else f", {format_size(tally.least_left_bytes)} left at least"
    return f"{levels or 'none'}; {tally.warnings} alerts; {tally.squeezes} squeezes{left}"


def _row(name: str, text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, WIDTH, initial_indent=f"{name:13}", subsequent_indent=" " * 13) or [name]
