from collections.abc import Callable
from functools import partial

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from greenboost_py.broker.books import Books, Holding
from greenboost_py.broker.grants import Sums

ROOT, SLICE, A, B = "/", "/slice", "/slice/a", "/slice/b"


def test_an_empty_book_has_no_sums() -> None:
    books = Books()
    assert (len(books), books.clients_of(7), books.remove(1)) == (0, 0, None)
    assert books.sums_for(Holding(1, 7, (A,)), (A,)) == Sums(0, 0, (0,))
    assert books.is_valid()


def test_sums_are_by_user_by_level_and_of_all() -> None:
    books = Books()
    books.put(1, Holding(11, 100, (A, SLICE), held_bytes=10, pending_bytes=4, uncharged_bytes=3))
    books.put(2, Holding(12, 100, (B, SLICE), held_bytes=20, pending_bytes=5))
    books.put(3, Holding(13, 200, (), held_bytes=40, pending_bytes=6, uncharged_bytes=40))
    assert books.sums_for(books.holding(1), (A, SLICE)) == Sums(30, 15, (7, 12))
    assert books.sums_for(books.holding(3), ()) == Sums(40, 15)
    assert [books.clients_of(uid) for uid in (100, 200, 300)] == [2, 1, 0]
    books.remove(1)
    assert books.sums_for(books.holding(2), (A, SLICE)) == Sums(20, 11, (0, 5))


def test_a_client_that_moves_to_another_group_takes_its_bytes_along() -> None:
    books = Books()
    books.put(1, Holding(11, 100, (A, SLICE), held_bytes=10, pending_bytes=4))
    books.put(1, Holding(11, 100, (B, SLICE), held_bytes=10, pending_bytes=4))
    assert books.sums_for(books.holding(1), (A, B, SLICE)).level_bytes == (0, 4, 4)


def test_the_peak_outlives_what_made_it() -> None:
    books = Books()
    for held_bytes in (5, 50, 7):
        books.put(1, Holding(11, 100, held_bytes=held_bytes))
    assert books.holding(1).peak_bytes == 50
    books.remove(1)
    books.put(1, Holding(11, 100, held_bytes=7))
    assert books.holding(1).peak_bytes == 7


def test_what_a_user_says_beyond_its_cap_is_not_held_against_others() -> None:
    books = Books(user_cap_bytes=100)
    books.put(1, Holding(11, 100, (A,), held_bytes=2**62, pending_bytes=2**62, uncharged_bytes=2**62))
    books.put(2, Holding(12, 100, (A,), held_bytes=60, pending_bytes=60))
    books.put(3, Holding(13, 200, (A,), held_bytes=30, pending_bytes=30))
    assert books.sums_for(books.holding(3), (A,)) == Sums(30, 130, (130,))
    assert books.sums_for(books.holding(2), ()).user_held_bytes == 2**62 + 60
    books.remove(1)
    assert books.sums_for(books.holding(3), (A,)) == Sums(30, 90, (90,))


def test_set_user_cap_counts_anew() -> None:
    books = Books()
    books.put(1, Holding(11, 100, (A,), held_bytes=70, pending_bytes=70))
    for cap_bytes, counted in ((50, 50), (None, 70), (0, 0)):
        books.set_user_cap(cap_bytes)
        assert books.sums_for(books.holding(1), (A,)) == Sums(70, counted, (counted,))
        assert books.is_valid()


def unseen_bytes(path: str, holding: Holding) -> int:
    return holding.pending_bytes + holding.uncharged_bytes if path in holding.groups else 0


class AgainstAModel(RuleBasedStateMachine):
    """The books against a list: whatever comes, the sums balance to the byte, and nothing stays behind."""

    clients = Bundle("clients")

    @initialize(cap_bytes=st.none() | st.integers(0, 300))
    def begin(self, cap_bytes: int | None) -> None:
        self.cap_bytes = cap_bytes
        self.books = Books(cap_bytes)
        self.model: dict[int, Holding] = {}
        self.number = 0

    def _put(self, client: int, uid: int, place: tuple[str, ...], held: int, pending: int, uncharged: int) -> None:
        holding = Holding(1, uid, place, held, min(pending, held), min(uncharged, held))
        self.books.put(client, holding)
        self.model[client] = holding

    @rule(
        target=clients,
        uid=st.integers(0, 2),
        place=st.sampled_from([(), (ROOT,), (A, SLICE, ROOT), (B, SLICE, ROOT)]),
        held=st.integers(0, 200),
        pending=st.integers(0, 200),
        uncharged=st.integers(0, 200),
    )
    def come(self, uid: int, place: tuple[str, ...], held: int, pending: int, uncharged: int) -> int:
        self.number += 1
        self._put(self.number, uid, place, held, pending, uncharged)
        return self.number

    @rule(
        client=clients,
        place=st.sampled_from([(), (A, SLICE, ROOT), (B, SLICE, ROOT)]),
        held=st.integers(0, 200),
        pending=st.integers(0, 200),
        uncharged=st.integers(0, 200),
    )
    def report(self, client: int, place: tuple[str, ...], held: int, pending: int, uncharged: int) -> None:
        self._put(client, self.model[client].uid, place, held, pending, uncharged)

    @rule(client=consumes(clients))
    def go(self, client: int) -> None:
        self.books.remove(client)
        self.books.remove(client)
        del self.model[client]

    @rule(cap_bytes=st.none() | st.integers(0, 300))
    def change_the_cap(self, cap_bytes: int | None) -> None:
        self.cap_bytes = cap_bytes
        self.books.set_user_cap(cap_bytes)

    @invariant()
    def the_sums_are_those_of_the_model(self) -> None:
        if not hasattr(self, "books"):
            return
        assert self.books.is_valid()
        assert len(self.books) == len(self.model)
        paths = (A, B, SLICE, ROOT)
        for uid in range(3):
            own = [holding for holding in self.model.values() if holding.uid == uid]
            sums = self.books.sums_for(Holding(1, uid), paths)
            assert self.books.clients_of(uid) == len(own)
            assert sums.user_held_bytes == sum(holding.held_bytes for holding in own)
            assert sums.pending_bytes == self._counted(lambda holding: holding.pending_bytes)
            for path, level_bytes in zip(paths, sums.level_bytes, strict=True):
                assert level_bytes == self._counted(partial(unseen_bytes, path))
        held_bytes = sum(holding.held_bytes for holding in self.model.values())
        assert self.books.totals() == (held_bytes, self._counted(lambda holding: holding.pending_bytes))

    def _counted(self, figure: Callable[[Holding], int]) -> int:
        by_uid = [sum(figure(holding) for holding in self.model.values() if holding.uid == uid) for uid in range(3)]
        return sum(total if self.cap_bytes is None else min(total, self.cap_bytes) for total in by_uid)

    def teardown(self) -> None:
        if not hasattr(self, "books"):
            return
        for client in list(self.model):
            self.books.remove(client)
        assert vars(self.books) == vars(Books(self.cap_bytes))  # no user, no group and no client left behind


TestAgainstAModel = AgainstAModel.TestCase
TestAgainstAModel.settings = settings(max_examples=100, stateful_step_count=40)
