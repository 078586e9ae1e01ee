"""What happens in a soak, and in which order: a pure function of the seed. How long it takes is the machine's business."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kinds import CONFIGURATIONS, INTRUDERS, KINDS, PASSING, SETTINGS, TALKING

TALKERS, PASSERS = 6, 2
"""How many programs run at once of each sort: places 0 to 5, and 6 to 7."""

BETWEEN_QUIETS = 10
"""Events from one quiet point to the next, beside the programs that pass."""

QUIETS = 4
"""Quiet points of a stretch: the rough ones end daemons; the calm ones between them do not, and grow, so that one daemon's
life gets as long as the run allows."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program to start: its kind by name, what its random numbers start with, and what it is set to."""

    kind: str
    seed: int
    settings: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Replace:
    """A program ends and another takes its place.

    Attributes:
        place: 0 to TALKERS + PASSERS - 1.
        ending: kill, term, or finish: it is asked to end well.
        program: the next one.
        stillborn_ms: it is started once before, and killed after so long.
    """

    place: int
    ending: str
    program: Program
    stillborn_ms: int | None = None


@dataclass(frozen=True, slots=True)
class StopProgram:
    """A program is stopped (SIGSTOP), until something else happens to it or all is to be quiet."""

    place: int


@dataclass(frozen=True, slots=True)
class EndDaemon:
    """The daemon ends; after a while there is another.

    Attributes:
        ending: kill or term.
        gone_ms: how long there is none.
        places: the programs that are killed in the same moment.
        stillborn_ms: the next one is killed so long after its start, and started again.
    """

    ending: str
    gone_ms: int
    places: tuple[int, ...] = ()
    stillborn_ms: int | None = None


@dataclass(frozen=True, slots=True)
class StopDaemon:
    """The daemon is stopped (SIGSTOP) for a while."""

    for_ms: int


@dataclass(frozen=True, slots=True)
class Configure:
    """The daemon gets another configuration, by its name, and a SIGHUP."""

    name: str


@dataclass(frozen=True, slots=True)
class Squeeze:
    """Of what the programs' memory cgroup can spare, so much is taken.

    Attributes:
        share: 0 to 1; 0: all of it is given back.
        by_limit: by lowering the group's limit; else by a program that takes it.
    """

    share: float
    by_limit: bool


@dataclass(frozen=True, slots=True)
class Intrude:
    """A hostile client comes, as root or, where the run may, as somebody else."""

    kind: str
    as_other: bool
    seed: int


@dataclass(frozen=True, slots=True)
class Quiet:
    """Everybody holds still, and all is checked."""


Action = Replace | StopProgram | EndDaemon | StopDaemon | Configure | Squeeze | Intrude | Quiet


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens, so many milliseconds after what happened before."""

    pause_ms: int
    action: Action


class _Deck:
    """Draws at random, but each card once before any comes again, so that what is rare comes for sure."""

    def __init__(self, chance: random.Random, cards: Sequence[str]) -> None:
        self._chance, self._cards = chance, cards
        self._left: list[str] = []

    def draw(self) -> str:
        if not self._left:
            self._left = list(self._cards)
            self._chance.shuffle(self._left)
        return self._left.pop()


_CALM = [*["replace"] * 8, "stop program", "stop daemon", "configure", "configure", "squeeze", "squeeze", "intrude"]
_ROUGH = [*_CALM, *["end daemon"] * 3]


class _Draw:
    """All that is drawn for one schedule."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self._talking = _Deck(chance, [kind.name for kind in TALKING])
        self._passing = _Deck(chance, [kind.name for kind in PASSING])
        self._configurations = _Deck(chance, [*CONFIGURATIONS, *["plain"] * 4])
        self._intruders = _Deck(chance, INTRUDERS)
        self._actions = {is_rough: _Deck(chance, _ROUGH if is_rough else _CALM) for is_rough in (False, True)}

    def program(self, place: int) -> Program:
        name = (self._talking if place < TALKERS else self._passing).draw()
        drawn = {key: self.chance.choice(values) for key, values in SETTINGS.items()}
        settings = tuple((key, text) for key, text in drawn.items() if text and key not in KINDS[name].without)
        return Program(name, self.chance.randrange(1 << 30), settings)

    def event(self, is_rough: bool) -> Event:
        return Event(self.chance.choice((0, 0, 10, 50, 200)), self._action(self._actions[is_rough].draw()))

    def _action(self, name: str) -> Action:
        chance = self.chance
        match name:
            case "replace":
                place = chance.randrange(TALKERS + PASSERS)
                stillborn_ms = chance.randrange(150) if chance.random() < 0.2 else None
                return Replace(place, chance.choice(("kill", "term", "finish")), self.program(place), stillborn_ms)
            case "stop program":
                return StopProgram(chance.randrange(TALKERS))
            case "stop daemon":
                return StopDaemon(chance.choice((20, 100, 150, 400)))
            case "configure":
                return Configure(self._configurations.draw())
            case "squeeze":
                return Squeeze(chance.choice((0.0, 0.3, 0.7, 1.0)), chance.random() < 0.5)
            case "intrude":
                return Intrude(self._intruders.draw(), chance.random() < 0.5, chance.randrange(1 << 30))
            case _:
                places = tuple(sorted(chance.sample(range(TALKERS + PASSERS), chance.choice((0, 0, 1, 3)))))
                stillborn_ms = chance.randrange(400) if chance.random() < 0.3 else None
                return EndDaemon(
                    chance.choice(("kill", "term")), chance.choice((0, 0, 0, 300, 300, 1500)), places, stillborn_ms
                )


def schedule(seed: int) -> Iterator[Event]:
    """All that happens, without end: first the places of those that talk get a program.

    Args:
        seed: 0 or more.
    """
    draw = _Draw(seed)
    for place in range(TALKERS):
        yield Event(0, Replace(place, "kill", draw.program(place)))
    for stretch in itertools.count():
        is_rough = stretch % 2 == 0
        for _ in range(QUIETS if is_rough else QUIETS * (stretch + 1)):
            for place in range(TALKERS, TALKERS + PASSERS):
                yield Event(0, Replace(place, "finish", draw.program(place)))
            for _ in range(BETWEEN_QUIETS):
                yield draw.event(is_rough)
            yield Event(0, Quiet())
