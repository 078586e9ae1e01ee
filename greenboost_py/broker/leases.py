"""The desk at which host memory is leased: it keeps the books and applies the rule. It knows no sockets."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from greenboost_py.base.config import LeaseConfig
from greenboost_py.broker.books import Books, Holding
from greenboost_py.broker.grants import Decision, Headroom, Limits, decide, limits_of
from greenboost_py.broker.protocol import Reply, Request, Verdict
from greenboost_py.broker.readings import Readings, Sources

READING_GOOD_S = 0.010
"""As in the shim's own rule (lease/local.c)."""

_MEASURED = frozenset({Verdict.CGROUP, Verdict.MACHINE})
"""The refusals that are due to a reading."""


@dataclass(slots=True)
class Counters:
    """What happened since the start.

    Attributes:
        connected: connections taken.
        greeted: of those, clients that said hello and were welcome.
        asked: questions for the budget, which want nothing.
        granted, granted_bytes: leases, and their sum.
        refused: by verdict, refusals of any kind.
        unread: clients given up because they did not read their answers.
        silent: connections given up because nothing came.
        accept_errors: connections that could not be taken, for want of descriptors or memory.
        sensor_errors: readings that failed; the machine's grants nothing, a cgroup's limits nothing.
    """

    connected: int = 0
    greeted: int = 0
    asked: int = 0
    granted: int = 0
    granted_bytes: int = 0
    refused: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(list(Verdict)[1:], 0))
    unread: int = 0
    silent: int = 0
    accept_errors: int = 0
    sensor_errors: int = 0


class Leases:
    """Answers what clients ask, each known by a number that the caller gives it.

    A look at the machine is good for 10 ms, and until a client says that it took something, or ends: from then on the
    books no longer count as pending what that look did not see. Nobody is refused on the strength of an old one.

    Args:
        config: the limits.
        sources: where the machine is read.
        counters: where to count.
        clock: seconds that only grow.
    """

    def __init__(
        self, config: LeaseConfig, sources: Sources, counters: Counters, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.books = Books()
        self._config, self._sources, self._counters, self._clock = config, sources, counters, clock
        self._readings: Readings | None = None
        self._limits = Limits(0)
        self._limits_total_bytes: int | None = None

    def configure(self, config: LeaseConfig) -> None:
        """Takes other limits, from the next request on."""
        self._config = config
        self._readings = self._limits_total_bytes = None

    def hello(self, client: int, pid: int, uid: int, request: Request) -> Reply:
        """Enters a client with what it says it holds, be it over a cap: then it gets nothing more."""
        decision, holding = self._look(client, pid, uid, replace(request, wanted_bytes=0))
        self._counters.greeted += 1
        return self._reply(Verdict.GRANTED, request, decision, holding)

    def acquire(self, client: int, request: Request) -> Reply:
        """Grants all that is wanted, or says why not. The client is in the books."""
        before = self.books.holding(client)
        self._note(before, request)
        decision, holding = self._look(client, before.pid, before.uid, request)
        if not request.wanted_bytes:
            self._counters.asked += 1
        elif decision.verdict is not Verdict.GRANTED:
            self._counters.refused[decision.verdict] += 1
        else:
            holding = self._grant(client, holding, request.wanted_bytes)
        return self._reply(decision.verdict, request, decision, holding)

    def update(self, client: int, request: Request) -> None:
        """Takes down what a client holds now. It is in the books."""
        before = self.books.holding(client)
        self._note(before, request)
        self._put(client, before.pid, before.uid, before.groups, request)

    def end(self, client: int) -> None:
        """Forgets a client and all that it leased, if it is in the books."""
        if self.books.remove(client) is not None:
            self._readings = None

    def _note(self, before: Holding, request: Request) -> None:
        taken_before, taken_now = (figures.held_bytes - figures.pending_bytes for figures in (before, request))
        if taken_now > taken_before or request.pending_bytes < before.pending_bytes:
            self._readings = None

    def _grant(self, client: int, holding: Holding, wanted_bytes: int) -> Holding:
        held_bytes, pending_bytes = holding.held_bytes + wanted_bytes, holding.pending_bytes + wanted_bytes
        granted = replace(holding, held_bytes=held_bytes, pending_bytes=pending_bytes)
        self.books.put(client, granted)
        self._counters.granted += 1
        self._counters.granted_bytes += wanted_bytes
        return granted

    def _reply(self, verdict: Verdict, request: Request, decision: Decision, holding: Holding) -> Reply:
        granted_bytes = holding.held_bytes - request.held_bytes
        level = self._sources.ram_level()
        return Reply(verdict, request.sequence, granted_bytes, decision.budget_bytes, holding.held_bytes, level)

    def _look(self, client: int, pid: int, uid: int, request: Request) -> tuple[Decision, Holding]:
        """Takes down what a client holds, and decides: on readings that are good, and before a refusal on new ones."""
        if self._readings is not None:
            is_good = self._clock() - self._readings.at_s < READING_GOOD_S
            if is_good and (outcome := self._decide(client, pid, uid, request))[0].verdict not in _MEASURED:
                return outcome
            self._readings = None
        return self._decide(client, pid, uid, request)

    def _decide(self, client: int, pid: int, uid: int, request: Request) -> tuple[Decision, Holding]:
        if self._readings is None:
            self._readings = Readings(self._sources, self._clock())
        readings, errors = self._readings, self._readings.errors
        machine, place = readings.machine(), readings.place(pid)
        levels = readings.levels(place)
        self._counters.sensor_errors += readings.errors - errors
        self._set_limits(machine)
        holding = self._put(client, pid, uid, () if place is None else place.groups, request)
        sums = self.books.sums_for(holding, tuple(level.path for level in levels))
        ram_level, reserve_bytes = self._sources.ram_level(), request.reserve_bytes
        decision = decide(
            request.wanted_bytes, request.held_bytes, sums, self._limits, machine, levels, ram_level, reserve_bytes
        )
        return decision, holding

    def _put(self, client: int, pid: int, uid: int, groups: tuple[str, ...], request: Request) -> Holding:
        holding = Holding(pid, uid, groups, request.held_bytes, request.pending_bytes, request.uncharged_bytes)
        self.books.put(client, holding)
        return holding

    def _set_limits(self, machine: Headroom | None) -> None:
        """Limits may be shares of a whole that is known only now."""
        if machine is not None and machine.total_bytes != self._limits_total_bytes:
            self._limits_total_bytes = machine.total_bytes
            self._limits = limits_of(self._config, machine.total_bytes)
            self.books.set_user_cap(self._limits.per_user_bytes)
