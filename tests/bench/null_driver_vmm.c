/* Virtual memory management with nothing behind it: a reserved range is ordinary memory from the start, and mapping changes
 * nothing about it. So what is written there can be read back, whatever is mapped over it. */
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "null_driver.h"

enum { GRANULE = 2 << 20 };

/* Addresses of real memory lie above all that take() in null_driver.c hands out. */
static bool is_backed(CUdeviceptr dptr)
{
	return dptr >> 40 > 40;
}

CUresult cuMemAddressReserve(CUdeviceptr *dptr, size_t size, size_t alignment, CUdeviceptr wanted,
			     unsigned long long flags)
{
	void *range = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	(void)alignment, (void)wanted, (void)flags;
	*dptr = (CUdeviceptr)(uintptr_t)range;
	return range == MAP_FAILED ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult cuMemAddressFree(CUdeviceptr dptr, size_t size)
{
	return munmap((void *)(uintptr_t)dptr, size) ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuMemGetAllocationGranularity(size_t *granularity, const CUmemAllocationProp *prop,
				       CUmemAllocationGranularity_flags option)
{
	(void)prop, (void)option;
	*granularity = GRANULE;
	return CUDA_SUCCESS;
}

CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size, const CUmemAllocationProp *prop,
		     unsigned long long flags)
{
	static _Atomic unsigned long long last;

	(void)size, (void)prop, (void)flags;
	*handle = atomic_fetch_add(&last, 1) + 1;
	return CUDA_SUCCESS;
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle)
{
	(void)handle;
	return CUDA_SUCCESS;
}

CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *dptr)
{
	(void)dptr;
	*handle = 1;
	return CUDA_SUCCESS;
}

CUresult cuMemMap(CUdeviceptr dptr, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
		  unsigned long long flags)
{
	(void)dptr, (void)size, (void)offset, (void)handle, (void)flags;
	return CUDA_SUCCESS;
}

CUresult cuMemUnmap(CUdeviceptr dptr, size_t size)
{
	(void)dptr, (void)size;
	return CUDA_SUCCESS;
}

CUresult cuMemSetAccess(CUdeviceptr dptr, size_t size, const CUmemAccessDesc *access, size_t count)
{
	(void)dptr, (void)size, (void)access, (void)count;
	return CUDA_SUCCESS;
}

CUresult cuCtxRecordEvent(CUcontext context, CUevent event)
{
	(void)context, (void)event;
	return CUDA_SUCCESS;
}

CUresult cuMemsetD8Async(CUdeviceptr dptr, unsigned char value, size_t size, CUstream stream)
{
	(void)stream;
	if (is_backed(dptr))
		memset((void *)(uintptr_t)dptr, value, size);
	return CUDA_SUCCESS;
}

CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t size, CUstream stream)
{
	(void)stream;
	if (is_backed(from))
		memcpy(to, (const void *)(uintptr_t)from, size);
	return CUDA_SUCCESS;
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream)
{
	(void)stream;
	if (is_backed(to) && is_backed(from))
		memcpy((void *)(uintptr_t)to, (const void *)(uintptr_t)from, size);
	return CUDA_SUCCESS;
}
