"""The programs that run in a soak, each at its place: started, told, stopped, ended."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from broken import PATIENCE_S, BrokenError
from harness import CLIENTS, ROOT, environment
from judging import Running, judge, tail
from kinds import HOST_RESERVE_MIB, KINDS
from machine import Group
from schedule import Program
from tally import Tally

SOAK = Path(__file__).parent
SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM}


class Fleet:
    """All programs.

    Args:
        folder: where their output goes, until they have ended as they should.
        socket: the daemon's.
        group: where they run; None: there is none.
        marked: what every process of the run has in its environment.
        fault: what programs do wrong on purpose; "": nothing.
        tally: where they are counted.
    """

    def __init__(
        self, folder: Path, socket: Path, group: Group | None, marked: Mapping[str, str], fault: str, tally: Tally
    ) -> None:
        self._folder, self._socket, self._group = folder, socket, group
        self._marked, self._fault, self._tally = marked, fault, tally
        self.at: dict[int, Running] = {}
        self._number = 0
        for name in ("tmp", "remember", "reports"):
            (folder / name).mkdir(parents=True)

    def start(self, place: int, program: Program, stillborn_ms: int | None = None) -> None:
        """Starts a program at a place that is free; a stillborn one before it."""
        if stillborn_ms is not None:
            self._launch(place, program)
            time.sleep(stillborn_ms / 1000)
            self.end(place, "kill")
            self._tally.stillborn["program"] += 1
        self._launch(place, program)
        self._tally.started[program.kind] += 1

    def _launch(self, place: int, program: Program) -> None:
        kind = KINDS[program.kind]
        self._number += 1
        stem = self._folder / f"{self._number}-{kind.name}"
        err, out = stem.with_suffix(".err"), stem.with_suffix(".out")
        report = self._folder / "reports" / stem.name
        words = {
            "python": sys.executable,
            "clients": str(CLIENTS),
            "scripts": str(ROOT / "tests/shim/clients"),
            "soak": str(SOAK),
            "seed": str(program.seed),
            "remember": str(self._folder / "remember" / kind.name),
        }
        settings = {key: text.format(**words) for key, text in program.settings}
        env = environment(
            socket=str(self._socket),
            host_reserve=f"{HOST_RESERVE_MIB}MiB",
            FAKECUDA_REPORT=str(report),
            SOAK_FAULT=self._fault,
            TMPDIR=str(self._folder / "tmp"),
            **self._marked,
            **settings,
        )
        with err.open("wb") as err_file, out.open("wb") as out_file:
            process = subprocess.Popen(
                [part.format(**words) for part in kind.command],
                env=env,
                preexec_fn=None if self._group is None else self._group.enter,
                stdin=subprocess.PIPE if kind.talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if kind.talks else out_file,
                stderr=err_file,
                start_new_session=True,  # Ctrl-C is for the soak
            )
        self.at[place] = Running(program, kind, process, err, out, report)

    def talking(self) -> list[Running]:
        """Those that can be told, and have not ended."""
        return [each for each in self.at.values() if each.kind.talks and each.process.poll() is None]

    def stop(self, place: int) -> None:
        """Stops a program, if one runs there."""
        running = self.at.get(place)
        if running is not None and running.process.poll() is None:
            running.process.send_signal(signal.SIGSTOP)
            running.is_stopped = True
            self._tally.ended["stopped and went on"] += 1

    def go_on(self, place: int) -> None:
        """Lets a stopped program go on."""
        running = self.at.get(place)
        if running is not None and running.is_stopped:
            running.process.send_signal(signal.SIGCONT)
            running.is_stopped = False

    def end(self, place: int, ending: str) -> None:
        """Ends the program at a place, and judges how it did; none is as well.

        Raises:
            BrokenError: it ended otherwise, or does not end.
        """
        self.dismiss(place, ending)
        self.await_end(place, ending)

    def dismiss(self, place: int, ending: str) -> None:
        """Sends what ends a program, and waits for nothing."""
        running = self.at.get(place)
        if running is None:
            return
        if ending == "finish" and running.process.stdin is not None:
            running.process.stdin.close()
        elif ending in SIGNALS:
            running.process.send_signal(SIGNALS[ending])
        self.go_on(place)

    def await_end(self, place: int, ending: str = "finish") -> None:
        """Waits until the program at a place has ended, and judges how it did.

        Raises:
            BrokenError: it ended otherwise, or does not end.
        """
        running = self.at.pop(place, None)
        if running is None:
            return
        try:
            code = running.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.at[place] = running
            raise BrokenError(f"{running.label} does not end: {tail(running.err)}") from None
        finally:
            _close_pipes(running)
        self._tally.ended[judge(running, code, SIGNALS.get(ending))] += 1
        self._tally.checks["endings"] += 1
        for path in (running.err, running.out, running.report):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Waits for all, who have been killed, and judges nobody."""
        for running in self.at.values():
            running.process.wait()
            _close_pipes(running)
        self.at.clear()

    def reap(self) -> None:
        """Judges those that have ended by themselves, and waits for those that will."""
        for place, running in list(self.at.items()):
            if not running.kind.talks:
                self.await_end(place)
            elif running.process.poll() is not None:
                if not running.kind.ends:
                    raise BrokenError(f"{running.label} ended with {running.process.poll()}: {tail(running.err)}")
                self.await_end(place)

    def tell(self, word: str) -> None:
        """Tells all, then hears each repeat it; who has ended meanwhile, and may, is left out.

        Raises:
            BrokenError: one is silent, or has ended.
        """
        told = self.talking()
        for running in told:
            assert running.process.stdin is not None
            try:
                running.process.stdin.write(f"{word}\n".encode())
                running.process.stdin.flush()
            except BrokenPipeError:
                continue  # heard below
        for running in told:
            self._hear(running, word.encode())
        self.reap_talkers()

    def reap_talkers(self) -> None:
        """Judges those that talk and have ended by themselves."""
        for place, running in list(self.at.items()):
            if running.kind.talks and running.process.poll() is not None:
                self.await_end(place)

    def _hear(self, running: Running, word: bytes) -> None:
        assert running.process.stdout is not None
        end_s = time.monotonic() + PATIENCE_S
        while word + b"\n" not in running.heard:
            if not select.select([running.process.stdout], [], [], max(0.0, end_s - time.monotonic()))[0]:
                raise BrokenError(f"{running.label} does not answer: {tail(running.err)}")
            data = os.read(running.process.stdout.fileno(), 4096)
            running.heard += data
            if not data:
                running.process.wait(PATIENCE_S)
                if running.kind.ends:
                    return
                raise BrokenError(f"{running.label} ended with {running.process.poll()}: {tail(running.err)}")
        running.heard = b""


def _close_pipes(running: Running) -> None:
    for pipe in (running.process.stdin, running.process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):  # of a word that nobody heard
                pipe.close()
