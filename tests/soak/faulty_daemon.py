"""The daemon with a fault, so that it is seen whether the soak notices.

usage: faulty_daemon.py FAULT ARGUMENTS...

books: a holding is one byte more than was said. descriptors: one stays open for each client. growth: 2 MiB of memory stay
for each client. rule: what one process may hold is not looked at. log: a traceback is written, once.
"""

import os
import sys
from dataclasses import replace
from typing import Any

from greenboost_py.broker import leases, server
from greenboost_py.broker.books import Books, Holding
from greenboost_py.cli.main import main

_KEPT: list[Any] = []


def _books() -> None:
    put = Books.put

    def one_more(self: Books, client: int, holding: Holding) -> None:
        more = 1 if holding.held_bytes else 0
        put(self, client, replace(holding, held_bytes=holding.held_bytes + more))

    Books.put = one_more


def _at_hello(keep: Any) -> None:
    hello = server.LeaseServer._hello

    def keeping(self: Any, connection: Any, request: Any) -> None:
        _KEPT.append(keep())
        hello(self, connection, request)

    server.LeaseServer._hello = keeping


def _rule() -> None:
    decide = leases.decide

    def lenient(wanted: int, held: int, sums: Any, limits: Any, *rest: Any) -> Any:
        return decide(wanted, held, sums, replace(limits, per_process_bytes=None), *rest)

    leases.decide = lenient


FAULTS = {
    "books": _books,
    "descriptors": lambda: _at_hello(lambda: os.dup(0)),
    "growth": lambda: _at_hello(lambda: b"x" * (2 << 20)),
    "rule": _rule,
    "log": lambda: print("Traceback (most recent call last):", file=sys.stderr, flush=True),
}

if __name__ == "__main__":
    FAULTS[sys.argv[1]]()
    sys.argv = ["greenboost", *sys.argv[2:]]
    main()
