"""Which hook a look-up through cuGetProcAddress means."""

import re

import pytest
from shim_under_test import ROOT, load

ffi, lib = load()


def by_name(name, version, flags=0):
    hook = lib.gb_hook_by_name(name.encode(), version, flags)
    return ffi.string(hook.symbol).decode() if hook else None


@pytest.mark.parametrize(
    ("name", "version", "flags", "symbol"),
    [
        ("cuMemAlloc", 3020, 0, "cuMemAlloc_v2"),
        ("cuMemAlloc", 13000, 0, "cuMemAlloc_v2"),
        ("cuMemAlloc", 3020, 2, "cuMemAlloc_v2"),
        ("cuMemAlloc", 2000, 0, None),
        ("cuMemAlloc_v2", 3020, 0, None),
        ("cuMemAllocAsync", 11020, 0, "cuMemAllocAsync"),
        ("cuMemAllocAsync", 11020, 1, "cuMemAllocAsync"),
        ("cuMemAllocAsync", 11020, 2, "cuMemAllocAsync_ptsz"),
        ("cuMemFreeAsync", 11010, 2, None),
        ("cuGetProcAddress", 11030, 0, "cuGetProcAddress"),
        ("cuGetProcAddress", 12000, 0, "cuGetProcAddress_v2"),
        ("cuCtxDestroy", 3020, 0, "cuCtxDestroy"),
        ("cuCtxDestroy", 4000, 0, "cuCtxDestroy_v2"),
        ("cuCtxSynchronize", 12090, 0, "cuCtxSynchronize"),
        ("cuCtxSynchronize", 13000, 0, "cuCtxSynchronize_v2"),
        ("cuStreamBeginCapture", 10000, 2, "cuStreamBeginCapture_ptsz"),
        ("cuStreamBeginCapture", 10010, 2, "cuStreamBeginCapture_v2_ptsz"),
        ("cuStreamSynchronize", 2000, 2, None),
        ("cuLaunchKernel", 13000, 0, "cuLaunchKernel"),
        ("cuLaunchKernel", 13000, 2, "cuLaunchKernel_ptsz"),
        ("cuMemcpyHtoD", 3020, 0, "cuMemcpyHtoD_v2"),
        ("cuMemcpyHtoD", 7000, 2, "cuMemcpyHtoD_v2_ptds"),
        ("cuMemcpyHtoD", 2000, 0, None),
        ("cuMemcpyBatchAsync", 12080, 0, "cuMemcpyBatchAsync"),
        ("cuMemcpyBatchAsync", 13000, 2, "cuMemcpyBatchAsync_v2_ptsz"),
        ("cuStreamWaitValue32", 11060, 0, "cuStreamWaitValue32"),
        ("cuStreamWaitValue32", 11070, 0, "cuStreamWaitValue32_v2"),
        ("cuLaunchHostFunc", 13000, 0, None),
        ("nvmlDeviceGetMemoryInfo", 13000, 0, None),
        ("", 13000, 0, None),
    ],
)
def test_hook_by_name_finds_the_form_of_that_version(name, version, flags, symbol):
    assert by_name(name, version, flags) == symbol


def test_hook_by_symbol_finds_every_row_and_nothing_else():
    rows = r"^GB_(?:CUDA_HOOK|CUDA_SUBMIT|NVML_HOOK)\((\w+),"
    symbols = re.findall(rows, (ROOT / "shim/hooks.def").read_text(), re.MULTILINE)
    assert len(set(symbols)) == len(symbols) > 150
    for symbol in symbols:
        assert ffi.string(lib.gb_hook_by_symbol(symbol.encode()).symbol).decode() == symbol
    for other in [
        "cuMemAlloc",
        "cuMemAllo",
        "cuMemAlloc_v22",
        "cudaMalloc",
        "cublasCreate_v2",
        "c",
        "",
        "cu",
        "nvml",
        "n",
    ]:
        assert not lib.gb_hook_by_symbol(other.encode())
