"""What the shim restates of the vendor's public headers, compared with them: values, layouts, names and versions.

The headers come with the PyPI package nvidia-cuda-runtime, a test dependency.
"""

import ctypes
import importlib.util
import re
import subprocess
from pathlib import Path

import pynvml
import pytest
from harness import ROOT, compile_c, hooks

SUBSET = ROOT / "shim/abi/cuda_subset.h"
NVML_MARK = "/* ---- NVML"


@pytest.fixture(scope="module")
def include():
    """The folder that holds cuda.h."""
    found = importlib.util.find_spec("nvidia")
    folders = [Path(place) for place in found.submodule_search_locations] if found else []
    headers = [header for folder in folders for header in folder.glob("*/include/cuda.h")]
    assert headers, "nvidia-cuda-runtime is a test dependency: run `make test`"
    return headers[0].parent


def cuda_part():
    return SUBSET.read_text().split(NVML_MARK)[0]


def constants(text):
    """Every enumerator and every numeric macro."""
    named = re.findall(r"^\t(\w+) = (\d+)", text, re.MULTILINE)
    named += re.findall(r"^#define (\w+) (0x[0-9a-f]+|\d+)u?$", text, re.MULTILINE)
    return {name: int(value, 0) for name, value in named}


def known():
    """The newest CUDA that hooks.def was compared with."""
    return int(re.search(r"GB_CUDA_VERSION_KNOWN = (\d+)", (ROOT / "shim/entry/hooks.h").read_text())[1])


def output_of(tmp_path, source, *flags):
    return subprocess.run([compile_c(tmp_path, source, *flags)], capture_output=True, text=True, check=True).stdout


def test_cuda_constants_have_the_vendors_values(tmp_path, include):
    ours = constants(cuda_part())
    assert len(ours) > 70
    rows = "".join(f'printf("{name} %lld\\n", (long long)({name}));\n' for name in ours)
    out = output_of(tmp_path, f"#include <stdio.h>\n#include <cuda.h>\nint main(void) {{\n{rows}}}\n", f"-I{include}")
    assert {line.split()[0]: int(line.split()[1]) for line in out.splitlines()} == ours


def test_cuda_types_have_the_vendors_sizes(tmp_path, include):
    types = ["CUdevice", "CUdeviceptr", "CUcontext", "CUstream", "CUevent", "CUgraph", "CUmemoryPool", "cuuint64_t"]
    types += ["CUgraphExec", "CUfunction", "CUarray", "cuuint32_t"]
    types += ["CUuuid", "CUipcMemHandle", "CUresult", "CUpointer_attribute", "CUmem_advise"]
    types += ["CUmemGenericAllocationHandle", "CUmemLocation", "CUmemAccessDesc", "CUmemAllocationProp"]
    rows = "".join(f'printf("{name} %zu %zu\\n", sizeof({name}), _Alignof({name}));\n' for name in types)
    main = f"int main(void) {{\n{rows}}}\n"
    ours = output_of(tmp_path, f'#include <stdio.h>\n#include "{SUBSET}"\n{main}')
    assert ours == output_of(tmp_path, f"#include <stdio.h>\n#include <cuda.h>\n{main}", f"-I{include}")


def test_nvml_structures_have_the_bindings_layout(tmp_path):
    fields = {"nvmlMemory_t": ["total", "free", "used"], "nvmlMemory_v2_t": ["total", "reserved", "free", "used"]}
    rows = ""
    for name, members in fields.items():
        offsets = "".join(f", offsetof({name}, {member})" for member in members)
        rows += f'printf("{"%zu " * len(members)}%zu\\n", sizeof({name}){offsets});\n'
    main = f"int main(void) {{\n{rows}}}\n"
    first, second = pynvml.c_nvmlMemory_t, pynvml.c_nvmlMemory_v2_t
    theirs = f"{ctypes.sizeof(first)} {first.total.offset} {first.free.offset} {first.used.offset}\n"
    offsets = (second.total.offset, second.reserved.offset, second.free.offset, second.used.offset)
    theirs += " ".join(map(str, (ctypes.sizeof(second), *offsets))) + "\n"
    assert output_of(tmp_path, f'#include <stdio.h>\n#include "{SUBSET}"\n{main}') == theirs


def test_hooked_names_have_the_vendors_versions(include):
    """Each row is a form that cudaTypedefs.h knows by that version."""
    typedefs = (include / "cudaTypedefs.h").read_text()
    assert len(hooks()) > 150
    for hook in hooks():
        assert re.search(rf"\b{hook.form}\b", typedefs), f"{hook.symbol}: no {hook.form}"


def test_forms_newer_than_known_are_none(include):
    """No hooked name has a form that hooks.def lacks, up to the CUDA version that hooks.h says is known."""
    typedefs = (include / "cudaTypedefs.h").read_text()
    ours = {}
    for hook in hooks():
        ours.setdefault(hook.name, {})[hook.form] = hook.version
    for name, forms in ours.items():
        theirs = re.findall(rf"\b(PFN_{name}_v(\d+)(?:_pt[sd][sz])?)\b", typedefs)
        first = min(3020, *forms.values())  # the 32-bit forms from before are none of ours
        assert {form for form, version in theirs if first <= int(version) <= known()} == set(forms), name


def test_every_call_that_gives_a_device_work_on_memory_passes_the_gate(include):
    """By family, so that a call that a new CUDA adds to one is missed here first."""
    typedefs = (include / "cudaTypedefs.h").read_text()
    family = r"cu(?:Launch|GraphLaunch|Memcpy|Memset|MemBatch|StreamBatchMemOp|StreamWaitValue|StreamWriteValue)\w*?"
    theirs = {name for name, version in re.findall(rf"\bPFN_({family})_v(\d+)", typedefs) if int(version) <= known()}
    assert theirs - {"cuLaunchHostFunc"} == {hook.name for hook in hooks() if hook.kind == "SUBMIT"}


def test_prototypes_are_the_vendors(tmp_path, include):
    """The parameters of every row, in the vendor's own types: of the symbol, and of the form that it is resolved as.

    __CUDA_API_VERSION_INTERNAL makes cuda.h declare every spelling of a call, and take back the macros that choose one.
    """
    same = "_Static_assert(__builtin_types_compatible_p({}, CUresult (*) {}), {!r});\n"
    rows = [(f"__typeof__(&{hook.symbol})", hook.parameters) for hook in hooks()]
    rows += [(hook.form, hook.parameters) for hook in hooks()]
    calls = re.findall(r"^GB_CUDA_CALL\((\w+), (\(.*\))\)$", (ROOT / "shim/driver.def").read_text(), re.MULTILINE)
    assert len(calls) > 20
    rows += [(f"__typeof__(&{symbol})", parameters) for symbol, parameters in calls]
    checks = "".join(same.format(theirs, ours, theirs).replace("'", '"') for theirs, ours in rows)
    source = f"#define __CUDA_API_VERSION_INTERNAL\n#include <cuda.h>\n#include <cudaTypedefs.h>\n{checks}"
    compile_c(tmp_path, source, "-c", f"-I{include}")
