"""The configuration as text: the commented file that is installed, and the values as they are written in one."""

import inspect
from typing import Any

from greenboost_py.base import config_values
from greenboost_py.base.units import Size

_HEAD = """\
# GreenBoost's daemon: every key, and what it is where nothing sets it. To set one, take the # before it away.
# Files in config.d beside this one are read after it, in the order of their names: config.d/*.toml.
# After a change: systemctl reload greenboostd
#
# Sizes: 8GiB, 1500M, 20%. K M G T and KiB MiB GiB TiB are powers of 1024, KB MB GB TB powers of 1000, a bare number is
# bytes. A key that ends in _s is in seconds.
"""


def documented_default() -> str:
    """A file that sets nothing and shows everything.

    A line `#key = value`, without a blank after the #, is a key with its default; all else after a # is prose.
    """
    lines = [_HEAD]
    for section, kind in config_values.sections().items():
        lines += [*(f"# {line}" for line in (inspect.getdoc(kind) or section).splitlines()), f"[{section}]"]
        for key in config_values.keys(section).values():
            lines.append(f"# {key.help}")
            lines.append(f"# {key.name} = (unset)" if key.default is None else f"#{key.name} = {toml(key.default)}")
        lines.append("")
    return "\n".join(lines)


def toml(value: Any) -> str:
    """A value of the configuration as it is written in a file."""
    match value:
        case bool():
            return "true" if value else "false"
        case Size():
            text = config_values.size_text(value)
            return text if text.isdecimal() else f'"{text}"'
        case int() | float():
            return str(value)
        case str():
            return _quoted(value)
        case tuple():
            return f"[{', '.join(_quoted(item) for item in value)}]"
    raise TypeError(type(value))


def _quoted(text: str) -> str:
    """A basic string. Source: TOML 1.0, "String": control characters are escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in escaped) + '"'
