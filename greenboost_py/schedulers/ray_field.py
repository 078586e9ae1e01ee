"""The field `greenboost` of a Ray runtime_env: what it may hold, and the variables that a worker gets for it.

For example {"greenboost": {"vram_limit": "8GiB", "host_limit": "32GiB", "profile": "pytorch"}}.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from greenboost_py.base import options, shim_files
from greenboost_py.base.options import Option, OptionKind
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.profiles.assignments import assignments, settings_of

FIELD = "greenboost"
"""The field's name, which is the plugin's."""

PROFILE = "profile"
"""What the field has beside the options."""

_WORKERS_OWN = "${LD_PRELOAD}"
"""What LD_PRELOAD is where the worker starts: Ray puts it in there. Source: ray._private.utils.update_envs."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a runtime_env asks of GreenBoost.

    Attributes:
        chosen: the environment variables of the options that it gives.
        profile: the name of a profile, or `none`; None: no word of one.
    """

    chosen: Mapping[str, str] = field(default_factory=dict)
    profile: str | None = None


def read_field(value: object) -> Asked | None:
    """Reads the field.

    Args:
        value: what JSON can say: true or false, or an object of options and `profile`, in which null is as not there.

    Returns:
        None where it is false.

    Raises:
        ValueError: it says anything else; one line, which says where and what is accepted.
    """
    if isinstance(value, bool):
        return Asked() if value else None
    if not isinstance(value, Mapping):
        raise ValueError(f'{_place()}: write true, or options, such as {{"host_limit": "32GiB"}}')
    known = {option.id: option for option in options.load_options()}
    given = {key: each for key, each in value.items() if each is not None}
    for key in given:
        if key not in known and key != PROFILE:
            raise ValueError(f"{_place()}: there is no option {key!r}; there are {', '.join((*known, PROFILE))}")
    profile = given.pop(PROFILE, None)
    if profile is not None and not isinstance(profile, str):
        raise ValueError(f"{_place(PROFILE)}: {profile!r} is not the name of a profile; 'greenboost profiles' has them")
    return Asked({known[key].env_name: _text(known[key], each) for key, each in given.items()}, profile)


def _text(option: Option, value: object) -> str:
    """What the variable holds for a value."""
    if isinstance(value, bool):
        text = str(int(value)) if option.kind is OptionKind.SWITCH else str(value)
    else:
        text = str(value) if isinstance(value, int) else value if isinstance(value, str) else ""
    try:
        if text == "" or "\0" in text:
            raise ValueError(f"{value!r} is not accepted; write {option.accepted}")
        return option.check(text)
    except ValueError as error:
        raise ValueError(f"{_place(option.id)}: {error}") from error


def _place(key: str = "") -> str:
    """How the field, or a part of it, is written in a program."""
    return f'runtime_env["{FIELD}"]' + (f'["{key}"]' if key else "")


def worker_variables(
    asked: Asked, root: SysRoot, node: Mapping[str, str], env_vars: Mapping[str, str]
) -> dict[str, str]:
    """The environment variables that make a worker run under GreenBoost.

    Args:
        asked: what the runtime_env asks for; it goes before what the environment says.
        root: where profiles are.
        node: the environment that Ray runs in on this node.
        env_vars: what the runtime_env sets beside; its LD_PRELOAD is kept, after the library.

    Raises:
        UsageError: there is no profile of the name that was asked for.
        ConfigError: that one cannot be used.
        LibraryError: the library is not here, or cannot be named in LD_PRELOAD.
    """
    environment = {**node, "LD_PRELOAD": _WORKERS_OWN, **env_vars}
    found = settings_of(root, {**environment, **asked.chosen}, asked.profile)
    return assignments(shim_files.library(environment), environment, asked.chosen, found)
