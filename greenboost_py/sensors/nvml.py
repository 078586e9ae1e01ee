"""NVIDIA's GPUs through NVML, without ever waiting longer than agreed: a driver may hang, and its calls with it."""

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

from greenboost_py.sensors.nvml_reading import NvidiaGpu, NvidiaProcess, NvmlError, NvmlReading
from greenboost_py.sensors.nvml_session import NvmlSession

__all__ = ["NvidiaGpu", "NvidiaProcess", "NvmlError", "NvmlReading", "NvmlSource"]


class NvmlSource:
    """Readings of NVML, which one thread takes.

    `read` asks and waits, at most `deadline_s`. `poll` does not wait: it answers what was read last and has the next
    reading taken meanwhile, so an event loop that polls every second has figures of a second ago (`at_s` says when).

    A driver that hangs keeps the thread. Until its call returns, both answer at once with the last figures, marked
    stale and with an error; then everything goes on by itself. There is never a second thread in the driver.

    Args:
        deadline_s: how long the driver may take for all of its GPUs, in seconds; above 0.
        api: stands in for the module pynvml; None: the real one, which is imported only where there is a library.
        clock: seconds of the monotonic clock.
    """

    def __init__(self, deadline_s: float, api: Any = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._deadline_s = deadline_s
        self._clock = clock
        self._session = NvmlSession(api, clock)  # the thread's
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()  # guards what follows
        self._newest = NvmlReading()
        self._asked = 0
        self._answered = 0
        self._asked_at_s = 0.0
        self._is_closed = False

    def read(self) -> NvmlReading:
        """A reading of now, or a stale one once the deadline has passed."""
        with self._changed:
            if not self._is_stuck():
                self._ask()
                self._changed.wait_for(lambda: self._answered == self._asked, self._deadline_s)
            return self._answer()

    def poll(self) -> NvmlReading:
        """The newest reading there is, at once; the next one is begun, unless one is under way."""
        with self._changed:
            if not self._is_stuck():
                answer = self._answer()
                self._ask()
                return answer
            return self._answer()

    def close(self) -> None:
        """Shuts NVML down, but waits no longer than the deadline, and not at all for a thread that is stuck.

        Such a thread ends with the process. A source that is closed answers what it read last.
        """
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            is_stuck = self._is_stuck()
        if self._thread is not None and not is_stuck:
            self._thread.join(self._deadline_s)

    def _is_stuck(self) -> bool:
        """Whether an answer is due and has not come. The lock is held."""
        return self._answered != self._asked and self._clock() - self._asked_at_s >= self._deadline_s

    def _ask(self) -> None:
        """Wants a reading, unless one is under way. The lock is held."""
        if self._is_closed or self._answered != self._asked:
            return
        self._asked += 1
        self._asked_at_s = self._clock()
        if self._thread is None:
            # A daemon thread: a driver that never returns must not keep the process from ending.
            self._thread = threading.Thread(target=self._serve, name="nvml", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _answer(self) -> NvmlReading:
        """The newest reading as it must be taken now. The lock is held."""
        if not self._is_stuck():
            return self._newest
        error = NvmlError(f"NVML: NVIDIA's driver has not answered within {self._deadline_s:g} s")
        return dataclasses.replace(self._newest, is_stale=True, error=error)

    def _serve(self) -> None:
        """The thread: the only one that calls the driver, and without the lock."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._answered != self._asked)
                if self._is_closed:
                    break
            reading = self._session.look()
            with self._changed:
                self._newest, self._answered = reading, self._asked
                self._changed.notify_all()
        self._session.end()
