"""The checks at a quiet point, where every program holds still and every intruder has gone.

The daemon's books are what the programs' own counters say, program by program and to the byte; the rule that is in force
is kept to the byte at its counter; the daemon is no larger than it was; nobody was killed but by us.
"""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from broken import BrokenError
from fleet import Fleet
from keeper import Keeper
from kinds import MIB
from machine import Group
from tally import Tally

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.broker.client import LeaseClient
from greenboost_py.broker.protocol import Reply, Verdict
from greenboost_py.pressure.levels import Level
from greenboost_py.sensors.programs import read_programs

DESCRIPTORS_PER_CLIENT = 3  # the socket, the page, the process

WARM_UP_QUIETS = 3
"""A daemon's first quiet points: what it loads when it is first needed, it has loaded by then."""

GROWTH_MAX_BYTES = 6 * MIB
"""What a daemon's resident memory may grow by after that, however long it lives."""


@dataclass
class _Life:
    """What a daemon took at the quiet points of its life."""

    number: int
    quiets: int = 0
    descriptors: int | None = None
    first: dict[str, int] = field(default_factory=dict)


class Checker:
    """Checks, and remembers what it must to do so.

    Args:
        keeper: the daemon.
        fleet: the programs.
        group: theirs; None: there is none.
        tally: where checks are counted.
    """

    def __init__(self, keeper: Keeper, fleet: Fleet, group: Group | None, tally: Tally) -> None:
        self._keeper, self._fleet, self._group, self._tally = keeper, fleet, group, tally
        self._life = _Life(0)
        self._met: set[tuple[int, int]] = set()
        self._alerts: set[tuple[int, float, str]] = set()

    def check(self) -> None:
        """All of it; everybody is still.

        Raises:
            BrokenError, AssertionError: something is not as it should be; the text says what.
        """
        self._check_books()
        self._check_daemon()
        self._check_leases()
        self._keeper.count()
        if self._group is not None and self._group.kills():
            raise BrokenError(f"the kernel killed {self._group.kills()} programs for want of memory in their group")
        self.check_log()
        self._tally.checks.update(("OOM kills", "daemon's log"))
        self._tally.quiets += 1

    def check_log(self) -> None:
        """The daemon has written no traceback.

        Raises:
            BrokenError: it has.
        """
        for line in self._keeper.new_lines():
            if "Traceback" in line or "Error:" in line or "never retrieved" in line:
                raise BrokenError(f"the daemon writes: {line}")

    def check_empty(self) -> None:
        """Nobody runs: nothing is on the books.

        Raises:
            AssertionError: something is.
        """
        leases = ("clients", "held_bytes", "pending_bytes")
        self._keeper.wait_until([0, 0, 0], lambda: [self._keeper.status()["leases"][name] for name in leases])
        self._tally.checks["books"] += 1

    def _held(self) -> dict[int, int]:
        """By their own counters: host memory by process. Who holds nothing has no reason to look for a daemon."""
        held = {}
        for running in self._fleet.talking():
            found = read_programs(SysRoot(), os.geteuid(), running.process.pid)
            if len(found.programs) != 1:
                errors = ", ".join(map(str, found.errors)) or "no error"
                raise BrokenError(f"{running.label} shows {len(found.programs)} pages of counters: {errors}")
            held_bytes = found.programs[0].page.host_bytes
            if held_bytes > running.host_limit_bytes():
                raise BrokenError(f"{running.label} holds {held_bytes} bytes of host memory, over its limit")
            if held_bytes:
                held[running.process.pid] = held_bytes
        return held

    def _check_leases(self) -> None:
        """The books, and the rule. Chunks may come back to VRAM where a program holds still: then both are looked at again."""
        while True:
            held = self._check_books()
            try:
                self._check_rule(sum(held.values()))
                return
            except (BrokenError, AssertionError):
                if self._held() == held:
                    raise

    def _check_books(self) -> dict[int, int]:
        """Returns what is held by both accounts, which are read anew at each look."""
        held: dict[int, int] = {}

        def differences() -> list[str]:
            nonlocal held
            held = self._held()
            programs = self._keeper.status()["leases"]["programs"]
            booked = {
                each["pid"]: (each["held_bytes"], each["pending_bytes"]) for each in programs if each["held_bytes"]
            }
            counted = {pid: (held_bytes, 0) for pid, held_bytes in held.items()}
            return [
                f"pid {pid}: {booked.get(pid)} on the books, {counted.get(pid)} by its counters"
                for pid in sorted(booked.keys() | counted.keys())
                if booked.get(pid) != counted.get(pid)
            ]

        self._keeper.wait_until([], differences)
        leases = self._keeper.status()["leases"]
        sums = (sum(each["held_bytes"] for each in leases["programs"]), 0)
        if (leases["held_bytes"], leases["pending_bytes"]) != sums:
            raise BrokenError(f"the sums are {leases['held_bytes']}, {leases['pending_bytes']}: not {sums}")
        for pid in held:
            self._met.add((pid, self._keeper.life))
        self._tally.reconnections = len(self._met) - len({pid for pid, _ in self._met})
        self._tally.checks["books"] += 1 + len(held)
        return held

    def _check_daemon(self) -> None:
        """Its descriptors, its threads and its memory."""
        life, pid = self._life, self._keeper.daemon.process.pid
        if life.number != self._keeper.life:
            life = self._life = _Life(self._keeper.life)
        life.quiets += 1

        def own_descriptors() -> int:
            clients: int = self._keeper.status()["leases"]["clients"]
            return len(os.listdir(f"/proc/{pid}/fd")) - DESCRIPTORS_PER_CLIENT * clients

        if life.descriptors is None:
            life.descriptors = own_descriptors()
        self._keeper.wait_until(life.descriptors, own_descriptors)
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        now = {"rss_bytes": int(status["VmRSS"].split()[0]) << 10, "threads": int(status["Threads"])}
        now["fds"] = len(os.listdir(f"/proc/{pid}/fd"))
        if life.quiets <= WARM_UP_QUIETS:
            life.first = now
        growth_bytes = now["rss_bytes"] - life.first["rss_bytes"]
        if growth_bytes > GROWTH_MAX_BYTES:
            raise BrokenError(f"the daemon grew by {growth_bytes} bytes since its quiet point {WARM_UP_QUIETS}")
        if now["threads"] > life.first["threads"]:
            raise BrokenError(f"the daemon has {now['threads']} threads, and had {life.first['threads']}")
        if life.quiets >= self._tally.longest_life.get("quiets", 0):
            ends = {"first": life.first, "last": now}
            figures = {f"{end}_{name}": value for end, taken in ends.items() for name, value in taken.items()}
            self._tally.longest_life = {"quiets": life.quiets, **figures}
        self._tally.checks.update(("descriptors", "memory", "threads"))

    def _check_rule(self, held_bytes: int) -> None:
        """A client of our own asks for what it must not get, and for what it should."""
        rule = self._keeper.in_force
        with LeaseClient(self._keeper.daemon.socket) as client:
            client.hello()
            caps = {Verdict.PROCESS_CAP: rule.per_process_bytes}
            if rule.per_user_bytes is not None:
                caps[Verdict.USER_CAP] = max(0, rule.per_user_bytes - held_bytes)
            rooms = {verdict: room for verdict, room in caps.items() if room is not None}
            for verdict, room_bytes in rooms.items():
                if min(rooms.values()) == room_bytes:
                    self._expect_refusal(self._ask(client, room_bytes + 1), verdict, room_bytes)
            if not rooms:
                self._expect_refusal(self._ask(client, 1 << 50), None, 1 << 50)
            reply = self._ask(client, MIB)
            is_critical = reply.level is Level.CRITICAL
            if rule.is_critical and not is_critical:
                raise BrokenError("RAM is not critical where the configuration says that it always is")
            if reply.verdict is Verdict.GRANTED:
                if is_critical or reply.granted_bytes != MIB or reply.leased_bytes != MIB:
                    raise BrokenError(f"a lease of 1 MiB was answered {reply}")
                ours = (os.getpid(), MIB, MIB)
                self._keeper.wait_until([ours], lambda: self._booked(os.getpid()))
                client.update(MIB)
                self._keeper.wait_until([(os.getpid(), MIB, 0)], lambda: self._booked(os.getpid()))
            elif reply.granted_bytes or reply.budget_bytes >= MIB:
                raise BrokenError(f"a lease of 1 MiB was refused, and could have been granted: {reply}")
        self._check_books()  # and ours is off them
        self._see_alerts()
        self._tally.checks["rule"] += 1 + len(rooms)

    def _ask(self, client: LeaseClient, wanted_bytes: int) -> Reply:
        begin_s = time.perf_counter()
        reply = client.acquire(wanted_bytes)
        taken_ms = (time.perf_counter() - begin_s) * 1000
        self._tally.slowest_grant_ms = max(self._tally.slowest_grant_ms, taken_ms)
        return reply

    def _expect_refusal(self, reply: Reply, verdict: Verdict | None, room_bytes: int) -> None:
        if reply.level is Level.CRITICAL:
            verdict = Verdict.PRESSURE
        if reply.verdict is Verdict.GRANTED or reply.granted_bytes or reply.budget_bytes > room_bytes:
            raise BrokenError(f"more than {room_bytes} bytes were asked for, and the answer is {reply}")
        if verdict is not None and reply.verdict is not verdict:
            raise BrokenError(f"refused for {reply.verdict.name}, not for {verdict.name}: {reply}")

    def _booked(self, pid: int) -> list[tuple[int, int, int]]:
        programs = self._keeper.status()["leases"]["programs"]
        return [(each["pid"], each["held_bytes"], each["pending_bytes"]) for each in programs if each["pid"] == pid]

    def _see_alerts(self) -> None:
        for each in self._keeper.status()["warnings"]:
            self._alerts.add((self._keeper.life, each["at_s"], each["resource"]))
        self._tally.warnings = len(self._alerts)
