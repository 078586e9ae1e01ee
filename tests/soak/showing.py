"""How far the run is: a line that is kept up to date on a terminal; elsewhere a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status
from tally import Tally

PLAIN_EVERY_S = 10.0


@contextmanager
def progress(tally: Tally) -> Iterator[Callable[[], None]]:
    """What it gives is called often, and shows the tally as it is."""
    if sys.stderr.isatty():
        with Status("", console=Console(stderr=True)) as status:
            yield lambda: status.update(tally.progress())
        return
    said_s = time.monotonic()

    def say() -> None:
        nonlocal said_s
        if time.monotonic() - said_s >= PLAIN_EVERY_S:
            said_s = time.monotonic()
            print(tally.progress(), file=sys.stderr, flush=True)

    yield say
