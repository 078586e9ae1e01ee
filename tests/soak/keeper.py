"""The daemon of a soak: its lives, one after the other at one socket, what it is told, and what it counts."""

import signal
import socket
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from broken import PATIENCE_S, BrokenError
from kinds import CONFIGURATIONS, Configuration
from machine import GREENBOOST, Daemon, configure, start_daemon, until_equal
from prometheus_client.parser import text_string_to_metric_families
from tally import Tally

FAULTY = Path(__file__).with_name("faulty_daemon.py")

_COUNTED = {
    "greenboost_lease_grants_total": "granted",
    "greenboost_lease_granted_bytes_total": "granted_bytes",
    "greenboost_lease_refusals_total": "refused",
    "greenboost_lease_dropped_total": "dropped",
}


class Keeper:
    """Keeps a daemon running.

    Args:
        folder: the daemon's.
        marked: what every process of the run has in its environment.
        fault: what the daemon does wrong on purpose; "": nothing.
        tally: where its lives are counted.
        patience_s: how long its books may be behind.
    """

    def __init__(
        self, folder: Path, marked: Mapping[str, str], fault: str, tally: Tally, patience_s: float = PATIENCE_S
    ) -> None:
        self.folder, self._marked, self._tally, self._patience_s = folder, marked, tally, patience_s
        self._command: list[str | Path] = [sys.executable, FAULTY, fault] if fault else [GREENBOOST]
        self._metrics = f"127.0.0.1:{_free_port()}"
        self._log_read = 0
        self._counted: Counter[str] = Counter()  # of this life
        self.life = 0
        self.in_force = CONFIGURATIONS["plain"]
        folder.mkdir()
        configure(folder, self.in_force.text, self._metrics)
        self.daemon = self._start()
        self.daemon.wait_until_ready()

    def _start(self) -> Daemon:
        self.life += 1
        return start_daemon(self.folder, command=self._command, environment=self._marked)

    def replace(self, ending: str, gone_ms: int, stillborn_ms: int | None) -> None:
        """The daemon ends, and after a while there is another.

        Raises:
            BrokenError: it does not end as it should.
        """
        self.count()
        self.dismiss(ending)
        self.await_end(ending)
        time.sleep(gone_ms / 1000)
        # What it could not read while it ran would end the next one at its start: only what is in force is there.
        configure(self.folder, self.in_force.text, self._metrics)
        if stillborn_ms is not None:
            unborn = self._start()
            time.sleep(stillborn_ms / 1000)
            unborn.kill()
            self._tally.stillborn["daemon"] += 1
        self.daemon = self._start()
        self.daemon.wait_until_ready()

    def dismiss(self, ending: str) -> None:
        """Sends what ends it."""
        self.daemon.process.send_signal(signal.SIGKILL if ending == "kill" else signal.SIGTERM)

    def await_end(self, ending: str) -> None:
        """Waits for its end.

        Raises:
            BrokenError: not as it should.
        """
        code = self.daemon.process.wait(PATIENCE_S)
        self.daemon.notified.close()
        expected = -signal.SIGKILL if ending == "kill" else 0
        if code != expected:
            raise BrokenError(f"the daemon ended with {code}, not {expected}: {self.daemon.said()[-3:]}")
        if ending == "term" and self.daemon.socket.exists():
            raise BrokenError(f"{self.daemon.socket} is still there, its daemon is not")
        self._tally.daemons[f"SIG{ending.upper()}"] += 1
        self._tally.leases.update(self._counted)
        self._counted = Counter()

    def pause(self, for_ms: int) -> None:
        """Stops it for a while."""
        self.daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(for_ms / 1000)
        self.daemon.process.send_signal(signal.SIGCONT)
        self._tally.daemons["stopped"] += 1

    def configure(self, configuration: Configuration) -> None:
        """Gives it another configuration, and has it read that; a broken one changes nothing."""
        configure(self.folder, configuration.text, self._metrics)
        self.daemon.reload()
        if not configuration.is_broken:
            self.in_force = configuration
        self._tally.reloads["bad configurations" if configuration.is_broken else "configurations"] += 1

    def status(self) -> dict[str, Any]:
        """What it answers; counts what it says of levels and alerts."""
        status = self.daemon.status()
        for each in status["resources"]:
            self._tally.saw_level(each["resource"], each["level"])
        for each in status["warnings"]:
            self._tally.saw_level(each["resource"], each["level"])
        self._tally.peak_bytes = max(self._tally.peak_bytes, status["leases"]["held_bytes"])
        return status

    def count(self) -> None:
        """Takes down its own counters, by a scrape."""
        with urllib.request.urlopen(f"http://{self._metrics}/metrics", timeout=PATIENCE_S) as answer:
            text = answer.read().decode()
        self._counted = Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if (name := _COUNTED.get(sample.name)) and sample.value:
                    self._counted[" ".join((name, *sample.labels.values()))] += int(sample.value)

    def leases(self) -> Counter[str]:
        """What was counted over all lives."""
        return self._tally.leases + self._counted

    def new_lines(self) -> list[str]:
        """What it has written since this was asked last."""
        lines = self.daemon.said()
        new, self._log_read = lines[self._log_read :], len(lines)
        return new

    def wait_until(self, expected: Any, read: Any) -> None:
        """Waits for what must come about.

        Raises:
            AssertionError: it does not.
        """
        until_equal(expected, read, int(self._patience_s / 0.02))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
