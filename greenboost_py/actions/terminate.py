"""The last resort, off unless it is configured: asks the process that holds most RAM to end (SIGTERM, never SIGKILL).

The kernel's own choice cannot be trusted with this: it does not count what GPU drivers hold for a process, and ends an
innocent first. Whoever is chosen here is looked at again right before the signal, through a pidfd: a process that has
ended, or somebody else with its number, is never hit.
"""

import os
import re
import signal
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from greenboost_py.actions.alert_text import printable
from greenboost_py.base.config import TerminateConfig
from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.base.units import format_size
from greenboost_py.pressure.levels import Level
from greenboost_py.sensors.holders import Holder, held_bytes, largest_of
from greenboost_py.sensors.kernel_text import malformed, parse_number

SHARE = 10
"""Only who holds at least a tenth of all RAM: ending anybody smaller would not help."""

GRACE_S = 15.0
"""A process that was asked has so long to end, and its memory to come back, before anybody else is asked; as long as it
takes, where it could not take the signal yet."""

AGAIN_S = 1.0
"""Where there is nobody to ask, every process is looked at again only after so long."""

_CANDIDATES_MAX = 16
_ASKED_MAX = 64

_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD, a flag in /proc/PID/stat. Source: include/linux/sched.h; proc(5)."""

_PENDING = re.compile(rb"^(?:SigPnd|ShdPnd):\t(.*)$", re.MULTILINE)
_MASK = re.compile(rb"[0-9a-f]{16}")

_EXEMPT = b"-1000"
"""OOM_SCORE_ADJ_MIN: its packager, or the administrator, has declared this process untouchable. Source: proc(5)."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides whether a process may be asked.

    Attributes:
        start_ticks: when it started; with the pid, its identity.
        parent: its parent's pid.
        is_kernel_thread: it has no memory of its own to give back.
        is_exempt: the kernel would not choose it either.
    """

    start_ticks: int
    parent: int
    is_kernel_thread: bool
    is_exempt: bool


def read_facts(root: SysRoot, pid: int) -> Facts | None:
    """Looks at a process; None: it is not there.

    Raises:
        SensorError: /proc is malformed.
    """
    path = f"proc/{pid}/stat"
    stat, score = root.read_bytes(path), root.read_bytes(f"proc/{pid}/oom_score_adj")
    if stat is None:
        return None
    # The name may hold anything; numbers follow it, from field 3 on.
    fields = stat.rpartition(b")")[2].split()
    if len(fields) <= 22 - 3:
        raise malformed(path, "the process", stat)
    return Facts(
        start_ticks=parse_number(fields[22 - 3], path, "the start time"),
        parent=parse_number(fields[4 - 3], path, "the parent"),
        is_kernel_thread=bool(parse_number(fields[9 - 3], path, "the flags") & _KERNEL_THREAD),
        is_exempt=score is not None and score.strip() == _EXEMPT,
    )


def is_ending(root: SysRoot, pid: int) -> bool:
    """Whether a process has yet to take a SIGTERM that it was sent: in a long allocation it cannot.

    Raises:
        SensorError: /proc is malformed.

    Source: proc(5), /proc/pid/status, SigPnd and ShdPnd.
    """
    path = f"proc/{pid}/status"
    pending = 0
    for mask in _PENDING.findall(root.read_bytes(path) or b""):
        if not _MASK.fullmatch(mask):
            raise malformed(path, "pending signals", mask)
        pending |= int(mask, 16)
    return bool(pending & 1 << signal.SIGTERM - 1)


def read_protected(root: SysRoot, own_pid: int) -> frozenset[int]:
    """Process 1, ourselves, and everybody from whom we descend.

    Raises:
        SensorError: /proc is malformed.
    """
    protected = {1}
    pid = own_pid
    while pid > 0 and pid not in protected:
        protected.add(pid)
        facts = read_facts(root, pid)
        pid = 0 if facts is None else facts.parent
    return frozenset(protected)


def candidates(holders: Iterable[Holder], ram_total_bytes: int) -> tuple[Holder, ...]:
    """Who holds enough RAM, GTT included, for its end to help; the largest first."""
    least_bytes = max(1, ram_total_bytes // SHARE)
    return tuple(h for h in largest_of(holders, "ram", _CANDIDATES_MAX) if held_bytes(h, "ram") >= least_bytes)


def choose(
    largest: Sequence[Holder], facts: Mapping[int, Facts | None], protected: frozenset[int], spare: Sequence[str]
) -> Holder | None:
    """The largest of those who may be asked; None: nobody.

    Args:
        largest: from `candidates`.
        facts: of each of them, by pid; read after they were.
        protected: pids that are never asked.
        spare: names of programs that are never asked.
    """
    # /proc keeps 15 bytes of a name: a longer one in the configuration means all that begin like it.
    spared = {name.encode()[:15].decode("utf-8", "ignore") for name in spare}
    for holder in largest:
        now = facts.get(holder.pid)
        if now is None or now.start_ticks != holder.start_ticks or now.is_kernel_thread or now.is_exempt:
            continue
        if holder.pid not in protected and holder.name not in spared:
            return holder
    return None


class Terminator:
    """Asks one process at a time to end.

    Args:
        root: where /proc is: the machine's own, for signals go there.
        config: whether, when, and who is spared.
        ram_total_bytes: all the RAM there is.
        own_pid: this process.
    """

    def __init__(self, root: SysRoot, config: TerminateConfig, ram_total_bytes: int, own_pid: int) -> None:
        self._root = root
        self._config = config
        self._ram_total_bytes = ram_total_bytes
        self._own_pid = own_pid
        self._not_before_s: float | None = None
        self._asked: deque[tuple[int, int]] = deque(maxlen=_ASKED_MAX)
        self._nobody_since_s: float | None = None

    def is_due(self, level: Level, since_s: float, at_s: float) -> bool:
        """Whether it is time to act.

        Args:
            level: of RAM.
            since_s: when that level was reached, in seconds of the monotonic clock.
            at_s: now, on the same clock.
        """
        return (
            self._config.largest_holder
            and level is Level.CRITICAL
            and at_s - since_s >= self._config.after_s
            and (self._not_before_s is None or at_s >= self._not_before_s)
        )

    def act(
        self, since_s: float, at_s: float, read_holders: Callable[[], Sequence[Holder]], read_level: Callable[[], Level]
    ) -> str | None:
        """Asks the largest holder to end; call it when `is_due`.

        Args:
            since_s: when RAM became CRITICAL.
            at_s: now.
            read_holders: looks at every process anew; called once to choose, and once more right before the signal.
            read_level: looks at RAM anew; called right before the signal.

        Returns:
            One line on what was done or why not, for the journal; None: as last time, nobody may be asked, or somebody
            who was is still about to end.
        """
        self._not_before_s = at_s + AGAIN_S
        try:
            holders = read_holders()
            if self._waits_for_one_of(holders):
                return None
            victim = self._choose(holders)
            if victim is None:
                was_said, self._nobody_since_s = self._nobody_since_s == since_s, since_s
                return None if was_said else "terminate: nobody who may be ended holds a tenth of RAM or more"
            problem = self._ask(victim, read_holders, read_level)
        except SensorError as error:
            return f"terminate: {error}"
        if problem is None:
            self._not_before_s = at_s + GRACE_S
        who = f"{printable(victim.name)} (pid {victim.pid}), the largest holder of RAM"
        size = format_size(held_bytes(victim, "ram"))
        return f"terminate: {who} ({size}), {'was sent SIGTERM' if problem is None else f'was not ended: {problem}'}"

    def _waits_for_one_of(self, holders: Iterable[Holder]) -> bool:
        """Whether somebody who was asked is about to end, and gives enough back: nobody else has to.

        Raises:
            SensorError: /proc is malformed.
        """
        asked = [h for h in candidates(holders, self._ram_total_bytes) if (h.pid, h.start_ticks) in self._asked]
        return any(is_ending(self._root, holder.pid) for holder in asked)

    def _choose(self, holders: Iterable[Holder]) -> Holder | None:
        """The victim, from what was just read.

        Raises:
            SensorError: /proc is malformed.
        """
        largest = [h for h in candidates(holders, self._ram_total_bytes) if (h.pid, h.start_ticks) not in self._asked]
        facts = {holder.pid: read_facts(self._root, holder.pid) for holder in largest}
        return choose(largest, facts, read_protected(self._root, self._own_pid), self._config.spare)

    def _ask(
        self, victim: Holder, read_holders: Callable[[], Sequence[Holder]], read_level: Callable[[], Level]
    ) -> str | None:
        """Sends the signal if everything is still as it was; says why not.

        The pidfd is opened first. If after that the number still belongs to a process with the same start, then that
        is the process which the pidfd means, now and later.

        Raises:
            SensorError: /proc is malformed.
        """
        pidfd = None
        try:
            pidfd = os.pidfd_open(victim.pid)
            again = self._choose(read_holders())
            if again is None or (again.pid, again.start_ticks) != (victim.pid, victim.start_ticks):
                return "by now it has ended, or is not the largest"
            if read_level() is not Level.CRITICAL:
                return "by now RAM is no longer critical"
            # Whatever comes of it, this process is not asked twice.
            self._asked.append((victim.pid, victim.start_ticks))
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        except OSError as error:
            return error.strerror or str(error)
        finally:
            if pidfd is not None:
                os.close(pidfd)
        return None
