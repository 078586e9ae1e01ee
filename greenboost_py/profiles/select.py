"""The profile for a command, and what it sets beside what is set already."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from greenboost_py.base.errors import ConfigError, UsageError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.profiles.command import Command, look_closer
from greenboost_py.profiles.profile import Choice, Profile
from greenboost_py.profiles.recognise import recognise
from greenboost_py.profiles.shelf import NONE, Origin, Source, sources


@dataclass(frozen=True, slots=True)
class Selection:
    """The profile that a command gets.

    Attributes:
        profile: the profile; None: no one fits, or none is wanted.
        reason: why this one: `imports torch`, or `asked for`.
        mistakes: a line for each profile that might have fitted and cannot be used.
    """

    profile: Profile | None = None
    reason: str = ""
    mistakes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """What becomes of an option that a profile sets.

    Attributes:
        choice: the profile's.
        because: why it is not set after all; empty: it is.
    """

    choice: Choice
    because: str = ""


def select(root: SysRoot, environment: Mapping[str, str], command: Command, asked: str | None = None) -> Selection:
    """Finds the profile for a command.

    Args:
        root: where profiles and the command's files are.
        environment: where the user's profiles are looked up.
        command: from `command.look_at`.
        asked: the profile that was asked for by name, `none`, or None: the one that fits.

    Raises:
        UsageError: there is no profile of the name that was asked for.
        ConfigError: that one cannot be used.
    """
    return select_from(sources(root, environment), root, command, asked)


def select_from(shelf: Mapping[str, Source], root: SysRoot, command: Command, asked: str | None = None) -> Selection:
    """As `select`, among profiles that were found already."""
    if asked == NONE:
        return Selection(reason="asked for")
    if asked is not None:
        if asked not in shelf:
            raise UsageError(f"there is no profile {asked!r}; there are {', '.join(shelf)}, and {NONE}")
        return Selection(shelf[asked].load(), "asked for")
    profiles: list[tuple[Profile, Origin]] = []
    mistakes: list[str] = []
    for source in shelf.values():
        if source.may_match(command):
            try:
                profiles.append((source.load(), source.origin))
            except ConfigError as error:
                mistakes += error.lines
    if not profiles:
        return Selection(mistakes=tuple(mistakes))
    neighbours = {name for profile, _ in profiles for match in profile.matches for name in match.beside}
    found = recognise(profiles, look_closer(command, root, neighbours))
    if found is None:
        return Selection(mistakes=tuple(mistakes))
    return Selection(found.profile, found.reason, tuple(mistakes))


def settings(profile: Profile, environment: Mapping[str, str]) -> tuple[Setting, ...]:
    """What becomes of each option that a profile sets.

    Args:
        profile: the profile.
        environment: of the program, with the options that were given; what it sets, be it to nothing, stays as it is.
    """
    return tuple(Setting(choice, _because(choice, environment)) for choice in profile.sets)


def _because(choice: Choice, environment: Mapping[str, str]) -> str:
    if choice.variable in environment:
        return f"yours is {environment[choice.variable]!r}"
    for pattern in choice.unless:
        name, _, value = pattern.partition("=")
        if fnmatchcase(environment.get(name, ""), value) and name in environment:
            return f"{name} is {environment[name]!r}"
    return ""
