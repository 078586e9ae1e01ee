from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from greenboost_py.base.config import LeaseConfig
from greenboost_py.base.units import Size, parse_size
from greenboost_py.broker.leases import READING_GOOD_S, Counters, Leases
from greenboost_py.broker.protocol import Kind, Reply, Request, Verdict
from greenboost_py.broker.readings import Sources
from greenboost_py.pressure.levels import Level
from greenboost_py.sensors.cgroup import CgroupLevel
from greenboost_py.sensors.cgroup_place import CgroupPlace

if TYPE_CHECKING:
    from tests.py.broker.conftest import Machine

GIB = 1 << 30
PLAIN = LeaseConfig(reserve=parse_size("2GiB"))


class Desk:
    """Leases with a clock that stands still until it is told otherwise."""

    def __init__(self, machine: "Machine", config: LeaseConfig = PLAIN) -> None:
        self.now_s = 0.0
        self.counters = Counters()
        self.leases = Leases(config, machine.sources(), self.counters, lambda: self.now_s)
        self.books = self.leases.books

    def hello(self, client: int, uid: int = 100, pid: int = 0, held: int = 0, pending: int = 0) -> Reply:
        return self.leases.hello(client, pid or client, uid, Request(Kind.HELLO, 1, 0, held, pending))

    def acquire(self, client: int, wanted: int, held: int = 0, pending: int = 0, uncharged: int = 0) -> Reply:
        return self.leases.acquire(client, Request(Kind.ACQUIRE, 2, wanted, held, pending, uncharged))

    def update(self, client: int, held: int, pending: int = 0, uncharged: int = 0) -> None:
        self.leases.update(client, Request(Kind.UPDATE, 2, 0, held, pending, uncharged))


def test_hello_says_what_could_be_had(machine: "Machine") -> None:
    reply = Desk(machine).hello(1, held=5, pending=3)
    assert reply == Reply(Verdict.GRANTED, 1, 0, 30 * GIB - 3, 5, Level.OK)


def test_acquire_of_what_is_there_is_granted_and_in_the_books(machine: "Machine") -> None:
    desk = Desk(machine)
    desk.hello(1)
    machine.ram_level = Level.NOTICE
    assert desk.acquire(1, 10 * GIB) == Reply(Verdict.GRANTED, 2, 10 * GIB, 30 * GIB, 10 * GIB, Level.NOTICE)
    holding = desk.books.holding(1)
    assert (holding.held_bytes, holding.pending_bytes, holding.peak_bytes) == (10 * GIB,) * 3
    assert (desk.counters.granted, desk.counters.granted_bytes) == (1, 10 * GIB)


def test_acquire_of_too_much_grants_nothing_and_says_how_much_would_be(machine: "Machine") -> None:
    desk = Desk(machine)
    desk.hello(1)
    assert desk.acquire(1, 31 * GIB, held=7) == Reply(Verdict.MACHINE, 2, 0, 30 * GIB, 7, Level.OK)
    assert desk.books.holding(1).pending_bytes == 0
    assert desk.counters.refused[Verdict.MACHINE] == 1


def test_acquire_of_nothing_only_asks(machine: "Machine") -> None:
    desk = Desk(machine)
    desk.hello(1)
    assert desk.acquire(1, 0).budget_bytes == 30 * GIB
    assert (desk.counters.asked, desk.counters.granted, sum(desk.counters.refused.values())) == (1, 0, 0)


def test_acquire_while_critical_is_refused_for_pressure(machine: "Machine") -> None:
    desk = Desk(machine)
    desk.hello(1)
    machine.ram_level = Level.CRITICAL
    assert desk.acquire(1, 1) == Reply(Verdict.PRESSURE, 2, 0, 0, 0, Level.CRITICAL)


def test_what_one_client_was_granted_another_cannot_have(machine: "Machine") -> None:
    desk = Desk(machine)
    desk.hello(1)
    desk.hello(2, uid=200)
    desk.acquire(1, 20 * GIB)
    assert desk.acquire(2, 10 * GIB + 1).verdict is Verdict.MACHINE
    assert desk.acquire(2, 10 * GIB).verdict is Verdict.GRANTED
    assert desk.acquire(1, 1, held=20 * GIB, pending=20 * GIB).verdict is Verdict.MACHINE


def test_what_was_taken_is_the_kernels_to_count(machine: "Machine") -> None:
    desk = Desk(machine)
    desk.hello(1)
    desk.acquire(1, 20 * GIB)
    assert machine.available_bytes is not None
    machine.available_bytes -= 20 * GIB
    desk.update(1, held=20 * GIB)
    assert desk.acquire(1, 0, held=20 * GIB).budget_bytes == 10 * GIB


def test_an_update_from_which_a_grant_is_missing_heals_with_the_next(machine: "Machine") -> None:
    desk = Desk(machine)
    desk.hello(1)
    desk.acquire(1, 20 * GIB)
    desk.update(1, held=5, pending=5)  # sent before the grant came in
    desk.update(1, held=20 * GIB + 5, pending=20 * GIB + 5)
    assert desk.acquire(1, 0, held=20 * GIB + 5, pending=20 * GIB + 5).budget_bytes == 10 * GIB - 5


def test_the_end_of_a_client_frees_what_it_leased(machine: "Machine") -> None:
    desk = Desk(machine)
    desk.hello(1)
    desk.hello(2)
    desk.acquire(1, 30 * GIB)
    desk.leases.end(1)
    desk.leases.end(1)
    assert desk.acquire(2, 30 * GIB).verdict is Verdict.GRANTED


def test_caps_bind_processes_and_users_but_not_each_other(machine: "Machine") -> None:
    desk = Desk(machine, LeaseConfig(parse_size("0"), parse_size("6GiB"), parse_size("12.5%")))
    for client, uid in ((1, 100), (2, 100), (3, 200)):
        desk.hello(client, uid)
    assert desk.acquire(1, 6 * GIB + 1) == Reply(Verdict.PROCESS_CAP, 2, 0, 6 * GIB, 0)
    assert desk.acquire(1, 6 * GIB).verdict is Verdict.GRANTED
    assert desk.acquire(2, 3 * GIB) == Reply(Verdict.USER_CAP, 2, 0, 2 * GIB, 0)
    assert desk.acquire(2, 2 * GIB).verdict is Verdict.GRANTED
    assert desk.acquire(3, 6 * GIB).verdict is Verdict.GRANTED


def test_hello_over_a_cap_is_entered_and_gets_nothing_more(machine: "Machine") -> None:
    desk = Desk(machine, LeaseConfig(per_user=parse_size("1GiB")))
    reply = desk.hello(1, held=5 * GIB)
    assert (reply.verdict, reply.leased_bytes, reply.budget_bytes) == (Verdict.GRANTED, 5 * GIB, 0)
    assert desk.acquire(1, 1, held=5 * GIB).verdict is Verdict.USER_CAP
    assert desk.acquire(1, 1, held=GIB - 1).verdict is Verdict.GRANTED


def test_a_users_false_figures_do_not_cost_others_more_than_its_cap(machine: "Machine") -> None:
    desk = Desk(machine, LeaseConfig(parse_size("2GiB"), per_user=parse_size("10GiB")))
    machine.limits["/slice"] = 24 * GIB
    for client in (1, 2):
        machine.put_in_group(client, f"/slice/{client}", "/slice")
    desk.hello(1, uid=100, held=2**62, pending=2**62)
    desk.hello(2, uid=200)
    assert desk.acquire(2, 0).budget_bytes == 10 * GIB  # its own cap; 20 GiB of the machine, 14 GiB of the group
    assert desk.acquire(1, 1, held=2**62, pending=2**62).verdict is Verdict.USER_CAP


def test_groups_count_what_their_members_have_and_the_kernel_does_not_charge(machine: "Machine") -> None:
    desk = Desk(machine, LeaseConfig(reserve=parse_size("0")))
    machine.limits |= {"/slice": 10 * GIB, "/slice/a": 6 * GIB}
    machine.usages |= {"/slice": 2 * GIB}
    machine.put_in_group(1, "/slice/a", "/slice", "/")
    machine.put_in_group(2, "/slice/b", "/slice", "/")
    desk.hello(1)
    desk.hello(2)
    assert desk.acquire(1, 7 * GIB) == Reply(Verdict.CGROUP, 2, 0, 6 * GIB, 0)
    desk.acquire(1, 5 * GIB)
    desk.update(1, held=5 * GIB, pending=GIB, uncharged=4 * GIB)
    assert desk.acquire(2, 4 * GIB) == Reply(Verdict.CGROUP, 2, 0, 3 * GIB, 0)
    assert desk.acquire(2, 3 * GIB).verdict is Verdict.GRANTED


def test_a_limit_that_comes_later_counts_who_came_before(machine: "Machine") -> None:
    desk = Desk(machine, LeaseConfig(reserve=parse_size("0")))
    for client in (1, 2):
        machine.put_in_group(client, "/a")
        desk.hello(client)
    desk.acquire(1, 5 * GIB)
    machine.limits["/a"] = 6 * GIB
    desk.now_s += 1
    assert desk.acquire(2, 0).budget_bytes == GIB


def test_a_process_that_was_moved_is_counted_where_it_is(machine: "Machine") -> None:
    desk = Desk(machine)
    machine.limits["/a"] = GIB
    machine.put_in_group(1, "/a")
    desk.hello(1)
    machine.put_in_group(1, "/b")
    assert desk.acquire(1, 2 * GIB).verdict is Verdict.GRANTED
    assert desk.books.holding(1).groups == ("/b",)


def test_a_process_that_cannot_be_seen_has_no_groups(machine: "Machine") -> None:
    desk = Desk(machine)
    machine.limits["/a"] = 0
    machine.put_in_group(0, "/a")
    desk.leases.hello(1, 0, 100, Request(Kind.HELLO, 1))
    assert desk.acquire(1, GIB).verdict is Verdict.GRANTED


def test_a_machine_that_cannot_be_read_grants_nothing_until_it_can(machine: "Machine") -> None:
    desk = Desk(machine)
    machine.is_broken = True
    assert desk.hello(1).budget_bytes == 0
    assert desk.acquire(1, 1) == Reply(Verdict.MACHINE, 2)
    assert desk.counters.sensor_errors > 0
    machine.is_broken = False
    assert desk.acquire(1, 30 * GIB).verdict is Verdict.GRANTED


def test_a_reading_serves_again_while_nothing_was_taken(machine: "Machine") -> None:
    desk = Desk(machine)
    for client in range(10):
        desk.hello(client)
        assert desk.acquire(client, GIB).verdict is Verdict.GRANTED
    assert machine.looks == 1


def test_a_reading_is_not_used_when_it_is_old(machine: "Machine") -> None:
    desk = Desk(machine)
    desk.hello(1)
    machine.available_bytes = 3 * GIB
    desk.now_s += READING_GOOD_S
    assert desk.acquire(1, 2 * GIB).verdict is Verdict.MACHINE


@pytest.mark.parametrize(
    ("held", "pending"),
    [(10 * GIB, 0), (10 * GIB, 9 * GIB), (15 * GIB, 10 * GIB), (0, 0)],
    ids=["all taken", "some taken", "all taken, and as much granted elsewhere", "given back"],
)
def test_a_reading_is_not_used_after_something_was_taken(machine: "Machine", held: int, pending: int) -> None:
    for tell in ("acquire", "update", "end"):
        machine.available_bytes = 32 * GIB
        desk = Desk(machine)
        desk.hello(1)
        desk.hello(2)
        desk.acquire(1, 10 * GIB)
        machine.available_bytes = 2 * GIB
        if tell == "acquire":
            desk.acquire(1, 0, held, pending)
        elif tell == "update":
            desk.update(1, held, pending)
        else:
            desk.leases.end(1)
        assert desk.acquire(2, 1).verdict is Verdict.MACHINE


def test_nobody_is_refused_on_an_old_reading(machine: "Machine") -> None:
    desk = Desk(machine)
    machine.available_bytes = 3 * GIB
    machine.limits["/a"] = GIB
    machine.put_in_group(1, "/a")
    desk.hello(1)
    machine.available_bytes = 9 * GIB
    machine.limits["/a"] = 8 * GIB
    assert desk.acquire(1, 5 * GIB) == Reply(Verdict.GRANTED, 2, 5 * GIB, 7 * GIB, 5 * GIB)


def test_configure_changes_the_limits_and_takes_nothing_away(machine: "Machine") -> None:
    desk = Desk(machine)
    desk.hello(1)
    desk.acquire(1, 4 * GIB)
    desk.leases.configure(LeaseConfig(per_process=parse_size("4GiB")))
    assert desk.acquire(1, 1, held=4 * GIB, pending=4 * GIB).verdict is Verdict.PROCESS_CAP
    assert desk.books.holding(1).held_bytes == 4 * GIB
    desk.leases.configure(LeaseConfig())
    assert desk.acquire(1, 1, held=4 * GIB, pending=4 * GIB).verdict is Verdict.GRANTED


class Truth(RuleBasedStateMachine):
    """A machine with a kernel that counts what was taken: honest clients together never take more than there is."""

    TOTAL, RESERVE = 1000, 100
    clients = Bundle("clients")

    @initialize(user_cap=st.none() | st.integers(0, 1000), limit=st.integers(0, 1000))
    def begin(self, user_cap: int | None, limit: int) -> None:
        self.taken_elsewhere = 0
        self.limit = limit
        self.held: dict[int, int] = {}
        self.pending: dict[int, int] = {}
        self.uncharged: dict[int, int] = {}
        self.uid: dict[int, int] = {}
        self.number = 0
        self.user_cap = user_cap
        self.now_s = 0.0
        self.sequence = 0
        config = LeaseConfig(Size(self.RESERVE), None, None if user_cap is None else Size(user_cap))
        place = CgroupPlace("/a", 2, ("/a",))
        sources = Sources(
            lambda: self,
            lambda pid: place if pid % 2 else None,
            lambda _: (CgroupLevel("/a", self.limit, self._charged(), 0),),
            lambda: Level.OK,
        )
        self.leases = Leases(config, sources, Counters(), lambda: self.now_s)

    total_bytes = TOTAL

    @property
    def effective_available_bytes(self) -> int:
        taken = sum(self.held.values()) - sum(self.pending.values())
        return max(0, self.TOTAL - self.taken_elsewhere - taken)

    def _charged(self) -> int:
        own = [client for client in self.held if client % 2]
        return sum(self.held[client] - self.pending[client] - self.uncharged[client] for client in own)

    def _request(self, kind: Kind, client: int, wanted: int = 0) -> Request:
        return Request(kind, 1, wanted, self.held[client], self.pending[client], self.uncharged[client])

    @rule(target=clients, uid=st.integers(0, 1))
    def come(self, uid: int) -> int:
        self.number += 1
        for figures in (self.held, self.pending, self.uncharged):
            figures[self.number] = 0
        self.uid[self.number] = uid
        self.leases.hello(self.number, self.number, uid, self._request(Kind.HELLO, self.number))
        return self.number

    @rule(client=clients, wanted=st.integers(0, 1000))
    def acquire(self, client: int, wanted: int) -> None:
        reply = self.leases.acquire(client, self._request(Kind.ACQUIRE, client, wanted))
        assert reply.granted_bytes == (wanted if reply.verdict is Verdict.GRANTED else 0)
        assert (reply.verdict is Verdict.GRANTED) == (wanted <= reply.budget_bytes)
        self.held[client] += reply.granted_bytes
        self.pending[client] += reply.granted_bytes
        assert reply.leased_bytes == self.held[client]
        if reply.granted_bytes:
            self._grant_was_right(client)

    def _grant_was_right(self, client: int) -> None:
        assert sum(self.pending.values()) + self.RESERVE <= self.effective_available_bytes
        if self.user_cap is not None:
            assert self._held_by(self.uid[client]) <= self.user_cap
        if client % 2:
            own = [other for other in self.held if other % 2]
            unseen = sum(self.pending[other] + self.uncharged[other] for other in own)
            assert self._charged() + unseen <= self.limit

    def _held_by(self, uid: int) -> int:
        return sum(held for client, held in self.held.items() if self.uid[client] == uid)

    @rule(client=clients, data=st.data(), says_so=st.booleans(), is_charged=st.booleans())
    def take(self, client: int, data: st.DataObject, says_so: bool, is_charged: bool) -> None:
        taken = data.draw(st.integers(0, self.pending[client]))
        self.pending[client] -= taken
        if not is_charged:
            self.uncharged[client] += taken
        if says_so:
            self.leases.update(client, self._request(Kind.UPDATE, client))

    @rule(client=clients, data=st.data())
    def give_back(self, client: int, data: st.DataObject) -> None:
        given = data.draw(st.integers(0, self.held[client]))
        self.held[client] -= given
        self.pending[client] = min(self.pending[client], self.held[client])
        self.uncharged[client] = min(self.uncharged[client], self.held[client] - self.pending[client])
        self.leases.update(client, self._request(Kind.UPDATE, client))

    @rule(client=consumes(clients))
    def die(self, client: int) -> None:
        for figures in (self.held, self.pending, self.uncharged, self.uid):
            del figures[client]
        self.leases.end(client)

    @rule(taken=st.integers(0, 1000))
    def others_take(self, taken: int) -> None:
        self.taken_elsewhere = taken
        self.now_s += READING_GOOD_S

    @precondition(lambda self: hasattr(self, "leases"))
    @invariant()
    def the_books_balance(self) -> None:
        assert self.leases.books.is_valid()
        held = {client: holding.held_bytes for client, holding in self.leases.books.holdings()}
        assert held.keys() == self.held.keys()


TestTruth = Truth.TestCase
TestTruth.settings = settings(max_examples=150, stateful_step_count=40)
