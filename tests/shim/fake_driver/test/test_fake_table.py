"""The simulated driver's one list, against what it exports, what it resolves and what the vendor's headers say."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest
from harness import FAKE_DRIVER, ROOT, run_program

HERE = ROOT / "tests/shim/fake_driver"
PER_THREAD = re.compile(r"_pt[sd][sz]$")


def include_dir() -> Path | None:
    """The public headers, where the wheel nvidia-cuda-runtime is installed."""
    try:
        places = importlib.util.find_spec("nvidia").submodule_search_locations
    except (AttributeError, ModuleNotFoundError):
        return None
    found = [path.parent for place in places for path in Path(place).glob("*/include/cudaTypedefs.h")]
    return max(found, default=None)


def parameters(text: str) -> int:
    text = re.sub(r"\s+", " ", text).strip()
    return 0 if text in ("", "void") else text.count(",") + 1


def listed() -> list[tuple[str, str, int, str, int | None]]:
    """(symbol, name, version, stream, number of parameters) of every row, pairs as two."""
    rows = []
    for path in sorted((HERE / "list").glob("*.def")):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
        for symbol, name, version, stream, count in re.findall(
            r'FK_API\((\w+), "(\w+)", (\d+), (\w+), \w+,\s*\(([^()]*)\)', text
        ):
            rows.append((symbol, name, int(version), stream, parameters(count)))
        for symbol, suffix, name, legacy, per_thread, count in re.findall(
            r'FK_PAIR\((\w+), (\w+), "(\w+)", (\d+), (\d+), \w+,\s*\(([^()]*)\)', text
        ):
            rows.append((symbol, name, int(legacy), "LEGACY", parameters(count)))
            rows.append((symbol + suffix, name, int(per_thread), "PER_THREAD", parameters(count)))
        for symbol, name, version, stream in re.findall(r'FK_REFUSE\((\w+), "(\w+)", (\d+), (\w+)\)', text):
            rows.append((symbol, name, int(version), stream, None))
    return rows


OURS = {"fakecuda_device_usage", "fakecuda_model_read", "fakecuda_model_result", "fakecuda_model_reset"}


def test_exports_are_the_list_and_nothing_else():
    for library, prefix, extra in (
        ("libcuda.so.1", "cu", OURS),
        ("libnvidia-ml.so.1", "nvml", set()),
    ):
        command = ["nm", "-D", "--defined-only", FAKE_DRIVER / library]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        names = {line.split()[2] for line in lines if line.split()[1] not in "wWvV"} - extra
        assert names and all(name.startswith(prefix) for name in names), names
        if prefix == "cu":
            assert names == {row[0] for row in listed()}
    assert len(listed()) == len({row[0] for row in listed()}) > 250


def test_names_versions_and_parameter_counts_are_those_of_cudatypedefs():
    include = include_dir()
    if not include:
        pytest.skip("nvidia-cuda-runtime is not installed")
    text = re.sub(r"/\*.*?\*/", "", (include / "cudaTypedefs.h").read_text(), flags=re.S)
    vendor = {
        name: parameters(arguments)
        for name, arguments in re.findall(r"typedef CUresult\s*\(CUDAAPI \*PFN_(\w+)\)\(([^;]*)\);", text)
    }
    assert len(vendor) > 500
    for symbol, name, version, stream, count in listed():
        suffix = PER_THREAD.search(symbol)
        assert bool(suffix) == (stream == "PER_THREAD"), symbol
        full = f"{name}_v{version}{suffix.group() if suffix else ''}"
        assert full in vendor, f"{symbol}: no {full}"
        assert count is None or count == vendor[full], symbol


def test_layouts_and_values_are_those_of_cuda_h(tmp_path):
    include = include_dir()
    if not include or not (include / "cuda.h").exists():
        pytest.skip("no cuda.h from nvidia-cuda-runtime")
    said = []
    for flags in (["-Wall", "-Wextra", "-Werror"], ["-DFK_VENDOR", f"-I{include}"]):
        program = tmp_path / f"layouts{len(said)}"
        subprocess.run(["cc", "-std=gnu11", *flags, HERE / "test/layouts.c", "-o", program], check=True)
        said.append(subprocess.run([program], capture_output=True, text=True, check=True).stdout)
    assert said[0] == said[1] and len(said[0].splitlines()) > 100


RESOLVE = """
def resolve(name, version, flags=0, resolver="cuGetProcAddress_v2"):
    function, status = c.c_void_p(77), c.c_int(77)
    more = [c.byref(status)] if resolver.endswith("_v2") else []
    code = code_of(resolver, name.encode(), c.byref(function), c.c_int(version), flags, *more)
    return code, function.value, status.value
def at(symbol):
    return c.cast(getattr(cuda, symbol), c.c_void_p).value
"""


def test_get_proc_address_gives_every_row_at_its_version(tmp_path):
    source = (
        RESOLVE
        + f"""
for symbol, name, version, stream, _ in {listed()!r}:
    flags = 2 if stream == "PER_THREAD" else 1
    assert resolve(name, version, flags)[1] == at(symbol), symbol
"""
    )
    ended = run_program(source, tmp_path, shim=False)
    assert ended.code == 0, ended.err


def test_get_proc_address_follows_version_flags_and_status(tmp_path):
    source = (
        RESOLVE
        + """
assert resolve("cuMemAlloc", 3020) == (0, at("cuMemAlloc_v2"), 0) == resolve("cuMemAlloc", 99999)
assert resolve("cuMemAlloc", 3010) == (500, None, 2)
assert resolve("cuMemAlloc_v2", 13000) == (500, None, 1) == resolve("cuGetExportTable", 13000)
assert resolve("cuCtxCreate", 2000)[1] == at("cuCtxCreate") and resolve("cuCtxCreate", 11039)[1] == at("cuCtxCreate_v2")
assert resolve("cuCtxCreate", 12050)[1] == at("cuCtxCreate_v4")
for flags, symbol in ((0, "cuMemAllocAsync"), (1, "cuMemAllocAsync"), (2, "cuMemAllocAsync_ptsz")):
    assert resolve("cuMemAllocAsync", 13000, flags)[1] == at(symbol)
assert resolve("cuMemcpyHtoD", 7000, 2)[1] == at("cuMemcpyHtoD_v2_ptds") and resolve("cuMemcpyHtoD", 7000, 0)[1] == at("cuMemcpyHtoD_v2")
assert resolve("cuMemAlloc", 13000, 2)[1] == at("cuMemAlloc_v2")
assert resolve("cuMemAlloc", 13000, 3)[0] == 1 and resolve("", 13000)[0] == 1
for resolver in ("cuGetProcAddress", "cuGetProcAddress_v2"):
    assert resolve("cuGetProcAddress", 11030, 0, resolver)[1] == at("cuGetProcAddress")
    assert resolve("cuGetProcAddress", 12000, 0, resolver)[1] == at("cuGetProcAddress_v2")
assert resolve("cuMemAlloc", 13000, 0, "cuGetProcAddress") == (0, at("cuMemAlloc_v2"), 77)
function = c.c_void_p()
assert code_of("cuGetProcAddress_v2", b"cuInit", c.byref(function), c.c_int(2000), 0, None) == 0 and function.value == at("cuInit")
assert not hasattr(cuda, "cuGetExportTable") and not hasattr(cuda, "cuMemAlloc")
version = c.c_int()
call("cuDriverGetVersion", c.byref(version))
assert version.value == 12080
text = c.c_char_p()
call("cuGetErrorName", c.c_int(2), c.byref(text))
assert text.value == b"CUDA_ERROR_OUT_OF_MEMORY" and code_of("cuGetErrorString", c.c_int(12345), c.byref(text)) == 1
"""
    )
    ended = run_program(source, tmp_path, shim=False, FAKECUDA_DRIVER_VERSION="12080")
    assert ended.code == 0, ended.err


def test_what_is_not_simulated_says_so_and_answers_801(tmp_path):
    source = 'init()\nassert code_of("cuModuleLoadData", c.byref(c.c_void_p()), None) == 801'
    ended = run_program(source, tmp_path, shim=False)
    assert ended.code == 0 and "cuModuleLoadData is not simulated" in ended.err and len(ended.err.splitlines()) == 1
