"""What `greenboost service` says."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from greenboost_py.base.files import ASIDE
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.service.enable import Enabled
from greenboost_py.service.install import Action, Change
from greenboost_py.service.layout import UNIT, Layout
from greenboost_py.service.manager import Command, UnitState
from greenboost_py.service.record import Record, survey

_DONE = {
    Action.CREATE: "created",
    Action.UPDATE: "updated",
    Action.OVERWRITE: "overwrote",
    Action.REMOVE: "removed",
}


def package(unit: str) -> str:
    """Where a service comes from that greenboost did not install; without a full stop."""
    return f"The service came with a package (/{unit})"


def done(changes: Sequence[Change], layout: Layout) -> Iterator[str]:
    """A line for each file that installing changed or kept."""
    for change in changes:
        if change.action in _DONE:
            yield f"{_DONE[change.action]} /{change.path}"
        elif change.action is Action.KEEP:
            advice = "" if change.path == layout.configuration else "; --force overwrites it"
            if layout.is_packaged and not change.text:
                advice = ", and goes before the package's"
            yield f"kept /{change.path}: it is not as greenboost would write it{advice}"
        if change.action is Action.OVERWRITE:
            yield f"  what was there is /{change.path}{ASIDE}"


def undone(changes: Sequence[Change]) -> Iterator[str]:
    """A line for each file that uninstalling removed or kept."""
    for change in changes:
        if change.action is Action.REMOVE:
            yield f"removed /{change.path}"
        elif change.action is Action.KEEP:
            yield f"kept /{change.path}; --purge removes it"


def dry_run(changes: tuple[Change, ...], commands: tuple[Command, ...]) -> str:
    """Every file with what would happen to it and what it would say, then the commands."""
    parts = []
    for change in changes:
        parts.append(f"# {change.action.value} /{change.path}\n{change.text if change.is_change else ''}")
    return "\n".join([*parts, "# then", *(str(one) for one in commands)])


def file_states(root: SysRoot, record: Record | None) -> dict[str, str]:
    """Each installed file: `unchanged`, `changed` or `missing`."""
    if record is None:
        return {}
    found = survey(root, record.files)
    return {
        path: "missing" if found[path] is None else "unchanged" if found[path] in digests else "changed"
        for path, digests in record.files.items()
    }


def to_text(
    record: Record | None,
    files: dict[str, str],
    state: UnitState | None,
    enabled: Sequence[Enabled] = (),
    unit: str | None = None,
) -> str:
    """A few lines for people."""
    others = [f"{one.unit} has GreenBoost in it: /{one.path} is {one.state}" for one in enabled]
    lines = [] if unit is None else [f"{package(unit)}."]
    if record is None:
        lines = lines or ["The service is not installed."]
    else:
        end = "" if record.is_complete else "; that was cut short: run 'greenboost service install' again"
        what = "Installed" if unit is None else "Beside it, written"
        lines.append(f"{what} by greenboost {record.version}: {len(files)} files{end}")
        lines += [f"  {what:<8} /{path}" for path, what in files.items() if what != "unchanged"]
    if state is None:
        return "\n".join([*lines, *others, "How it runs is not known: systemd does not run here."])
    since = ""
    if state.active_since is not None:
        since = time.strftime(" since %Y-%m-%d %H:%M:%S", time.localtime(state.active_since))
    told = f"{UNIT}: {state.active} ({state.sub}){since}, {state.enabled or 'not enabled'}"
    if state.restarts:
        told += f", restarted {state.restarts} times"
    if state.active == "failed":
        told += f"; it ended by {state.result}: journalctl -u {UNIT} says more"
    return "\n".join([*lines, told, *others])


def to_json(
    record: Record | None,
    files: dict[str, str],
    state: UnitState | None,
    enabled: Sequence[Enabled] = (),
    unit: str | None = None,
) -> str:
    """The same for programs; null: `service` where systemd does not run, `package` where none brought the unit."""
    return json.dumps(
        {
            "installed": record is not None or unit is not None,
            "package": None if unit is None else f"/{unit}",
            "complete": unit is not None if record is None else record.is_complete,
            "version": None if record is None else record.version,
            "files": [{"path": f"/{path}", "state": what} for path, what in files.items()],
            "enabled": [{"unit": one.unit, "path": f"/{one.path}", "state": one.state} for one in enabled],
            "service": None if state is None else asdict(state),
        },
        indent=2,
    )
