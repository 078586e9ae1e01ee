"""Writes docs/hooks.md and docs/options.md from the shim's lists; with --check, says whether they are current.

Standard library only, run from a checkout: `make docs` and `make lint` do.
"""

import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
SHIM = DOCS.parent / "shim"

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
    return OPTIONS_HEAD + "\n".join(rows) + "\n"


def main() -> int:
    """Writes, or checks."""
    stale = []
    for name, text in (("hooks.md", hooks()), ("options.md", options())):
        path = DOCS / name
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(name)
    if stale:
        print(f"docs/{', docs/'.join(stale)}: out of date; run `make docs`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
