"""`greenboost status`: how short memory is, by the daemon, and what lies in which tier, by the programs' own pages."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import click

from greenboost_py.actions.alert_text import printable
from greenboost_py.base.abi import DeviceUse
from greenboost_py.base.errors import GreenboostError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.base.units import format_size
from greenboost_py.broker.client import find_status
from greenboost_py.sensors.container import Container, read_container
from greenboost_py.sensors.programs import Program, ProgramsReading, read_programs

_ROW = "{:>7}  {:<18}  {:>3}  {:<11}  {:>9}  {:>9}  {:>7}"

NO_DAEMON = "No daemon is running; `greenboost daemon` starts one (docs/service.md)."

DAEMON_DEADLINE_S = 2.0
"""A daemon answers within milliseconds; one that is stopped must not stop us."""


@click.command(
    epilog="Nothing running under GreenBoost is not an error, and no daemon is none: exit code 0. What cannot be read,"
    " and a daemon that does not answer, is a line on stderr, and exit code 1."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: sizes in bytes, null for no limit and no daemon.")
@click.option(
    "--pid", type=click.IntRange(min=1), metavar="PID", help="Only this process; it must run under GreenBoost."
)
def command(as_json: bool, pid: int | None) -> int:
    """Show how short memory is, and what lies in which tier, by program and device.

    The programs' figures are their own, so no daemon is needed for them. Root sees everybody's programs, others see
    their own.
    """
    user = os.geteuid()
    root = SysRoot()
    reading = read_programs(root, None if user == 0 else user, pid)
    report, unseen, machine, errors = None, [], [NO_DAEMON], [*reading.errors]
    try:
        report = find_status(os.environ, DAEMON_DEADLINE_S)
        if report is not None:
            from greenboost_py.cli import status_daemon

            unseen = status_daemon.unseen_programs(report, {program.pid for program in reading.programs})
            unseen = [
                each | {"container": read_container(root, each["pid"]) if each["pid"] else None} for each in unseen
            ]
            machine = status_daemon.lines(report)
    except GreenboostError as error:
        errors.append(error)
        machine = []
    if pid is not None:
        unseen, machine = [each for each in unseen if each["pid"] == pid], []
        if not reading.programs and not reading.errors and not unseen:
            raise GreenboostError(f"process {pid} is not running under GreenBoost, or has not used CUDA yet")
    if as_json:
        click.echo(to_json(reading, report))
    else:
        click.echo("\n".join([*machine, *([""] if machine else []), to_text(reading, unseen)]))
    for problem in errors:
        click.echo(f"greenboost: {problem}", err=True)
    return 1 if errors else 0


def to_text(reading: ProgramsReading, unseen: Sequence[Mapping[str, Any]] = ()) -> str:
    """The table for people, at most 80 columns wide.

    Args:
        reading: the programs with a page.
        unseen: those that only the daemon knows, from `status_daemon.unseen_programs`, with their `container`.
    """
    if not reading.programs and not unseen:
        return "No program is running under GreenBoost."
    lines = [_ROW.format("PID", "PROGRAM", "GPU", "TIER", "HELD", "PEAK", "BLOCKS")]
    for program in reading.programs:
        lines += _program_lines(program)
    for each in unseen:
        sizes = format_size(each["held_bytes"]), format_size(each["peak_bytes"])
        lines.append(_ROW.format(each["pid"] or "-", _short(each["program"]), "-", "leased", *sizes, ""))
        if each.get("container") is not None:
            lines.append(_container_line(each["container"]))
    return "\n".join(line.rstrip() for line in lines)


def _short(name: str) -> str:
    """A program's name as it fits its column. It is the program's to choose: only plain text reaches the terminal."""
    plain = "".join(character if character.isprintable() else "?" for character in name)
    return plain if len(plain) <= 18 else plain[:17] + "…"


def _program_lines(program: Program) -> list[str]:
    page = program.page
    head = (str(program.pid), _short(page.program))
    lines = []
    for device in page.devices:
        gpu = str(device.ordinal)
        for tier in device.tiers:
            if tier.bytes or tier.peak_bytes or tier.blocks:
                sizes = format_size(tier.bytes), format_size(tier.peak_bytes)
                lines.append(_ROW.format(*head, gpu, tier.name, *sizes, tier.blocks))
                head, gpu = ("", ""), ""
        lines += [f"{'':9}GPU {device.ordinal}: {note}" for note in _notes(device)]
    if not lines:
        lines.append(_ROW.format(*head, "-", "nothing yet", "", "", ""))
    if program.container is not None:
        lines.append(_container_line(program.container))
    if page.host_limit_bytes is not None:
        lines.append(f"         host memory: {format_size(page.host_bytes)} of {format_size(page.host_limit_bytes)}")
    if page.is_newer:
        lines.append("         written by a newer GreenBoost: the figures may mean something else")
    return lines


def _container_line(container: Container) -> str:
    return f"         container: {printable(container.label)} ({container.engine})"


def _notes(device: DeviceUse) -> list[str]:
    notes = []
    if device.is_used and device.limit_bytes is not None:
        notes.append(f"VRAM limit {format_size(device.limit_bytes)}")
    if device.vram_chunks or device.host_chunks:
        vram = f"{device.vram_chunks} in VRAM ({format_size(device.split_vram_bytes)})"
        notes.append(f"split chunks: {vram}, {device.host_chunks} in RAM")
    if device.moved_bytes:
        notes.append(f"moved {format_size(device.moved_bytes)}")
    if device.refused:
        notes.append(f"refused {device.refused}")
    return notes


def to_json(reading: ProgramsReading, report: Mapping[str, Any] | None = None) -> str:
    """The same for programs: an object with `programs`, `errors` and `daemon`; devices never used are left out.

    Args:
        reading: the programs with a page.
        report: the daemon's, as it is; None: there is none.
    """
    programs = [_program_object(program) for program in reading.programs]
    errors = [str(error) for error in reading.errors]
    return json.dumps({"programs": programs, "errors": errors, "daemon": report}, indent=2)


def _program_object(program: Program) -> dict[str, Any]:
    page = program.page
    return {
        "pid": program.pid,
        "program": page.program,
        "container": None if program.container is None else dataclasses.asdict(program.container),
        "page_version": page.version,
        "host_bytes": page.host_bytes,
        "host_limit_bytes": page.host_limit_bytes,
        "devices": [
            {
                "device": device.ordinal,
                "limit_bytes": device.limit_bytes,
                "spilled_bytes": device.spilled_bytes,
                "refused": device.refused,
                "moved_bytes": device.moved_bytes,
                "split": {
                    "vram_bytes": device.split_vram_bytes,
                    "vram_chunks": device.vram_chunks,
                    "host_chunks": device.host_chunks,
                },
                "tiers": {
                    tier.name: {"bytes": tier.bytes, "peak_bytes": tier.peak_bytes, "blocks": tier.blocks}
                    for tier in device.tiers
                },
            }
            for device in page.devices
            if device.is_used
        ],
    }
