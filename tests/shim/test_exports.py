"""What the library exports is the list of hooks, and nothing else; and what it needs is old enough to be everywhere."""

import re
import subprocess

import pytest
from harness import ROOT, SANITIZER_RUNTIME, SHIM


def rows():
    text = (ROOT / "shim/hooks.def").read_text()
    return set(re.findall(r"^GB_(?:CUDA_HOOK|CUDA_SUBMIT|NVML_HOOK)\((\w+),", text, re.MULTILINE))


def test_exports_are_the_hooks_and_dlsym():
    """(9): a hook that is written is exported."""
    listing = subprocess.run(["nm", "-D", "--defined-only", SHIM], capture_output=True, text=True, check=True).stdout
    exported = {line.split()[2].split("@")[0] for line in listing.splitlines() if line.split()[1] in "TW"}
    assert exported == rows() | {"dlsym"}


def test_library_needs_nothing_but_libc(tmp_path):
    listing = subprocess.run(["readelf", "-d", SHIM], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r"NEEDED.*\[(.*)\]", listing))
    assert {name for name in needed if not name.startswith(("libasan", "libubsan", "libtsan"))} <= {
        "libc.so.6",
        "libdl.so.2",
        "libpthread.so.0",
        "ld-linux-x86-64.so.2",
        "ld-linux-aarch64.so.1",
    }


@pytest.mark.skipif(bool(SANITIZER_RUNTIME), reason="a sanitizer's library has needs of its own")
def test_library_needs_no_newer_glibc_than_2_28():
    listing = subprocess.run(
        ["readelf", "--wide", "--dyn-syms", SHIM], capture_output=True, text=True, check=True
    ).stdout
    needed = re.findall(r" UND (\w+)@GLIBC_([\d.]+)", listing)
    assert ("mmap", "2.2.5") in needed or ("mmap", "2.17") in needed
    assert [each for each in needed if [int(number) for number in each[1].split(".")] > [2, 28]] == []
