"""`greenboost status`: what lies in which tier, from the pages that the programs show."""

import json
import os
from typing import Any

import click

from greenboost_py.base.abi import DeviceUse
from greenboost_py.base.errors import GreenboostError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.base.units import format_size
from greenboost_py.sensors.programs import Program, ProgramsReading, read_programs

_ROW = "{:>7}  {:<18}  {:>3}  {:<11}  {:>9}  {:>9}  {:>7}"


@click.command(epilog="Nothing running under GreenBoost is not an error: exit code 0.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: sizes in bytes, null for no limit.")
@click.option(
    "--pid", type=click.IntRange(min=1), metavar="PID", help="Only this process; it must run under GreenBoost."
)
def command(as_json: bool, pid: int | None) -> int:
    """Show what lies in which tier, by program and device.

    The figures are the programs' own, so no daemon is needed. Root sees everybody's programs, others see their own.
    """
    user = os.geteuid()
    reading = read_programs(SysRoot(), None if user == 0 else user, pid)
    if pid is not None and not reading.programs and not reading.errors:
        raise GreenboostError(f"process {pid} is not running under GreenBoost, or has not used CUDA yet")
    click.echo(to_json(reading) if as_json else to_text(reading))
    for error in reading.errors:
        click.echo(f"greenboost: {error}", err=True)
    return 1 if reading.errors else 0


def to_text(reading: ProgramsReading) -> str:
    """The table for people, at most 80 columns wide."""
    if not reading.programs:
        return "No program is running under GreenBoost."
    lines = [_ROW.format("PID", "PROGRAM", "GPU", "TIER", "HELD", "PEAK", "BLOCKS")]
    for program in reading.programs:
        lines += _program_lines(program)
    return "\n".join(line.rstrip() for line in lines)


def _program_lines(program: Program) -> list[str]:
    page = program.page
    # The name is the program's to choose: what is no plain text must not reach the terminal.
    name = "".join(character if character.isprintable() else "?" for character in page.program)
    head = (str(program.pid), name if len(name) <= 18 else name[:17] + "…")
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
    if page.host_limit_bytes is not None:
        lines.append(f"         host memory: {format_size(page.host_bytes)} of {format_size(page.host_limit_bytes)}")
    if page.is_newer:
        lines.append("         written by a newer GreenBoost: the figures may mean something else")
    return lines


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


def to_json(reading: ProgramsReading) -> str:
    """The same for programs: an object with `programs` and `errors`; devices that were never used are left out."""
    programs = [_program_object(program) for program in reading.programs]
    return json.dumps({"programs": programs, "errors": [str(error) for error in reading.errors]}, indent=2)


def _program_object(program: Program) -> dict[str, Any]:
    page = program.page
    return {
        "pid": program.pid,
        "program": page.program,
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
