"""What an alert says, in words.

Two audiences. The administrator's journal gets programs and pids. A broadcast (terminals, the system bus) is one text
that everybody on the machine may read, so one rule without exceptions holds for it: no program's name, no pid and no
argument; who holds memory is named by the user's name alone, which everybody can look up anyway. A desktop's notifier
puts the names of its own user's programs back in (actions/notifier.py). Command lines are in neither.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from greenboost_py.base.units import format_size
from greenboost_py.pressure.levels import Level, Reason

if TYPE_CHECKING:
    from greenboost_py.actions.alert import Alert
    from greenboost_py.sensors.holders import Holder

_NAME_MAX = 32
"""Longer than any command's name in /proc (15) and than the login names that useradd takes (32)."""

_FORECAST_MAX_S = 3600.0
"""A forecast beyond an hour says nothing about now."""

_GPU_HOST_SHARE = 64
"""RAM held by GPU drivers is worth a word from 1/64 of RAM on: below, it is the display's."""

_GROUP_PARTS = 2
"""So much of the end of a cgroup's folder tells people which it is."""

_SHORT = {Level.NOTICE: "is getting short", Level.WARN: "is short", Level.CRITICAL: "is nearly exhausted"}
_FILLING = {
    Level.NOTICE: "is filling up",
    Level.WARN: "is filling up fast",
    Level.CRITICAL: "is about to be exhausted",
}
_EASED = {Level.NOTICE: "has eased, still low", Level.WARN: "has eased, still short"}


def printable(text: str) -> str:
    """A name that a process or a user chose, made safe for a terminal: what does not print is `?`, and it is short."""
    safe = "".join(character if character.isprintable() else "?" for character in text[: _NAME_MAX + 1])
    return (safe if len(safe) <= _NAME_MAX else safe[: _NAME_MAX - 1] + "…") or "?"


def headline(alert: "Alert") -> str:
    """One line for everybody: what is short, how much is left, how long it may last."""
    name, left = resource_name(alert.resource), format_size(alert.available_bytes)
    total = format_size(alert.total_bytes)
    name = name[:1].upper() + name[1:]
    if alert.level is Level.OK:
        return f"{name} is no longer short: {left} of {total} available."
    verbs = _EASED if alert.is_recovery else _FILLING if alert.reason is Reason.FORECAST else _SHORT
    verb = verbs[alert.level]
    return f"{name} {verb}: {left} of {total} left{_lasting(alert.exhausted_in_s)}."


def body(alert: "Alert") -> str:
    """For the administrator: who holds how much, by program and pid; on the next line what to do."""
    return _body(alert, _named)


def broadcast_body(alert: "Alert", users: Mapping[int, str]) -> str:
    """For everybody: the same without programs and pids.

    Args:
        alert: what to tell.
        users: login names by user id; one that is not in it is named by its number.
    """

    def whose(holder: "Holder") -> str:
        return f"a program of {printable(users.get(holder.uid, f'user {holder.uid}'))}"

    return _body(alert, whose)


def resource_name(resource: str) -> str:
    """The field's word for it, for example `GTT of GPU 0000:c4:00.0`, or `memory cgroup user.slice/job_7`."""
    kind, _, address = resource.partition(":")
    if kind == "cgroup":
        return f"memory cgroup {'/'.join(printable(part) for part in address.split('/')[-_GROUP_PARTS:])}"
    return f"{printable(kind).upper()} of GPU {printable(address)}" if address else printable(kind).upper()


def _lasting(exhausted_in_s: float | None) -> str:
    if exhausted_in_s is None or exhausted_in_s > _FORECAST_MAX_S:
        return ""
    if exhausted_in_s < 1:
        return ", at this rate for less than 1 s"
    if exhausted_in_s < 120:
        return f", at this rate for {exhausted_in_s:.0f} s"
    return f", at this rate for {exhausted_in_s / 60:.0f} min"


def is_worth_a_word(gpu_host_bytes: int, ram_total_bytes: int) -> bool:
    """Whether people are told what GPU drivers hold: less is the display's, or within what the estimate misses."""
    return gpu_host_bytes >= max(1, ram_total_bytes // _GPU_HOST_SHARE)


def _named(holder: "Holder") -> str:
    return f"{printable(holder.name)} (pid {holder.pid})"


def _body(alert: "Alert", who: "Callable[[Holder], str]") -> str:
    if alert.level is Level.OK:
        return ""
    held = "; ".join(_held(holder, alert.resource, who(holder)) for holder in alert.holders)
    facts = [f"Held: {held}."] if held else []
    if alert.resource == "ram":
        if is_worth_a_word(alert.gpu_host_bytes or 0, alert.total_bytes):
            facts.append(f"GPU drivers hold {format_size(alert.gpu_host_bytes or 0)} that no process list shows.")
        if alert.swap_free_bytes is not None:
            facts.append(f"{format_size(alert.swap_free_bytes)} of swap is free.")
    return "\n".join(line for line in (" ".join(facts), _advice(alert, who)) if line)


def _held(holder: "Holder", resource: str, who: str) -> str:
    from greenboost_py.sensors.holders import held_bytes  # `greenboost status` asks for names only, and starts faster

    text = f"{format_size(held_bytes(holder, resource))} by {who}"
    through_gpu_bytes = sum(holder.gtt_bytes.values()) + holder.gpu_mapped_bytes
    if resource == "ram" and through_gpu_bytes:
        at_most = "up to " if holder.gpu_mapped_bytes else ""
        text += f", of it {at_most}{format_size(through_gpu_bytes)} through a GPU's driver"
    return text


def _advice(alert: "Alert", who: "Callable[[Holder], str]") -> str:
    """What to do next, by resource and level."""
    whom = who(alert.holders[0]) if alert.holders else "what needs it least"
    kind = alert.resource.partition(":")[0]
    if kind == "vram":
        return (
            f"To free VRAM, close {whom}. A program started by `greenboost run` goes on in host memory;"
            " --vram-limit keeps it smaller."
        )
    if kind == "gtt":
        return (
            f"To free GTT, close {whom}, or give it a smaller model or context."
            " More GTT is a boot setting (ttm.pages_limit), and takes RAM from everything else."
        )
    if kind == "cgroup":
        return f"Close or limit {whom}, or raise the group's limit: at the limit the kernel ends a program in it."
    if alert.level is Level.CRITICAL:
        return f"Close {whom} now. Programs under `greenboost run` get no more host memory until this is over."
    limit = "`greenboost run --host-limit SIZE` keeps a CUDA program within a limit."
    return f"Close or limit {whom}. {limit}" if alert.level is Level.WARN else f"Nothing needs to be done yet. {limit}"
