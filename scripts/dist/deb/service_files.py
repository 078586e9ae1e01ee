"""Writes what the shipped greenboost itself knows of its package. Run by the interpreter that is packaged.

The service's files get the names by which debhelper knows what each is, and has it enabled, started and removed.
"""

import sys
from pathlib import Path

from greenboost_py import __version__
from greenboost_py.actions import dbus_signal
from greenboost_py.cli.completion import script
from greenboost_py.service.layout import SYSTEM, Rights, service_files

EXECUTABLE = "/usr/bin/greenboost"
ORIGIN = "From the package greenboost."

COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/greenboost",
    "zsh": "usr/share/zsh/vendor-completions/_greenboost",
    "fish": "usr/share/fish/vendor_completions.d/greenboost.fish",
}


def main(debian: Path, tree: Path) -> None:
    """Writes all of it.

    Args:
        debian: debhelper's folder.
        tree: what will be /.
    """
    places = {
        SYSTEM.unit: debian / "greenboost.greenboostd.service",
        SYSTEM.notifier: debian / "greenboost.greenboost-notify.user.service",
        SYSTEM.accounts: debian / "greenboost.sysusers",
        dbus_signal.POLICY_PATH: tree / "usr/share/dbus-1/system.d/org.greenboost.conf",
        SYSTEM.configuration: tree / SYSTEM.configuration,
    }
    for file in service_files(SYSTEM, EXECUTABLE, [], Rights(), ORIGIN):
        _write(places[file.path], file.text)
    (tree / SYSTEM.configuration).with_name("config.d").mkdir()
    for shell, path in COMPLETIONS.items():
        _write(tree / path, f"{script(shell)}\n")
    print(__version__)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
