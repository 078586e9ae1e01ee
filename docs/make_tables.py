"""Writes what of docs/ is made from lists: hooks, options, configuration, checks, a dashboard, manual pages, completion.

With --check, says whether they are current. It needs what greenboost needs; `make docs` and `make lint` run it.
"""

import inspect
import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
SHIM = DOCS.parent / "shim"

sys.path.insert(0, str(DOCS.parent))

import dashboard  # noqa: E402
import kubernetes_rules  # noqa: E402
import manual  # noqa: E402
import profiles_page  # noqa: E402

from greenboost_py.base import config_text, config_values  # noqa: E402
from greenboost_py.cli.completion import script  # noqa: E402
from greenboost_py.doctor.checks import catalog  # noqa: E402

HOOKS_HEAD = """# Hooks

Made from `shim/hooks.def` by `make docs`. The body of each is in `shim/entry/`; everything else of the driver is untouched.

| symbol | asked of cuGetProcAddress as | since CUDA | default stream |
| --- | --- | --- | --- |
"""

GATE_HEAD = """
## Calls that only pass the gate

They give a device work on memory, or let the driver read or write it. Each waits where a move of memory is under way, and is
the driver's own otherwise: nothing about it is changed or remembered.

| asked of cuGetProcAddress as | symbols (since CUDA) |
| --- | --- |
"""

OPTIONS_HEAD = """# Options

Made from `shim/options.def` by `make docs`. Each is an environment variable of the program, and an option of `greenboost run`.

Sizes: `8GiB`, `1500M`, `0.5T`, `75%`. K M G T and KiB MiB GiB TiB are powers of 1024, KB MB GB TB powers of 1000, a bare number is
bytes. A value that cannot be read costs one line on stderr and counts as unset.

| variable | option | value | default | what it does |
| --- | --- | --- | --- | --- |
"""

OPTIONS_FOOT = """
## Ceilings

What an administrator writes to `/etc/greenboost/ceilings` counts in every program under GreenBoost, whatever its environment says. A
program's own figures can only be stricter:

```
# at most, of each device and of the machine
VRAM_LIMIT=75%
HOST_LIMIT=64GiB
# at least
VRAM_RESERVE=512MiB
HOST_RESERVE=8GiB
# this one and no other
SOCKET=/run/greenboost/lease.sock
```

Each line is one option's; lines that begin with `#` are comments. The limits are a process', read when it first reaches CUDA. A line that
cannot be read costs one line on stderr and counts for nothing: `greenboost doctor` shows it before a program does. Who preloads another
library, or none, or sets `GREENBOOST_DISABLE`, gets no host memory from GreenBoost, and is bound by nothing here: memory cgroups and the
card's own partitions are for that.
"""

CONFIGURATION_HEAD = """# Configuration of the daemon

Made from `greenboost_py/base/config.py` by `make docs`.

`/etc/greenboost/config.toml`, or `~/.config/greenboost/config.toml` for a user's own daemon, or the file that `greenboost daemon
--config` names; then `config.d/*.toml` beside it, in the order of their names. A key that several files set has the value of the last of
them. TOML, UTF-8; no file is needed. `systemctl reload greenboostd` reads them anew. A mistake costs one line that says where it is and
what is accepted, and nothing of the new configuration is used.

Sizes: `8GiB`, `1500M`, `20%`. K M G T and KiB MiB GiB TiB are powers of 1024, KB MB GB TB powers of 1000, a bare number is bytes.
`notice` is at least `warn`, and `warn` at least `critical`; a share is not compared with a number of bytes.
"""

DOCTOR_HEAD = """# The doctor's checks

Made from `greenboost_py/doctor/checks/catalog.py` by `make docs`.

`greenboost doctor` changes nothing, and needs neither a GPU nor root nor the daemon. What may hang is asked with a deadline: NVML in a
thread, CUDA and the shim's tiers in a child. Verdicts: ok; note, worth knowing; warn, it could be better, or may not work; fail, it does
not work; unknown, it cannot be told from here. Each finding says why, and what to type next. Exit code 1 where one fails, else 0;
`--json` prints `failed` and `findings`, each with `name`, `verdict`, `text` and `next`.

Bandwidths are measured by `greenboost probe` and kept, by GPU, in `~/.cache/greenboost/probe.json`. It takes at most 1 GiB, never managed
memory, and runs in a child with a deadline of 60 s a GPU. VRAM: two buffers of up to 256 MiB, copied by the driver (what is read and what
is written both count) and read by a kernel. The link: pinned memory copied each way, and read in place by the same kernel. RAM: equal
buffers compared by `memcmp` on one thread a CPU, 16 at most. Each is the best of three rounds (RAM: five) of at least 50 ms, by the
host's clock.

| check | looks at | when it is bad | what to do |
| --- | --- | --- | --- |
"""


def version(number: int) -> str:
    """11020 as people say it: 11.2."""
    return f"{number // 1000}.{number % 1000 // 10}"


def hooks() -> str:
    """The table of hooks, and after it the one of those that only pass the gate."""
    text = (SHIM / "hooks.def").read_text()
    cuda = re.findall(r'^GB_CUDA_HOOK\((\w+), "(\w+)", (\d+), (\w+),', text, re.MULTILINE)
    nvml = re.findall(r"^GB_NVML_HOOK\((\w+), \(n", text, re.MULTILINE)
    streams = {"ANY": "", "LEGACY": "legacy", "PER_THREAD": "per thread"}
    rows = [
        f"| `{symbol}` | {name} | {version(int(since))} | {streams[stream]} |" for symbol, name, since, stream in cuda
    ]
    rows += [f"| `{symbol}` | (NVML) | | |" for symbol in nvml]
    forms: dict[str, list[str]] = {}
    for symbol, name, since in re.findall(r'^GB_CUDA_SUBMIT\((\w+), "(\w+)", (\d+),', text, re.MULTILINE):
        forms.setdefault(name, []).append(f"`{symbol}` ({version(int(since))})")
    gated = [f"| {name} | {', '.join(symbols)} |" for name, symbols in forms.items()]
    return HOOKS_HEAD + "\n".join(rows) + "\n" + GATE_HEAD + "\n".join(gated) + "\n"


def options() -> str:
    """The table of options."""
    text = (SHIM / "options.def").read_text()
    rows = []
    for name, kind, choices, default, told in re.findall(
        r'^GB_OPTION\((\w+), (\w+), "([^"]*)", "([^"]*)", "([^"]*)"\)', text, re.MULTILINE
    ):
        value = {"SIZE": "size", "PATH": "file", "SWITCH": "0, 1", "CHOICE": "", "CHOICE_OR_SIZE": ", size"}[kind]
        value = (choices.replace("|", ", ") + value) if choices else value
        flag = "--" + name.replace("_", "-")
        rows.append(f"| `GREENBOOST_{name.upper()}` | `{flag}` | {value} | {default or 'unset'} | {told} |")
    return OPTIONS_HEAD + "\n".join(rows) + "\n" + OPTIONS_FOOT


def configuration() -> str:
    """A table for each section."""
    parts = [CONFIGURATION_HEAD]
    for section, kind in config_values.sections().items():
        rows = [
            f"| `{key.name}` | {key.accepted} | {'unset' if key.default is None else f'`{config_text.toml(key.default)}`'} | {key.help} |"
            for key in config_values.keys(section).values()
        ]
        head = "| key | accepted | default | what it does |\n| --- | --- | --- | --- |"
        parts.append("\n".join([f"## [{section}]", "", str(inspect.getdoc(kind)), "", head, *rows, ""]))
    return "\n".join(parts)


def doctor() -> str:
    """The table of checks."""
    rows = [f"| {each.name} | {each.looks_at} | {each.bad_when} | {each.remedy} |" for each in catalog.CHECKS]
    return DOCTOR_HEAD + "\n".join(rows) + "\n"


def completion() -> dict[str, str]:
    """What shells load by themselves, under the name by which each looks for it."""
    names = {"bash": "greenboost", "zsh": "_greenboost", "fish": "greenboost.fish"}
    return {f"completion/{shell}/{name}": script(shell) + "\n" for shell, name in names.items()}


def main() -> int:
    """Writes, or checks."""
    stale = []
    made = {
        "hooks.md": hooks(),
        "options.md": options(),
        "configuration.md": configuration(),
        "doctor.md": doctor(),
        profiles_page.PAGE: profiles_page.page(),
        **dashboard.dashboards(),
        kubernetes_rules.FILE: kubernetes_rules.rules(),
        **manual.pages(),
        **completion(),
    }
    for name, text in made.items():
        path = DOCS / name
        if "--check" not in sys.argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(name)
    if stale:
        print(f"docs/{', docs/'.join(stale)}: out of date; run `make docs`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
