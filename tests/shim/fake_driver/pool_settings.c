/* Pools as objects: making, ending, choosing, and their attributes. */
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "device.h"
#include "pool.h"

static CUresult ready(CUdevice device)
{
	if (!fk_device_valid(device))
		return CUDA_ERROR_INVALID_DEVICE;
	return fk_has(FK_CAP_no_pools) ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

CUresult fk_pool_create(CUmemoryPool *handle, const CUmemPoolProps *properties)
{
	struct fk_pool *pool;

	if (!handle || !properties || properties->allocType != CU_MEM_ALLOCATION_TYPE_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	if (fk_has(FK_CAP_no_pools) || properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
	    properties->handleTypes)
		return CUDA_ERROR_NOT_SUPPORTED; /* host pools and shareable pools: attributes 142, 144 and 119 are 0 */
	if (!fk_device_valid(properties->location.id))
		return CUDA_ERROR_INVALID_VALUE;
	pool = fk_pool_new(properties->location.id, false);
	if (!pool)
		return CUDA_ERROR_OUT_OF_MEMORY;
	pool->max_bytes = properties->maxSize;
	*handle = (CUmemoryPool)(void *)pool;
	return CUDA_SUCCESS;
}

CUresult fk_pool_destroy(CUmemoryPool handle)
{
	struct fk_pool *pool = fk_object_find(handle, FK_POOL);

	if (!pool || pool->is_default)
		return CUDA_ERROR_INVALID_VALUE;
	if (fk.devices[pool->device].current_pool == pool)
		fk.devices[pool->device].current_pool = fk.devices[pool->device].default_pool;
	fk_object_drop(&pool->object);
	fk_drop(FK_FIGURE_pools, 1);
	fk_pool_end(pool);
	return CUDA_SUCCESS;
}

CUresult fk_pool_get(CUmemoryPool *handle, CUdevice device, bool current)
{
	CUresult result = ready(device);

	if (!handle)
		return CUDA_ERROR_INVALID_VALUE;
	if (result == CUDA_SUCCESS)
		*handle = (CUmemoryPool)(void *)(current ? fk.devices[device].current_pool
							 : fk.devices[device].default_pool);
	return result;
}

CUresult fk_pool_set(CUdevice device, CUmemoryPool handle)
{
	struct fk_pool *pool = fk_object_find(handle, FK_POOL);
	CUresult result = ready(device);

	if (result != CUDA_SUCCESS)
		return result;
	if (!pool || pool->device != device)
		return CUDA_ERROR_INVALID_VALUE;
	fk.devices[device].current_pool = pool;
	return CUDA_SUCCESS;
}

/* The 13.0 forms name a location and a type of allocation; only pinned memory on a device has pools here. */
static CUresult located(const CUmemLocation *location, CUmemAllocationType type)
{
	if (!location || type != CU_MEM_ALLOCATION_TYPE_PINNED)
		return location ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_INVALID_VALUE;
	return location->type == CU_MEM_LOCATION_TYPE_DEVICE ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
}

CUresult fk_pool_get_located(CUmemoryPool *handle, const CUmemLocation *location, CUmemAllocationType type,
			     bool current)
{
	CUresult result = located(location, type);

	return result == CUDA_SUCCESS ? fk_pool_get(handle, location->id, current) : result;
}

CUresult fk_pool_set_located(const CUmemLocation *location, CUmemAllocationType type, CUmemoryPool handle)
{
	CUresult result = located(location, type);

	return result == CUDA_SUCCESS ? fk_pool_set(location->id, handle) : result;
}

CUresult fk_pool_trim(CUmemoryPool handle, size_t keep)
{
	struct fk_pool *pool = fk_object_find(handle, FK_POOL);

	if (!pool)
		return CUDA_ERROR_INVALID_VALUE;
	fk_pool_shrink(pool, keep);
	return CUDA_SUCCESS;
}

static uint64_t *counter(struct fk_pool *pool, CUmemPool_attribute attribute)
{
	switch (attribute) {
	case 4:
		return &pool->threshold;
	case 5:
		return &pool->reserved;
	case 6:
		return &pool->reserved_high;
	case 7:
		return &pool->used;
	case 8:
		return &pool->used_high;
	default:
		return NULL;
	}
}

CUresult fk_pool_attribute(CUmemoryPool handle, CUmemPool_attribute attribute, void *value, bool set)
{
	struct fk_pool *pool = fk_object_find(handle, FK_POOL);
	uint64_t *count = pool ? counter(pool, attribute) : NULL;

	if (!pool || !value)
		return CUDA_ERROR_INVALID_VALUE;
	if (attribute >= 1 && attribute <= 3) {
		int *flag = &pool->reuse[attribute - 1];

		if (set)
			memcpy(flag, value, sizeof(*flag));
		else
			memcpy(value, flag, sizeof(*flag));
		return CUDA_SUCCESS;
	}
	if (!count)
		return CUDA_ERROR_INVALID_VALUE;
	if (!set) {
		memcpy(value, count, sizeof(*count));
	} else if (attribute == 4) {
		memcpy(count, value, sizeof(*count));
	} else if (attribute == 6 || attribute == 8) { /* a high mark can only be reset */
		if (*(const uint64_t *)value != 0)
			return CUDA_ERROR_INVALID_VALUE;
		*count = attribute == 6 ? pool->reserved : pool->used;
	} else {
		return CUDA_ERROR_INVALID_VALUE;
	}
	return CUDA_SUCCESS;
}

CUresult fk_pool_set_access(CUmemoryPool handle, const CUmemAccessDesc *list, size_t count)
{
	struct fk_pool *pool = fk_object_find(handle, FK_POOL);

	if (!pool || !list)
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < count; i++) {
		if (list[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE)
			return CUDA_ERROR_INVALID_VALUE;
		if (!fk_device_valid(list[i].location.id))
			return CUDA_ERROR_INVALID_DEVICE;
		if (list[i].location.id == pool->device && list[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
			return CUDA_ERROR_INVALID_VALUE; /* the pool's own device cannot lose it */
		if (list[i].location.id != pool->device && fk_has(FK_CAP_no_peer))
			return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
	}
	for (size_t i = 0; i < count; i++)
		pool->access[list[i].location.id] = (unsigned char)list[i].flags;
	return CUDA_SUCCESS;
}

CUresult fk_pool_get_access(CUmemAccess_flags *flags, CUmemoryPool handle, const CUmemLocation *location)
{
	struct fk_pool *pool = fk_object_find(handle, FK_POOL);

	if (!pool || !flags || !location || location->type != CU_MEM_LOCATION_TYPE_DEVICE ||
	    !fk_device_valid(location->id))
		return CUDA_ERROR_INVALID_VALUE;
	*flags = pool->access[location->id];
	return CUDA_SUCCESS;
}
