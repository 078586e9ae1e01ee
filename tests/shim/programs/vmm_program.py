"""A program that manages virtual memory itself, for the tests: the calls, and two allocators as real programs have them."""

import ctypes as c

from cuda_program import MIB, CudaError, call, code_of

GRANULE = 2 * MIB
OUT_OF_MEMORY, INVALID_VALUE, NOT_SUPPORTED = 2, 1, 801
AT_DEVICE, AT_HOST, AT_NUMA = 1, 2, 3  # CU_MEM_LOCATION_TYPE_*
FD = 1  # CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR
NONE, READ, READ_WRITE = 0, 1, 3  # CU_MEM_ACCESS_FLAGS_*


class Location(c.Structure):
    """CUmemLocation."""

    _fields_ = [("type", c.c_int), ("id", c.c_int)]


class Prop(c.Structure):
    """CUmemAllocationProp."""

    _fields_ = [
        ("type", c.c_int),
        ("handle_types", c.c_int),
        ("location", Location),
        ("meta", c.c_void_p),
        ("compression", c.c_ubyte),
        ("rdma", c.c_ubyte),
        ("usage", c.c_ushort),
        ("reserved", c.c_ubyte * 4),
    ]


class Access(c.Structure):
    """CUmemAccessDesc."""

    _fields_ = [("location", Location), ("flags", c.c_int)]


def prop(device=0, handle_types=0, **flags):
    return Prop(1, handle_types, Location(AT_DEVICE, device), None, **flags)


def create(size=GRANULE, device=0, handle_types=0, **flags):
    handle = c.c_uint64(0xDEAD)
    call("cuMemCreate", c.byref(handle), size, c.byref(prop(device, handle_types, **flags)), 0)
    return handle.value


def create_code(size=GRANULE, device=0, handle_types=0, **flags):
    handle = c.c_uint64(0xDEAD)
    code = code_of("cuMemCreate", c.byref(handle), size, c.byref(prop(device, handle_types, **flags)), 0)
    assert code and handle.value == 0xDEAD, "made, or the out-parameter touched on failure"
    return code


def release(handle):
    call("cuMemRelease", handle)


def reserve(size):
    base = c.c_uint64()
    call("cuMemAddressReserve", c.byref(base), size, 0, 0, 0)
    return base.value


def unreserve(base, size):
    call("cuMemAddressFree", base, size)


def map_at(base, handle, size=GRANULE):
    call("cuMemMap", base, size, 0, handle, 0)


def unmap(base, size=GRANULE):
    call("cuMemUnmap", base, size)


def access_list(*devices, flags=READ_WRITE):
    return (Access * len(devices))(*[Access(Location(AT_DEVICE, device), flags) for device in devices])


def allow(base, size=GRANULE, *devices, flags=READ_WRITE):
    wanted = access_list(*(devices or (0,)), flags=flags)
    call("cuMemSetAccess", base, size, wanted, len(wanted))


def access_of(base, device=0):
    flags = c.c_ulonglong()
    call("cuMemGetAccess", c.byref(flags), c.byref(Location(AT_DEVICE, device)), base)
    return flags.value


def retain(address):
    handle = c.c_uint64()
    call("cuMemRetainAllocationHandle", c.byref(handle), c.c_void_p(address))
    return handle.value


def properties(handle):
    told = Prop()
    call("cuMemGetAllocationPropertiesFromHandle", c.byref(told), handle)
    return told


def export(handle):
    fd = c.c_int(-1)
    call("cuMemExportToShareableHandle", c.byref(fd), handle, c.c_int(FD), 0)
    return fd.value


def import_fd(fd):
    handle = c.c_uint64()
    call("cuMemImportFromShareableHandle", c.byref(handle), c.c_void_p(fd), c.c_int(FD))
    return handle.value


class ExpandableSegment:
    """Grows as PyTorch's does: a large range, pieces of one size made on demand; all handles of a request, then all mappings,
    then access for the device and each peer. Out of memory gives back the handles made for the request, and is False."""

    def __init__(self, piece, total, device=0, peers=(), handle_types=0, **flags):
        self.piece, self.device, self.peers = piece, device, list(peers)
        self.handle_types, self.flags = handle_types, flags
        self.size = total // piece * piece
        self.base = reserve(self.size)
        self.handles = {}

    def at(self, index):
        return self.base + index * self.piece

    def grow(self, begin, end):
        for index in range(begin, end):
            try:
                self.handles[index] = create(self.piece, self.device, self.handle_types, **self.flags)
            except CudaError as error:
                if error.code != OUT_OF_MEMORY:
                    raise
                for made in range(begin, index):
                    release(self.handles.pop(made))
                return False
        for index in range(begin, end):
            map_at(self.at(index), self.handles[index], self.piece)
        for device in (self.device, *self.peers):
            allow(self.at(begin), (end - begin) * self.piece, device)
        return True

    def shrink(self, begin, end):
        call("cuCtxSynchronize")
        for index in range(begin, end):
            unmap(self.at(index), self.piece)
            release(self.handles.pop(index))

    def close(self):
        for index in list(self.handles):
            self.shrink(index, index + 1)
        unreserve(self.base, self.size)


class Pool:
    """Grows as llama.cpp's does: one reservation, one handle a growth, released as soon as it is mapped; in the end one unmap
    of all of it."""

    def __init__(self, total, device=0):
        self.base, self.total, self.used, self.device = reserve(total), total, 0, device

    def grow(self, size):
        handle = create(size, self.device)
        map_at(self.base + self.used, handle, size)
        release(handle)
        allow(self.base + self.used, size, self.device)
        self.used += size

    def close(self):
        unmap(self.base, self.used)
        unreserve(self.base, self.total)
