/* Allocation and release, not ordered by a stream. */
#include "alloc/allocate.h"
#include "entry/entry.h"

CUresult cuMemAlloc_v2(CUdeviceptr *dptr, size_t size)
{
	GB_ENTER(cuMemAlloc_v2, (dptr, size));
	struct gb_call call = {.kind = GB_CALL_PLAIN, .size = size};

	if (!dptr || size == 0)
		return driver->cuMemAlloc_v2(dptr, size);
	return gb_allocate(&call, dptr);
}

/* The pitch a row of `width` bytes gets outside VRAM: what textures and coalesced access want (cuda.h,
 * CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT), 512 bytes where the driver does not say. */
static size_t fallback_pitch(size_t width)
{
	CUdevice device;
	int alignment = 0;

	if (gb_driver()->cuCtxGetDevice(&device) ||
	    gb_driver()->cuDeviceGetAttribute(&alignment, CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT, device) ||
	    alignment <= 0)
		alignment = 512;
	size_t unit = (size_t)alignment;
	size_t padded;
	return __builtin_add_overflow(width, unit - 1, &padded) ? 0 : padded / unit * unit;
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *dptr, size_t *pitch, size_t width, size_t height, unsigned int element_size)
{
	GB_ENTER(cuMemAllocPitch_v2, (dptr, pitch, width, height, element_size));
	struct gb_call call = {.kind = GB_CALL_PITCH, .width = width, .height = height, .element_size = element_size};
	bool valid = dptr && pitch && width && height && (element_size == 4 || element_size == 8 || element_size == 16);

	call.pitch = valid ? fallback_pitch(width) : 0;
	if (!call.pitch || __builtin_mul_overflow(call.pitch, height, &call.size))
		return driver->cuMemAllocPitch_v2(dptr, pitch, width, height, element_size);
	CUresult result = gb_allocate(&call, dptr);
	if (result == CUDA_SUCCESS)
		*pitch = call.pitch;
	return result;
}

CUresult cuMemAllocManaged(CUdeviceptr *dptr, size_t size, unsigned int flags)
{
	GB_ENTER(cuMemAllocManaged, (dptr, size, flags));
	(void)driver;
	return gb_allocate_managed(dptr, size, flags);
}

CUresult cuMemFree_v2(CUdeviceptr dptr)
{
	GB_ENTER(cuMemFree_v2, (dptr));
	(void)driver;
	return gb_release(dptr);
}
