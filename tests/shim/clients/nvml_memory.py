"""What NVML and the driver say about one card's memory, in one process, as JSON.

usage: nvml_memory.py [BYTES]

Allocates BYTES (default none) with cuda.bindings, then prints one line: {"nvml": {total, free, used}, "nvml_v2":
{total, free, used, reserved} or null, "driver": {total, free}, "device_total": N}, all for device 0; then frees.
`nvml_before` is what NVML says before the process has touched the driver. Needs nvidia-ml-py and cuda-bindings.
"""

import json
import sys
from typing import Any

import pynvml
from cuda.bindings import driver


def do(answer: tuple[Any, ...]) -> Any:
    """The results of a call, or the program's end with the driver's error."""
    if answer[0] != driver.CUresult.CUDA_SUCCESS:
        sys.exit(f"{answer[0].name} ({int(answer[0])})")
    return answer[1] if len(answer) == 2 else answer[1:]


def nvml(handle: Any, version: Any = None) -> dict[str, int] | None:
    """The memory information of one device; None where this NVML lacks that version."""
    try:
        info = pynvml.nvmlDeviceGetMemoryInfo(handle, version=version)
    except (pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_NotSupported):
        return None
    names = ("total", "free", "used", "reserved") if version else ("total", "free", "used")
    return {name: int(getattr(info, name)) for name in names}


def main() -> None:
    """Ask both, print."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    before = nvml(handle)
    do(driver.cuInit(0))
    device = do(driver.cuDeviceGet(0))
    do(driver.cuCtxSetCurrent(do(driver.cuDevicePrimaryCtxRetain(device))))
    pointer = do(driver.cuMemAlloc(size)) if size else None
    free, total = do(driver.cuMemGetInfo())
    said = {
        "nvml_before": before,
        "nvml": nvml(handle),
        "nvml_v2": nvml(handle, pynvml.nvmlMemory_v2),
        "driver": {"total": int(total), "free": int(free)},
        "device_total": int(do(driver.cuDeviceTotalMem(device))),
    }
    if pointer is not None:
        do(driver.cuMemFree(pointer))
    do(driver.cuDevicePrimaryCtxRelease(device))
    pynvml.nvmlShutdown()
    print(json.dumps(said))


if __name__ == "__main__":
    main()
