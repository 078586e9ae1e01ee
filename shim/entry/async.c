/* Allocation and release in the order of a stream. What a capturing stream is asked becomes part of its graph: passed on. */
#include "alloc/allocate.h"
#include "alloc/capture.h"
#include "entry/entry.h"

/* Whether the request is for the driver alone. */
static bool is_drivers(const CUdeviceptr *dptr, size_t size, CUstream stream)
{
	return !dptr || size == 0 || (gb_capture_active() && gb_capture_includes(stream));
}

static CUresult allocate(CUdeviceptr *dptr, size_t size, CUstream stream)
{
	struct gb_call call = {.kind = GB_CALL_ASYNC, .size = size, .stream = stream};

	if (is_drivers(dptr, size, stream))
		return gb_driver()->cuMemAllocAsync(dptr, size, stream);
	return gb_allocate(&call, dptr);
}

static CUresult allocate_from_pool(CUdeviceptr *dptr, size_t size, CUmemoryPool pool, CUstream stream)
{
	struct gb_call call = {.kind = GB_CALL_POOL, .size = size, .pool = pool, .stream = stream};

	if (is_drivers(dptr, size, stream) || !pool)
		return gb_driver()->cuMemAllocFromPoolAsync(dptr, size, pool, stream);
	return gb_allocate(&call, dptr);
}

CUresult cuMemAllocAsync(CUdeviceptr *dptr, size_t size, CUstream stream)
{
	GB_ENTER(cuMemAllocAsync, (dptr, size, stream));
	(void)driver;
	return allocate(dptr, size, stream);
}

CUresult cuMemAllocAsync_ptsz(CUdeviceptr *dptr, size_t size, CUstream stream)
{
	GB_ENTER(cuMemAllocAsync_ptsz, (dptr, size, stream));
	(void)driver;
	return allocate(dptr, size, gb_per_thread(stream));
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *dptr, size_t size, CUmemoryPool pool, CUstream stream)
{
	GB_ENTER(cuMemAllocFromPoolAsync, (dptr, size, pool, stream));
	(void)driver;
	return allocate_from_pool(dptr, size, pool, stream);
}

CUresult cuMemAllocFromPoolAsync_ptsz(CUdeviceptr *dptr, size_t size, CUmemoryPool pool, CUstream stream)
{
	GB_ENTER(cuMemAllocFromPoolAsync_ptsz, (dptr, size, pool, stream));
	(void)driver;
	return allocate_from_pool(dptr, size, pool, gb_per_thread(stream));
}

CUresult cuMemFreeAsync(CUdeviceptr dptr, CUstream stream)
{
	GB_ENTER(cuMemFreeAsync, (dptr, stream));
	(void)driver;
	return gb_release_async(dptr, stream);
}

CUresult cuMemFreeAsync_ptsz(CUdeviceptr dptr, CUstream stream)
{
	GB_ENTER(cuMemFreeAsync_ptsz, (dptr, stream));
	(void)driver;
	return gb_release_async(dptr, gb_per_thread(stream));
}
