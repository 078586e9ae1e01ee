"""The shim's functions, called from Python: the library with every symbol visible, declared by its own headers.

The headers are run through the C preprocessor with the standard ones left out, so that cffi reads exactly what the C code
is compiled with and nothing is declared twice.
"""

import os
import re
import subprocess
from functools import cache
from pathlib import Path

import cffi

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / os.environ.get("GREENBOOST_TEST_BUILD", "build")
HEADERS = (
    "base/size.h",
    "base/options.h",
    "base/ceilings.h",
    "base/block.h",
    "base/once.h",
    "policy/split_plan.h",
    "policy/placement.h",
    "policy/returning.h",
    "policy/report.h",
    "policy/host_memory.h",
    "ledger/ledger.h",
    "ledger/handle_table.h",
    "ledger/account.h",
    "base/descriptor.h",
    "lease/holding.h",
    "lease/wire.h",
    "lease/turn.h",
    "lease/daemon.h",
    "alloc/gate.h",
    "entry/hooks.h",
)
STANDARD = ("stddef.h", "stdint.h", "stdbool.h", "stdatomic.h", "stdlib.h", "unistd.h")


@cache
def declarations() -> str:
    """The headers as cffi can read them."""
    stubs = BUILD / "unit_stubs"
    stubs.mkdir(parents=True, exist_ok=True)
    for name in STANDARD:
        (stubs / name).write_text("")
    source = "".join(f'#include "{name}"\n' for name in HEADERS)
    command = ["cc", "-E", "-P", "-nostdinc", f"-I{stubs}", f"-I{ROOT / 'shim'}", "-x", "c", "-"]
    text = subprocess.run(
        [*command, "-D__attribute__(x)=", "-D_Atomic(x)=x", "-DUINT64_C(x)=x", "-DUINT64_MAX=0xFFFFFFFFFFFFFFFF"],
        input=source,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return re.sub(r"static inline [^{]*\{[^}]*\}", "", text)


@cache
def load() -> tuple[cffi.FFI, object]:
    """The declarations and the library."""
    ffi = cffi.FFI()
    ffi.cdef(declarations())
    return ffi, ffi.dlopen(str(BUILD / "libgreenboost_unit.so"))
