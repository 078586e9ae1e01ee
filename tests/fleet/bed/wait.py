"""Waiting for what happens elsewhere, with a deadline that a slow machine meets."""

import time
from collections.abc import Callable

DEADLINE_S = 60.0


def wait_until(is_so: Callable[[], object], what: str) -> None:
    """Looks again and again until it is so.

    Raises:
        TimeoutError: it is not within a minute; the message has `what` was waited for.
    """
    until_s = time.monotonic() + DEADLINE_S
    while not is_so():
        if time.monotonic() > until_s:
            raise TimeoutError(f"after {DEADLINE_S} s it is still not so that {what}")
        time.sleep(0.1)
