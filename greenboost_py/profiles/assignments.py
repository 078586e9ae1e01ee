"""The variables that put the library into a program, with the options and the profile that it gets.

Imported by `run`, which starts fast: what reads profiles is imported when there is one to read.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenboost_py.base import launch, remembered
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.profiles.command import Command
from greenboost_py.profiles.shelf import NONE

if TYPE_CHECKING:
    from greenboost_py.profiles.select import Setting


def assignments(
    library: Path,
    environment: Mapping[str, str],
    chosen: Mapping[str, str],
    found: "Sequence[Setting]" = (),
    program: Sequence[str] = (),
) -> dict[str, str]:
    """All that is to be set, LD_PRELOAD last.

    Args:
        library: the shim's.
        environment: of the program, as it is now; what LD_PRELOAD has is kept, after the library.
        chosen: the variables of the options that were given; they go before a profile's.
        found: what becomes of a profile's settings, from `select.settings` or `settings_of`.
        program: the command line that will be remembered, and is expected to allocate what it did; empty: none is.

    Raises:
        LibraryError: the library's path cannot be said in LD_PRELOAD.
    """
    made = {**chosen, **variables(found)}
    if program:
        made |= remembered.variables(program, {**environment, **made})
    return made | {"LD_PRELOAD": launch.preload(library, environment.get("LD_PRELOAD", ""))}


def variables(found: "Sequence[Setting]") -> dict[str, str]:
    """The environment variables of the options that a profile sets."""
    return {setting.choice.variable: setting.choice.value or "" for setting in found if not setting.because}


def settings_of(root: SysRoot, taken: Mapping[str, str], profile: str | None) -> "tuple[Setting, ...]":
    """What becomes of what a profile sets, whatever the program.

    Args:
        root: where profiles are.
        taken: the environment, with the options that were given; what it sets stays as it is.
        profile: its name; `none`, or None: no profile.

    Raises:
        UsageError: there is none of that name.
        ConfigError: it cannot be used.
    """
    if profile is None or profile == NONE:
        return ()
    from greenboost_py.profiles.select import select, settings

    selection = select(root, taken, Command(""), profile)
    return () if selection.profile is None else settings(selection.profile, taken)
