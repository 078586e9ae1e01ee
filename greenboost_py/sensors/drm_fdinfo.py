"""What one open file of a GPU says about the memory that its owner holds there (fdinfo)."""

import re
from dataclasses import dataclass

from greenboost_py.sensors.kernel_text import NUMBER_MAX, malformed, parse_number
from greenboost_py.sensors.pci import normalise_address

DEVICES = "/dev/dri/"
"""Where the files of GPUs are: card0, renderD128 and so on."""

_VRAM, _GTT = "vram", "gtt"

_REGIONS = {
    b"vram": _VRAM,  # amdgpu
    b"gtt": _GTT,  # amdgpu, xe
    b"vram0": _VRAM,  # xe, by tile
    b"vram1": _VRAM,
    b"system": _GTT,  # xe: pages that the GPU does not reach at present
    b"local0": _VRAM,  # i915
    b"system0": _GTT,  # i915
    b"memory": _GTT,  # whoever has RAM only
}
"""What a region's name stands for; what RAM the driver holds for a client counts as GTT.

Left out: `stolen*`, which is no RAM to the kernel, and amdgpu's `cpu`, whose buffers may have no pages.
Source: drm-usage-stats.rst ("memory"), xe_drm_client.c, intel_memory_region.c (uabi_name), amdgpu_fdinfo.c.
"""

_STATISTICS = (b"drm-resident-", b"drm-memory-", b"drm-total-")
"""What there is now; an older name for it, which amdgpu has beside the newer; what was created, with pages or without:
the last is all that some drivers say. The first that there is counts, for each region."""

_MEMORY_LINE = re.compile(rb"^drm-(?:resident|memory|total)-", re.MULTILINE)

_SIZE = re.compile(rb"([0-9]{1,20})(?:[ \t]*(KiB|MiB|GiB|B))?")

_UNITS = {b"": 1, b"B": 1, b"KiB": 1 << 10, b"MiB": 1 << 20, b"GiB": 1 << 30}


_CLIENT_ID_MAX = 2**64 - 1


@dataclass(frozen=True, slots=True)
class DrmClient:
    """A client of a GPU: what lies behind one opening of its file, and all duplicates of the descriptor.

    Attributes:
        pci_address: the GPU's.
        client_id: the client's, unique on that GPU.
        vram_bytes: resident in VRAM. A buffer that several clients share is counted for each of them.
        gtt_bytes: RAM that the driver holds for it.
    """

    pci_address: str
    client_id: int
    vram_bytes: int
    gtt_bytes: int


def parse_fdinfo(data: bytes, path: str) -> DrmClient | None:
    """Reads the fdinfo of a GPU's open file.

    Args:
        data: the file's content, of which only lines that begin with `drm-` matter.
        path: the file, without a leading slash.

    Returns:
        None: it has no client id, by which duplicates are told apart, or the GPU is none on PCI.

    Raises:
        SensorError: malformed.

    Source: Documentation/gpu/drm-usage-stats.rst.
    """
    fields: dict[bytes, bytes] = {}
    for line in data.split(b"\n"):
        key, colon, value = line.partition(b":")
        if colon and key.startswith(b"drm-"):
            fields.setdefault(key, value.strip())
    client, device = fields.get(b"drm-client-id"), fields.get(b"drm-pdev")
    if client is None or device is None:
        return None
    address = normalise_address(device.decode("ascii", "replace"))
    if address is None:
        raise malformed(path, "drm-pdev", device)
    held = {_VRAM: 0, _GTT: 0}
    for region, kind in _REGIONS.items():
        said = next((prefix + region for prefix in _STATISTICS if prefix + region in fields), None)
        if said is not None:
            held[kind] += _parse_size(fields[said], path, said.decode())
    return DrmClient(address, parse_number(client, path, "drm-client-id", _CLIENT_ID_MAX), held[_VRAM], held[_GTT])


def says_memory(data: bytes) -> bool:
    """Whether the fdinfo of a GPU's open file has any figure of memory; some drivers keep none."""
    return _MEMORY_LINE.search(data) is not None


def _parse_size(value: bytes, path: str, key: str) -> int:
    """A number with or without a unit, in bytes."""
    match = _SIZE.fullmatch(value)
    if match is None:
        raise malformed(path, key, value)
    size_bytes = int(match[1]) * _UNITS[match[2] or b""]
    if size_bytes > NUMBER_MAX:
        raise malformed(path, key, value)
    return size_bytes
