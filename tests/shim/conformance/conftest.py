"""The tiers, each forced by its environment: one line a tier."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

TIERS = {
    "device": {"FAKECUDA_VRAM": "512MiB", "fallback": "off"},
    "split_in_host": {"FAKECUDA_VRAM": "512MiB", "vram_limit": "0", "fallback": "split"},
    "split": {"FAKECUDA_VRAM": "512MiB", "vram_limit": "9MiB", "fallback": "split"},
    "split_front": {"FAKECUDA_VRAM": "512MiB", "vram_limit": "9MiB", "placement": "front", "chunk": "2MiB"},
    "movable": {"FAKECUDA_VRAM": "512MiB", "vram_limit": "9MiB", "movable": "1", "chunk": "2MiB"},
    "host_mapped": {"FAKECUDA_VRAM": "512MiB", "vram_limit": "0", "fallback": "host"},
    "managed": {"FAKECUDA_VRAM": "512MiB", "vram_limit": "0", "fallback": "managed"},
}


@pytest.fixture(params=TIERS)
def tier(request):
    """The settings that put every allocation in that tier."""
    return TIERS[request.param]
