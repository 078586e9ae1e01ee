"""PCI addresses in the one form that names of resources have: lower case, the domain in at least four digits."""

import re

_ADDRESS = re.compile(r"([0-9a-f]{1,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])", re.IGNORECASE | re.ASCII)


def normalise_address(text: str) -> str | None:
    """A PCI address as the kernel writes it.

    Args:
        text: for example `0000:c4:00.0`, or with NVML's eight digits, `00000000:C4:00.0`.

    Returns:
        For example `0000:c4:00.0`; a domain above 0xffff keeps its five digits or more. None: it is no PCI address.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return None
    return f"{int(match[1], 16):04x}:{match[2]}:{match[3]}.{match[4]}".lower()
