"""Who holds what: the figures that clients report, and the sums over them, kept as they change."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from greenboost_py.broker.grants import Sums


@dataclass(frozen=True, slots=True)
class Holding:
    """What one client says that it holds, all in bytes, and what it was granted since it said so.

    Attributes:
        pid: its process as seen from here; 0: not to be seen from here.
        uid: its user.
        groups: the paths of its memory cgroup and of those above it, whether they have a limit or not.
        held_bytes: host memory granted, by whomever, and not given back.
        pending_bytes: of those, not taken yet.
        uncharged_bytes: of those, pages that no memory cgroup is charged for.
        peak_bytes: the most that held_bytes ever was on this connection.
    """

    pid: int
    uid: int
    groups: tuple[str, ...] = ()
    held_bytes: int = 0
    pending_bytes: int = 0
    uncharged_bytes: int = 0
    peak_bytes: int = 0


@dataclass(slots=True)
class _Pool:
    """Bytes by user, and their total, in which no user counts for more than its cap.

    A program may say what it likes. What it says beyond the cap of its user gets it nothing, and must not keep others
    from theirs.
    """

    by_uid: dict[int, int] = field(default_factory=dict)
    total_bytes: int = 0

    def add(self, uid: int, delta_bytes: int, cap_bytes: int | None) -> None:
        before = self.by_uid.get(uid, 0)
        after = before + delta_bytes
        if cap_bytes is None:
            self.total_bytes += delta_bytes
        else:
            self.total_bytes += min(after, cap_bytes) - min(before, cap_bytes)
        _set(self.by_uid, uid, after)


@dataclass(slots=True)
class _Totals:
    """The sums over all clients; what comes to 0 is not kept."""

    held_bytes: int = 0
    clients_by_uid: dict[int, int] = field(default_factory=dict)
    held_by_uid: dict[int, int] = field(default_factory=dict)
    pending: _Pool = field(default_factory=_Pool)
    groups: dict[str, _Pool] = field(default_factory=dict)

    def add(self, holding: Holding, sign: int, cap_bytes: int | None) -> None:
        """Enters a holding (sign 1) or takes it out (-1)."""
        uid = holding.uid
        self.held_bytes += sign * holding.held_bytes
        _set(self.clients_by_uid, uid, self.clients_by_uid.get(uid, 0) + sign)
        _set(self.held_by_uid, uid, self.held_by_uid.get(uid, 0) + sign * holding.held_bytes)
        self.pending.add(uid, sign * holding.pending_bytes, cap_bytes)
        for path in holding.groups:
            pool = self.groups.setdefault(path, _Pool())
            pool.add(uid, sign * (holding.pending_bytes + holding.uncharged_bytes), cap_bytes)
            if not pool.by_uid:
                del self.groups[path]


def _set(counts: dict[int, int], key: int, value: int) -> None:
    if value:
        counts[key] = value
    else:
        counts.pop(key, None)


class Books:
    """All holdings, by a number that the caller gives each client, and their sums.

    Entering, changing and removing one costs the depth of its cgroup, not the number of clients.

    Args:
        user_cap_bytes: the most that one user's pending bytes count for; None: no cap.
    """

    def __init__(self, user_cap_bytes: int | None = None) -> None:
        self._user_cap_bytes = user_cap_bytes
        self._holdings: dict[int, Holding] = {}
        self._totals = _Totals()

    def __len__(self) -> int:
        return len(self._holdings)

    def holdings(self) -> Iterable[tuple[int, Holding]]:
        """Every client's number and holding, in the order in which they came."""
        return self._holdings.items()

    def holding(self, client: int) -> Holding:
        """A client's holding.

        Raises:
            KeyError: there is no such client.
        """
        return self._holdings[client]

    def put(self, client: int, holding: Holding) -> None:
        """Enters a client, or says anew what it holds; the peak is kept."""
        before = self._holdings.get(client)
        if before is not None:
            self._totals.add(before, -1, self._user_cap_bytes)
        peak_bytes = max(holding.held_bytes, 0 if before is None else before.peak_bytes)
        self._holdings[client] = replace(holding, peak_bytes=peak_bytes)
        self._totals.add(holding, 1, self._user_cap_bytes)

    def remove(self, client: int) -> Holding | None:
        """Ends a client; None: it was not there."""
        holding = self._holdings.pop(client, None)
        if holding is not None:
            self._totals.add(holding, -1, self._user_cap_bytes)
        return holding

    def set_user_cap(self, user_cap_bytes: int | None) -> None:
        """Changes the cap; costs a look at every client."""
        self._user_cap_bytes = user_cap_bytes
        self._totals = self._summed()

    def totals(self) -> tuple[int, int]:
        """What all clients hold, and what of that counts as pending, in bytes. May be asked from any thread."""
        totals = self._totals
        return totals.held_bytes, totals.pending.total_bytes

    def clients_of(self, uid: int) -> int:
        """How many clients a user has."""
        return self._totals.clients_by_uid.get(uid, 0)

    def sums_for(self, holding: Holding, levels: Iterable[str]) -> Sums:
        """What is leased already, as it matters to a client with this holding.

        Args:
            holding: as it is in the books.
            levels: the paths of those of its groups that have a limit.
        """
        groups = self._totals.groups
        return Sums(
            self._totals.held_by_uid.get(holding.uid, 0),
            self._totals.pending.total_bytes,
            tuple(groups[path].total_bytes if path in groups else 0 for path in levels),
        )

    def is_valid(self) -> bool:
        """Whether the sums are those of the holdings, and no holding contradicts itself."""
        return self._totals == self._summed() and all(
            0 <= holding.pending_bytes <= holding.held_bytes <= holding.peak_bytes
            and 0 <= holding.uncharged_bytes <= holding.held_bytes
            for holding in self._holdings.values()
        )

    def _summed(self) -> _Totals:
        totals = _Totals()
        for holding in self._holdings.values():
            totals.add(holding, 1, self._user_cap_bytes)
        return totals
