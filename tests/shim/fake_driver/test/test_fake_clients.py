"""Real programs from PyPI, unmodified, on the simulated driver alone: what they need of a driver, it has."""

import importlib.util
import os
import sys

import pytest
from harness import BUILD, run

pytestmark = pytest.mark.python_client

BINDINGS = """
import ctypes
import sys
from cuda.bindings import driver as d

OOM, OK = d.CUresult.CUDA_ERROR_OUT_OF_MEMORY, d.CUresult.CUDA_SUCCESS
def ok(answer):
    assert answer[0] == OK, answer
    return answer[1] if len(answer) == 2 else answer[1:]

ok(d.cuInit(0))
device = ok(d.cuDeviceGet(0))
context = ok(d.cuDevicePrimaryCtxRetain(device))
ok(d.cuCtxSetCurrent(context))
free, total = ok(d.cuMemGetInfo())
assert free == total == 64 << 20 and ok(d.cuDeviceTotalMem(device)) == total

data, back = ctypes.create_string_buffer(bytes(range(256)) * 16, 4096), ctypes.create_string_buffer(4096)
p = ok(d.cuMemAlloc(4096))
ok(d.cuMemcpyHtoD(p, ctypes.addressof(data), 4096))
ok(d.cuMemcpyDtoH(ctypes.addressof(back), p, 4096))
assert back.raw == data.raw
assert d.cuMemAlloc(65 << 20)[0] == OOM

stream = ok(d.cuStreamCreate(1))
q = ok(d.cuMemAllocAsync(1 << 20, stream))
ok(d.cuMemsetD8Async(q, 7, 1 << 20, stream))
ok(d.cuMemFreeAsync(q, stream))
host = ok(d.cuMemHostAlloc(4096, 0))
managed = ok(d.cuMemAllocManaged(4096, d.CUmemAttach_flags.CU_MEM_ATTACH_GLOBAL.value))
ok(d.cuMemsetD32Async(managed, 0x01010101, 1024, stream))
ok(d.cuMemcpyDtoHAsync(host, managed, 4096, stream))
ok(d.cuStreamSynchronize(stream))
assert ctypes.string_at(int(host), 4096) == b"\\1" * 4096

properties = d.CUmemAllocationProp()
properties.type = d.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
properties.location.type = d.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
size = ok(d.cuMemGetAllocationGranularity(properties, d.CUmemAllocationGranularity_flags.CU_MEM_ALLOC_GRANULARITY_MINIMUM))
handle, base = ok(d.cuMemCreate(size, properties, 0)), ok(d.cuMemAddressReserve(size, 0, 0, 0))
ok(d.cuMemMap(base, size, 0, handle, 0))
access = d.CUmemAccessDesc()
access.location, access.flags = properties.location, d.CUmemAccess_flags.CU_MEM_ACCESS_FLAGS_PROT_READWRITE
ok(d.cuMemSetAccess(base, size, [access], 1))
ok(d.cuMemsetD8(base, 9, size))
ok(d.cuCtxSynchronize())  # a memset of device memory is asynchronous, and unmapping does not wait for it
start = d.CUpointer_attribute.CU_POINTER_ATTRIBUTE_RANGE_START_ADDR
assert int(ok(d.cuPointerGetAttribute(start, int(base) + 5))) == int(base)
kind, held = ok(d.cuPointerGetAttributes(2, [d.CUpointer_attribute.CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
    d.CUpointer_attribute.CU_POINTER_ATTRIBUTE_IS_MANAGED], int(managed)))
assert int(kind) == 2 and held
ok(d.cuMemUnmap(base, size)), ok(d.cuMemRelease(handle)), ok(d.cuMemAddressFree(base, size))

ok(d.cuStreamBeginCapture(stream, d.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL))
assert d.cuMemAlloc(512)[0] == d.CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
assert d.cuStreamEndCapture(stream)[0] == d.CUresult.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
ok(d.cuStreamBeginCapture(stream, d.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL))
ok(d.cuMemsetD8Async(p, 3, 4096, stream))
graph = ok(d.cuStreamEndCapture(stream))
run = ok(d.cuGraphInstantiate(graph, 0))
ok(d.cuGraphLaunch(run, stream))
ok(d.cuMemcpyDtoHAsync(ctypes.addressof(back), p, 4096, stream))
assert back.raw == b"\\3" * 4096
ok(d.cuGraphExecDestroy(run)), ok(d.cuGraphDestroy(graph))

ok(d.cuMemFree(p)), ok(d.cuMemFree(managed)), ok(d.cuMemFreeHost(host)), ok(d.cuStreamDestroy(stream))
ok(d.cuDevicePrimaryCtxRelease(device))
import cuda.bindings
print(cuda.bindings.__version__)
"""

CORE = """
from cuda.core import Device, LegacyPinnedMemoryResource
device = Device(0)
device.set_current()
stream = device.create_stream()
buffer = device.allocate(1 << 20, stream=stream)
pinned = LegacyPinnedMemoryResource().allocate(1 << 20)
pinned.copy_to(buffer, stream=stream)
buffer.copy_to(pinned, stream=stream)
stream.record().sync()
assert buffer.is_device_accessible and pinned.is_host_accessible
buffer.close(), pinned.close(), stream.sync(), stream.close()
"""

NUMBA = """
import numpy
from numba import cuda
data = numpy.arange(10000, dtype=numpy.float32)
assert (cuda.to_device(data).copy_to_host() == data).all()
pinned = cuda.pinned_array(1000, dtype=numpy.int32)
pinned[:] = 3
stream = cuda.stream()
assert (cuda.to_device(pinned, stream=stream).copy_to_host(stream=stream) == 3).all() or stream.synchronize()
assert cuda.current_context().get_memory_info().total == 64 << 20
with cuda.pinned(data):
    pass
managed, mapped = cuda.managed_array(100), cuda.mapped_array(100)
managed[:] = 1
del pinned, managed, mapped, stream
cuda.close()
"""

NVML = """
import ctypes, pynvml as n
n.nvmlInit()
handle = n.nvmlDeviceGetHandleByIndex(0)
assert n.nvmlDeviceGetMemoryInfo(handle).total == n.nvmlDeviceGetMemoryInfo(handle, version=n.nvmlMemory_v2).free == 64 << 20
assert n.nvmlDeviceGetComputeRunningProcesses(handle) == n.nvmlDeviceGetGraphicsRunningProcesses(handle) == []
for again in (n.nvmlDeviceGetHandleByUUID(n.nvmlDeviceGetUUID(handle)),
              n.nvmlDeviceGetHandleByPciBusId(n.nvmlDeviceGetPciInfo(handle).busId)):
    assert n.nvmlDeviceGetIndex(again) == 0
n.nvmlDeviceGetName(handle), n.nvmlDeviceGetUtilizationRates(handle), n.nvmlDeviceGetTemperature(handle, 0)
n.nvmlDeviceGetPowerUsage(handle), n.nvmlSystemGetDriverVersion(), n.nvmlSystemGetCudaDriverVersion()
import os
assert n.nvmlSystemGetProcessName(os.getpid())
n.nvmlShutdown()
"""


def client(source, module, tmp_path, **settings):
    if not importlib.util.find_spec(module.split(".")[0]) or not importlib.util.find_spec(module):
        pytest.skip(f"{module} is not installed")
    ended = run([sys.executable, "-c", source], tmp_path, shim=False, FAKECUDA_VRAM="64MiB", **settings)
    assert ended.code == 0, ended.err
    return ended


@pytest.mark.parametrize("defer", ["0", "3"])
def test_cuda_bindings_13_uses_every_kind_of_memory(defer, tmp_path):
    ended = client(BINDINGS, "cuda.bindings", tmp_path, FAKECUDA_DEFER=defer)
    assert ended.out.startswith("13.") and ended.report["clean"], ended.report


def test_cuda_bindings_12_does_as_well(tmp_path):
    if not (BUILD / "bindings-12").exists():
        pytest.skip("`make test` puts the older binding there")
    places = f"{BUILD / 'bindings-12'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    ended = client(BINDINGS, "cuda.bindings", tmp_path, PYTHONPATH=places, FAKECUDA_DRIVER_VERSION="12090")
    assert ended.out.startswith("12.") and ended.report["clean"], ended.report


@pytest.mark.parametrize("module, source", [("cuda.core", CORE), ("numba.cuda", NUMBA)])
def test_python_library_copies_and_cleans_up(module, source, tmp_path):
    assert client(source, module, tmp_path).report["clean"]


def test_nvidia_ml_py_asks_all_it_wants(tmp_path):
    client(NVML, "pynvml", tmp_path)
