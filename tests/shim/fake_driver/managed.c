/* Managed memory: one address for all, and what the program advised about it (kept and told; nothing migrates). */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "api.h"
#include "block.h"
#include "device.h"
#include "stream.h"

#define FK_ACCESSED_BY_CPU (1u << 31)

CUresult fk_managed_alloc(struct fk_call *call, CUdeviceptr *address, size_t size, unsigned int flags)
{
	uint64_t charge = (size + 4095ull) & ~4095ull;
	bool limited = fk_has(FK_CAP_no_managed); /* without concurrent access it must all fit on the device */
	struct fk_managed *managed;
	void *bytes;

	if (!address || !size || (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST))
		return CUDA_ERROR_INVALID_VALUE;
	if (charge < size || (limited && !fk_device_charge(call->ctx->device, charge)))
		return CUDA_ERROR_OUT_OF_MEMORY;
	managed = calloc(1, sizeof(*managed));
	bytes = mmap(NULL, charge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!managed || bytes == MAP_FAILED) {
		free(managed);
		if (bytes != MAP_FAILED)
			munmap(bytes, charge);
		if (limited)
			fk_device_discharge(call->ctx->device, charge);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	managed->block.kind = FK_KIND_MANAGED;
	managed->block.size = size;
	managed->block.charge = charge;
	managed->block.flags = flags;
	managed->block.device = call->ctx->device;
	managed->block.bytes = bytes;
	fk_block_add(&managed->block, (uint64_t)(uintptr_t)bytes, call->ctx);
	fk_hold(FK_FIGURE_managed_bytes, charge);
	*address = (uint64_t)(uintptr_t)bytes;
	return CUDA_SUCCESS;
}

/* The managed block that holds the whole range. One note is kept per block, not per page: see README.md. */
static struct fk_managed *range(uint64_t address, uint64_t size)
{
	struct fk_block *block = fk_block_at(address);

	if (!block || block->kind != FK_KIND_MANAGED || !size ||
	    size > block->charge - (address - fk_block_address(block)))
		return NULL;
	return (struct fk_managed *)(void *)block;
}

static CUresult check_location(const CUmemLocation *location)
{
	if (location->type == CU_MEM_LOCATION_TYPE_DEVICE)
		return fk_device_valid(location->id) && !fk_has(FK_CAP_no_managed) ? CUDA_SUCCESS
										   : CUDA_ERROR_INVALID_DEVICE;
	return location->type == CU_MEM_LOCATION_TYPE_HOST || location->type == CU_MEM_LOCATION_TYPE_HOST_NUMA ||
			       location->type == CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT
		       ? CUDA_SUCCESS
		       : CUDA_ERROR_INVALID_VALUE;
}

CUmemLocation fk_managed_location(CUdevice device)
{
	if (device == CU_DEVICE_CPU)
		return (CUmemLocation){CU_MEM_LOCATION_TYPE_HOST, 0};
	return (CUmemLocation){CU_MEM_LOCATION_TYPE_DEVICE, device};
}

CUresult fk_managed_advise(CUdeviceptr address, size_t size, CUmem_advise advice, CUmemLocation location)
{
	struct fk_managed *managed = range(address, size);
	bool device = location.type == CU_MEM_LOCATION_TYPE_DEVICE;
	unsigned int bit = device ? 1u << (location.id & 31) : FK_ACCESSED_BY_CPU;
	CUresult result = CUDA_SUCCESS;

	if (advice == CU_MEM_ADVISE_SET_PREFERRED_LOCATION || advice == CU_MEM_ADVISE_SET_ACCESSED_BY ||
	    advice == CU_MEM_ADVISE_UNSET_ACCESSED_BY)
		result = check_location(&location);
	if (result != CUDA_SUCCESS)
		return result;
	if (!managed)
		return fk_has(FK_CAP_pageable_access) && !fk_block_at(address) ? CUDA_SUCCESS
									       : CUDA_ERROR_INVALID_VALUE;
	switch (advice) {
	case CU_MEM_ADVISE_SET_READ_MOSTLY:
	case CU_MEM_ADVISE_UNSET_READ_MOSTLY:
		managed->read_mostly = advice == CU_MEM_ADVISE_SET_READ_MOSTLY;
		return CUDA_SUCCESS;
	case CU_MEM_ADVISE_SET_PREFERRED_LOCATION:
		managed->preferred = location;
		return CUDA_SUCCESS;
	case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION:
		managed->preferred = (CUmemLocation){0};
		return CUDA_SUCCESS;
	case CU_MEM_ADVISE_SET_ACCESSED_BY:
		managed->accessed_by |= bit;
		return CUDA_SUCCESS;
	case CU_MEM_ADVISE_UNSET_ACCESSED_BY:
		managed->accessed_by &= ~bit;
		return CUDA_SUCCESS;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
}

CUresult fk_managed_prefetch(struct fk_call *call, CUdeviceptr address, size_t size, CUmemLocation location,
			     unsigned int flags, CUstream handle)
{
	struct fk_managed *managed = range(address, size);
	struct fk_stream *stream;
	CUresult result = fk_stream_of(call, handle, &stream);

	if (result == CUDA_SUCCESS)
		result = check_location(&location);
	if (result != CUDA_SUCCESS)
		return result;
	if (flags || (!managed && !(fk_has(FK_CAP_pageable_access) && !fk_block_at(address))))
		return CUDA_ERROR_INVALID_VALUE;
	if (managed)
		managed->prefetched = location;
	return fk_submit(stream, fk_op_new(FK_OP_EMPTY));
}

static int as_device(const CUmemLocation *location)
{
	if (location->type == CU_MEM_LOCATION_TYPE_INVALID)
		return CU_DEVICE_INVALID;
	return location->type == CU_MEM_LOCATION_TYPE_DEVICE ? location->id : CU_DEVICE_CPU;
}

static void list_accessors(int *out, size_t count, unsigned int accessed_by)
{
	size_t n = 0;

	if (n < count && (accessed_by & FK_ACCESSED_BY_CPU))
		out[n++] = CU_DEVICE_CPU;
	for (int i = 0; n < count && i < FK_DEVICES_MAX; i++)
		if (accessed_by & (1u << i))
			out[n++] = i;
	while (n < count)
		out[n++] = CU_DEVICE_INVALID;
}

CUresult fk_managed_attribute(void *data, size_t size, CUmem_range_attribute attribute, CUdeviceptr address,
			      size_t count)
{
	struct fk_managed *managed = range(address, count);
	int *out = data;

	if (!managed || !data || !size || size % 4 || (attribute != 3 && size != 4))
		return CUDA_ERROR_INVALID_VALUE;
	switch (attribute) {
	case 1:
		*out = managed->read_mostly;
		break;
	case 2:
		*out = as_device(&managed->preferred);
		break;
	case 3:
		list_accessors(out, size / 4, managed->accessed_by);
		break;
	case 4:
		*out = as_device(&managed->prefetched);
		break;
	case 5:
		*out = managed->preferred.type;
		break;
	case 6:
		*out = managed->preferred.id;
		break;
	case 7:
		*out = managed->prefetched.type;
		break;
	case 8:
		*out = managed->prefetched.id;
		break;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
	return CUDA_SUCCESS;
}

CUresult fk_managed_attributes(void **data, size_t *sizes, CUmem_range_attribute *attributes, size_t n,
			       CUdeviceptr address, size_t count)
{
	CUresult result = data && sizes && attributes && n ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;

	for (size_t i = 0; result == CUDA_SUCCESS && i < n; i++)
		result = fk_managed_attribute(data[i], sizes[i], attributes[i], address, count);
	return result;
}

CUresult fk_managed_attach(struct fk_call *call, CUstream handle, CUdeviceptr address, size_t size, unsigned int flags)
{
	struct fk_block *block = fk_block_starting(address);
	struct fk_stream *stream;
	CUresult result = fk_stream_of(call, handle, &stream);

	if (result != CUDA_SUCCESS)
		return result;
	if (!block || block->kind != FK_KIND_MANAGED || (size && size != block->size) ||
	    (flags != 1 && flags != 2 && flags != 4))
		return CUDA_ERROR_INVALID_VALUE;
	return fk_submit(stream, fk_op_new(FK_OP_EMPTY));
}
