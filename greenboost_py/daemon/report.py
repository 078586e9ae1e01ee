"""What `greenboost status` is answered: the machine for everybody, programs for those whose they are."""

from collections.abc import Iterable, Sequence
from typing import Any

from greenboost_py import __version__
from greenboost_py.actions.alert_text import headline
from greenboost_py.actions.journal import Written
from greenboost_py.broker.books import Books
from greenboost_py.broker.leases import Counters
from greenboost_py.broker.server import Lease
from greenboost_py.daemon.view import View
from greenboost_py.pressure.levels import Assessment
from greenboost_py.sensors.holders import Holder, held_bytes, largest_ram_holders

ROOT = 0

HOLDERS_MAX = 10

PROGRAMS_MAX = 64
"""So many leases are shown one by one: who asks again and again must not keep the daemon from leasing."""


def report(
    view: View | None,
    holders: Sequence[Holder],
    leases: Sequence[Lease],
    books: Books,
    counters: Counters,
    uid: int,
    pid: int,
    warnings: Iterable[Written] = (),
) -> dict[str, Any]:
    """The answer as an object that JSON can hold; sizes in bytes, times in seconds.

    Args:
        view: the newest look; None before the first.
        holders: who holds memory.
        leases: those to show one by one, if they are the asker's or root asks.
        books: of all leases.
        counters: what the lease server counts.
        uid: who asks; root sees the programs of all, others their own, and of the rest the sum.
        pid: the daemon's.
        warnings: the last few, the oldest first.
    """
    return {
        "version": __version__,
        "pid": pid,
        "resources": [] if view is None else [_resource(each) for each in view.assessments],
        "ram": _ram(view),
        "holders": _holders(holders, uid),
        "leases": _leases(leases, books, counters, uid),
        "warnings": [_warning(each) for each in warnings],
        "errors": [] if view is None else [str(error) for error in view.snapshot.errors],
    }


def _resource(assessment: Assessment) -> dict[str, Any]:
    return {
        "resource": assessment.sample.resource,
        "level": assessment.level.name.lower(),
        "reason": None if assessment.reason is None else assessment.reason.value,
        "available_bytes": assessment.sample.available_bytes,
        "total_bytes": assessment.sample.total_bytes,
        "fill_bytes_per_s": round(assessment.fill_bytes_per_s),
        "exhausted_in_s": assessment.exhausted_in_s,
    }


def _ram(view: View | None) -> dict[str, Any] | None:
    if view is None or view.snapshot.ram is None:
        return None
    ram, psi = view.snapshot.ram, view.snapshot.psi
    return {
        "total_bytes": ram.total_bytes,
        "effective_available_bytes": ram.effective_available_bytes,
        "gpu_host_bytes": view.gpu_host_bytes,
        "swap_total_bytes": ram.swap_total_bytes,
        "swap_free_bytes": ram.swap_free_bytes,
        "stalled_percent": None if psi is None else psi.some_avg10,
    }


def _holders(holders: Sequence[Holder], uid: int) -> list[dict[str, Any]]:
    """Who holds most RAM; others' programs have no name here, as in every broadcast."""
    return [_holder(each, uid) for each in largest_ram_holders(holders, HOLDERS_MAX)]


def _holder(holder: Holder, uid: int) -> dict[str, Any]:
    is_shown = uid in (ROOT, holder.uid)
    return {
        "pid": holder.pid if is_shown else None,
        "uid": holder.uid,
        "program": holder.name if is_shown else None,
        "ram_bytes": held_bytes(holder, "ram"),
        "gtt_bytes": sum(holder.gtt_bytes.values()),
        "gpu_mapped_bytes": holder.gpu_mapped_bytes,
        "vram_bytes": sum(holder.vram_bytes.values()),
    }


def _leases(leases: Sequence[Lease], books: Books, counters: Counters, uid: int) -> dict[str, Any]:
    shown = [lease for lease in leases if uid in (ROOT, lease.holding.uid)]
    held_bytes, pending_bytes = books.totals()
    return {
        "clients": len(books),
        "held_bytes": held_bytes,
        "pending_bytes": pending_bytes,
        "granted": counters.granted,
        "refused": {verdict.name.lower(): count for verdict, count in counters.refused.items() if count},
        "programs": [_lease(lease) for lease in shown],
    }


def _warning(written: Written) -> dict[str, Any]:
    """A warning as everybody may read it: its first line, which names no program (actions/alert_text.py)."""
    alert = written.alert
    return {
        "at_s": written.at_s,
        "resource": alert.resource,
        "level": alert.level.name.lower(),
        "previous_level": alert.previous.name.lower(),
        "text": headline(alert),
    }


def _lease(lease: Lease) -> dict[str, Any]:
    holding = lease.holding
    return {
        "pid": holding.pid,
        "uid": holding.uid,
        "program": None if lease.page is None else lease.page.program,
        "held_bytes": holding.held_bytes,
        "pending_bytes": holding.pending_bytes,
        "peak_bytes": holding.peak_bytes,
        "error": None if lease.error is None else str(lease.error),
    }
