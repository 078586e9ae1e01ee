"""What happened while a driver filled RAM, by the kernel's log: who was warned of whom, and who was killed, and when."""

import re
from dataclasses import dataclass

_LINE = re.compile(r"^\[ *([0-9]+\.[0-9]+)\] (.*)$", re.MULTILINE)
_KILL = re.compile(r"Out of memory: Killed process ([0-9]+) \((.*?)\)")
_WARNING = re.compile(
    r"greenboost\[[0-9]+\]: (RAM (?:is|has) (.*?): .* left.*?)$",
)
_SIZE = re.compile(r"([0-9.]+) ([KMG]iB)")
_UNITS_MIB = {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the log.

    Attributes:
        at_s: when, in seconds since the guest's boot.
        text: what it says.
    """

    at_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Kill:
    """A process that the kernel killed for want of memory."""

    at_s: float
    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class Load:
    """One filling of the machine (`load` of load.sh).

    Attributes:
        mib_per_s: at what rate.
        innocent, hog: the two programs' pids.
        events: from its begin to its end.
    """

    mib_per_s: int
    innocent: int
    hog: int
    events: tuple[Event, ...]

    @property
    def kills(self) -> list[Kill]:
        """Whom the kernel killed, in order."""
        found = [(event.at_s, _KILL.search(event.text)) for event in self.events]
        return [Kill(at_s, int(match[1]), match[2]) for at_s, match in found if match]

    @property
    def warnings(self) -> list[Event]:
        """What the daemon said of RAM that is or gets short, in order."""
        found = [(event.at_s, _WARNING.search(event.text)) for event in self.events]
        return [Event(at_s, match[1]) for at_s, match in found if match]

    @property
    def gone(self) -> str | None:
        """Which of the two ended first: innocent or hog; None: neither has."""
        return next((text.removeprefix("gone ") for text in self._marks if text.startswith("gone ")), None)

    def hog_mib_at(self, at_s: float) -> int:
        """What the hog had noted by then that it has; 0 before it had begun."""
        texts = [event.text for event in self.events if event.at_s <= at_s]
        return max(
            (int(match[1]) for text in texts if (match := re.search(r"mark: hog has ([0-9]+) MiB", text))), default=0
        )

    @property
    def _marks(self) -> list[str]:
        return [event.text.removeprefix("mark: ") for event in self.events if event.text.startswith("mark: ")]


def loads_of(log: str) -> list[Load]:
    """The fillings that a log of the kernel's tells of, in order.

    Args:
        log: as dmesg prints it.
    """
    events = [Event(float(at_s), text) for at_s, text in _LINE.findall(log)]
    begins = [number for number, event in enumerate(events) if event.text.startswith("mark: begin ")]
    loads = []
    for begin, following in zip(begins, [*begins[1:], len(events)], strict=True):
        mine = events[begin:following]
        end = next(n for n, event in enumerate(mine) if event.text.startswith("mark: end "))
        pids = next(event.text.split() for event in mine if event.text.startswith("mark: pids "))
        loads.append(Load(int(mine[0].text.split()[2]), int(pids[2]), int(pids[3]), tuple(mine[: end + 1])))
    return loads


def mib(text: str) -> float:
    """The size that a text begins with, as greenboost writes one."""
    found = _SIZE.match(text)
    assert found is not None, text
    return float(found[1]) * _UNITS_MIB[found[2]]
