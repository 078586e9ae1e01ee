"""Where a soak takes place: the daemon, the programs, their group; each event of the schedule done, and all of it cleared away."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from broken import PATIENCE_S, BrokenError
from checking import Checker
from fleet import Fleet
from keeper import Keeper
from kinds import CONFIGURATIONS
from machine import NoGroupError, memory_group
from schedule import (
    Action,
    Configure,
    EndDaemon,
    Event,
    Intrude,
    Quiet,
    Replace,
    Squeeze,
    StopDaemon,
    StopProgram,
)
from squeezer import LIMIT_BYTES, Squeezer
from tally import Tally

INTRUDERS = Path(__file__).with_name("intruders.py")
NOBODY = 65534

DAEMON_FAULTS = frozenset({"books", "descriptors", "growth", "rule", "log"})
"""What the daemon can do wrong on purpose; programs do the others."""


class Stage:
    """Does what happens.

    Args:
        folder: empty; what is written goes there.
        fault: what is done wrong on purpose; "": nothing.
        patience_s: how long the daemon's books may be behind.
        tally: where all is counted.
        ending: what is to be undone at the end.
    """

    def __init__(self, folder: Path, fault: str, patience_s: float, tally: Tally, ending: ExitStack) -> None:
        self._tally = tally
        self.mark = ("GREENBOOST_SOAK", f"{os.getpid()}-{time.monotonic_ns()}")
        marked = dict([self.mark])
        is_daemons = fault in DAEMON_FAULTS
        try:
            group = ending.enter_context(memory_group(LIMIT_BYTES, "soak"))
        except NoGroupError as error:
            group = None
            tally.notes.append(f"no memory is squeezed: {error}")
        self._keeper = Keeper(folder / "daemon", marked, fault if is_daemons else "", tally, patience_s)
        program_fault = "" if is_daemons else fault
        socket = folder / "daemon" / "lease.sock"
        self._fleet = Fleet(folder / "programs", socket, group, marked, program_fault, tally)
        self._squeezer = None if group is None else Squeezer(group, {**os.environ, **marked})
        self._checker = Checker(self._keeper, self._fleet, group, tally)
        self._intruders: list[tuple[str, subprocess.Popen[bytes]]] = []
        ending.callback(self._clear)
        self._marked = marked
        self._folder = folder
        self._is_other_welcome = os.geteuid() == 0 and _is_open_to_all(folder)
        if not self._is_other_welcome:
            tally.notes.append("no intruder is another user: not root, or others may not enter the run's folder")

    def do(self, event: Event) -> None:
        """Lets an event happen.

        Raises:
            BrokenError, AssertionError: a check failed.
        """
        time.sleep(event.pause_ms / 1000)
        self._act(event.action)
        self._tally.events += 1

    def _act(self, action: Action) -> None:
        match action:
            case Replace():
                self._fleet.end(action.place, action.ending)
                self._fleet.start(action.place, action.program, action.stillborn_ms)
            case StopProgram():
                self._fleet.stop(action.place)
            case EndDaemon():
                self._end_daemon(action)
            case StopDaemon():
                self._keeper.pause(action.for_ms)
            case Configure():
                self._keeper.configure(CONFIGURATIONS[action.name])
            case Squeeze():
                self._squeeze(action)
            case Intrude():
                self._intrude(action)
            case Quiet():
                self._be_quiet()

    def _end_daemon(self, action: EndDaemon) -> None:
        for place in action.places:
            self._fleet.dismiss(place, "kill")
        self._keeper.replace(action.ending, action.gone_ms, action.stillborn_ms)
        for place in action.places:
            self._fleet.await_end(place, "kill")

    def _squeeze(self, action: Squeeze) -> None:
        if self._squeezer is None:
            return
        left_bytes = self._squeezer.squeeze(action.share, action.by_limit)
        least_bytes = self._tally.least_left_bytes
        self._tally.least_left_bytes = left_bytes if least_bytes is None else min(least_bytes, left_bytes)
        self._tally.squeezes += 1

    def _intrude(self, action: Intrude) -> None:
        socket = self._keeper.daemon.socket
        command = [sys.executable, str(INTRUDERS), action.kind, str(socket), str(action.seed)]
        if action.as_other and self._is_other_welcome:
            command.append(str(NOBODY))
        environment = {**os.environ, **self._marked}
        with (self._folder / "intruders.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._intruders.append((action.kind, process))
        self._tally.intruders[action.kind] += 1

    def _be_quiet(self) -> None:
        for place in list(self._fleet.at):
            self._fleet.go_on(place)
        self._await_intruders()
        self._fleet.reap()
        self._fleet.tell("still")
        self._checker.check()
        self._fleet.tell("go")

    def _await_intruders(self) -> None:
        for kind, process in self._intruders:
            if process.wait(PATIENCE_S):
                said = (self._folder / "intruders.log").read_text().splitlines()[-3:]
                raise BrokenError(f"the intruder {kind!r} was not shown the door: {said}")
            self._tally.checks["intruders"] += 1
        self._intruders.clear()

    def finish(self) -> None:
        """Everybody ends, and nothing is left.

        Raises:
            BrokenError, AssertionError: something is.
        """
        self._be_quiet()
        for place in list(self._fleet.at):
            self._fleet.end(place, "finish")
        self._checker.check_empty()
        if self._squeezer is not None:
            self._squeezer.close()
            self._squeezer = None
        self._keeper.count()
        self._keeper.dismiss("term")
        self._keeper.await_end("term")
        self._checker.check_log()
        self._check_nothing_left()

    def close_books(self) -> None:
        """Sums up, however it ended."""
        self._tally.leases = self._keeper.leases()

    def _check_nothing_left(self) -> None:
        # A child of who was killed ends when it has done what it had to.
        try:
            self._keeper.wait_until([], lambda: list(self._marked_processes()))
        except AssertionError as error:
            raise BrokenError(f"processes are left: {error}") from error
        kept = {Path("daemon/config.toml"), Path("daemon/daemon.log"), Path("daemon/notify"), Path("intruders.log")}
        files = {path.relative_to(self._folder) for path in self._folder.rglob("*") if not path.is_dir()} - kept
        # Of who was killed there may be half a file of the shim's, and half a report of the simulated driver's.
        ours = {Path("programs/remember"), Path("programs/reports")}
        if left := sorted(str(path) for path in files if path.parent not in ours):
            raise BrokenError(f"files are left: {', '.join(left)}")
        self._tally.checks.update(("processes left", "files left"))

    def _marked_processes(self) -> Iterator[int]:
        """Everybody who was started in this run, or by who was, and still runs."""
        wanted = "=".join(self.mark).encode()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it has ended, or is none of ours

    def _clear(self) -> None:
        """Kills everybody who is still there."""
        for pid in self._marked_processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._keeper.daemon.kill()
        self._fleet.clear()
        if self._squeezer is not None:
            self._squeezer.close()
        for _, process in self._intruders:
            process.wait()


def _is_open_to_all(folder: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in (folder, *folder.parents))


@contextmanager
def stage(folder: Path, fault: str, patience_s: float, tally: Tally) -> Iterator[Stage]:
    """A stage, cleared away afterwards whatever happened on it."""
    with ExitStack() as ending:
        yield Stage(folder, fault, patience_s, tally, ending)
