"""Copies of rectangles and boxes from host memory: the structures of cuda.h (CUDA_MEMCPY2D, CUDA_MEMCPY3D)."""

import ctypes as c

from cuda_program import DEVICE, HOST, call


def _side(name):
    return [
        (f"{name}X", c.c_size_t),
        (f"{name}Y", c.c_size_t),
    ]


def _place(name):
    return [
        (f"{name}Type", c.c_uint),
        (f"{name}Host", c.c_void_p),
        (f"{name}Device", c.c_uint64),
        (f"{name}Array", c.c_void_p),
    ]


class Copy2D(c.Structure):
    """CUDA_MEMCPY2D."""

    _fields_ = (
        _side("src")
        + _place("src")
        + [("srcPitch", c.c_size_t)]
        + _side("dst")
        + _place("dst")
        + [("dstPitch", c.c_size_t), ("width", c.c_size_t), ("height", c.c_size_t)]
    )


class Copy3D(c.Structure):
    """CUDA_MEMCPY3D."""

    _fields_ = (
        _side("src")
        + [("srcZ", c.c_size_t), ("srcLOD", c.c_size_t)]
        + _place("src")
        + [("srcReserved", c.c_void_p), ("srcPitch", c.c_size_t), ("srcHeight", c.c_size_t)]
        + _side("dst")
        + [("dstZ", c.c_size_t), ("dstLOD", c.c_size_t)]
        + _place("dst")
        + [("dstReserved", c.c_void_p), ("dstPitch", c.c_size_t), ("dstHeight", c.c_size_t)]
        + [("width", c.c_size_t), ("height", c.c_size_t), ("depth", c.c_size_t)]
    )


def copy_2d(to, to_pitch, data, pitch, width, height):
    """Rows of `data` to device memory."""
    copy = Copy2D(
        srcType=HOST,
        srcHost=c.cast(c.c_char_p(data), c.c_void_p),
        srcPitch=pitch,
        dstType=DEVICE,
        dstDevice=to,
        dstPitch=to_pitch,
        width=width,
        height=height,
    )
    call("cuMemcpy2D_v2", c.byref(copy))


def copy_3d(to, to_pitch, to_height, data, pitch, rows, width, height, depth):
    """Planes of `data` to device memory."""
    copy = Copy3D(
        srcType=HOST,
        srcHost=c.cast(c.c_char_p(data), c.c_void_p),
        srcPitch=pitch,
        srcHeight=rows,
        dstType=DEVICE,
        dstDevice=to,
        dstPitch=to_pitch,
        dstHeight=to_height,
        width=width,
        height=height,
        depth=depth,
    )
    call("cuMemcpy3D_v2", c.byref(copy))
