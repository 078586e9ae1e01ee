/* What the program is told: how much memory there is, and what a pointer is. */
#include <string.h>

#include "alloc/current.h"
#include "alloc/devices.h"
#include "base/log.h"
#include "entry/entry.h"
#include "ledger/handle_table.h"
#include "ledger/ledger.h"

CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes)
{
	GB_ENTER(cuMemGetInfo_v2, (free_bytes, total_bytes));
	CUcontext context;
	CUdevice device;
	CUresult result = driver->cuMemGetInfo_v2(free_bytes, total_bytes);

	if (result || !free_bytes || !total_bytes || !gb_device_current(&context, &device))
		return result;
	struct gb_memory_info hardware = {.free = *free_bytes, .total = *total_bytes};
	struct gb_memory_info told = gb_device_report(device, &hardware);
	*free_bytes = told.free;
	*total_bytes = told.total;
	return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t *total_bytes, CUdevice device)
{
	GB_ENTER(cuDeviceTotalMem_v2, (total_bytes, device));
	CUresult result = driver->cuDeviceTotalMem_v2(total_bytes, device);

	if (result || !total_bytes || device < 0 || device >= GB_DEVICES_MAX)
		return result;
	struct gb_memory_info hardware = {.free = 0, .total = *total_bytes};
	*total_bytes = gb_device_report(device, &hardware).total;
	return CUDA_SUCCESS;
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr dptr)
{
	GB_ENTER(cuMemGetAddressRange_v2, (base, size, dptr));
	struct gb_block block;

	if (!gb_ledger_find_fallback(dptr, &block))
		return driver->cuMemGetAddressRange_v2(base, size, dptr);
	if (base)
		*base = block.base;
	if (size)
		*size = block.size;
	return CUDA_SUCCESS;
}

/* What an attribute of memory that stands in for VRAM is, where the driver's answer for what is behind it would differ from
 * that for device memory. Returns false where the driver's answer holds. *answer is what the call itself returns: device
 * memory has no host pointer and no peer-to-peer tokens, and the driver says INVALID_VALUE for those. */
static bool device_attribute(CUdevice device, CUpointer_attribute attribute, void *data, CUresult *answer)
{
	*answer = CUDA_SUCCESS;
	switch (attribute) {
	case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
		memcpy(data, &(unsigned int){CU_MEMORYTYPE_DEVICE}, sizeof(unsigned int));
		return true;
	case CU_POINTER_ATTRIBUTE_IS_MANAGED:
	case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
	case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
		memcpy(data, &(unsigned int){0}, sizeof(unsigned int));
		return true;
	case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
		memcpy(data, &(int){device}, sizeof(int));
		return true;
	case CU_POINTER_ATTRIBUTE_HOST_POINTER:
	case CU_POINTER_ATTRIBUTE_P2P_TOKENS:
		*answer = CUDA_ERROR_INVALID_VALUE;
		return true;
	default:
		return false;
	}
}

/* Of a fallback block: one allocation, of which the driver knows but the parts. */
static bool block_attribute(const struct gb_block *block, CUpointer_attribute attribute, void *data, CUresult *answer)
{
	*answer = CUDA_SUCCESS;
	switch (attribute) {
	case CU_POINTER_ATTRIBUTE_CONTEXT: {
		/* Pool memory belongs to no context (cuda.h, CU_POINTER_ATTRIBUTE_CONTEXT). */
		CUcontext context = block->stream_ordered ? NULL : block->context;
		memcpy(data, &context, sizeof context);
		return true;
	}
	case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
	case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
		memcpy(data, &block->base, sizeof block->base);
		return true;
	case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
	case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
		memcpy(data, &(size_t){block->size}, sizeof(size_t));
		return true;
	case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
		memcpy(data, &(unsigned long long){0}, sizeof(unsigned long long));
		return true;
	case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
		memcpy(data, &(void *){NULL}, sizeof(void *));
		return true;
	default:
		return device_attribute(block->device, attribute, data, answer);
	}
}

/* Memory that stands in for VRAM: a fallback block, or host memory that the program mapped for device memory. Of the
 * latter, ranges and handles are as the driver says: the program made them. */
struct substitute {
	struct gb_block block;
	CUdevice device;
	bool is_block;
};

static bool find_substitute(CUdeviceptr dptr, struct substitute *found)
{
	found->is_block = gb_ledger_find_fallback(dptr, &found->block);
	return found->is_block || gb_handles_find_host(dptr, &found->device);
}

static bool substitute_attribute(const struct substitute *found, CUpointer_attribute attribute, void *data,
				 CUresult *answer)
{
	return found->is_block ? block_attribute(&found->block, attribute, data, answer)
			       : device_attribute(found->device, attribute, data, answer);
}

CUresult cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr dptr)
{
	GB_ENTER(cuPointerGetAttribute, (data, attribute, dptr));
	struct substitute found;
	CUresult answer;

	if (data && find_substitute(dptr, &found) && substitute_attribute(&found, attribute, data, &answer))
		return answer;
	return driver->cuPointerGetAttribute(data, attribute, dptr);
}

CUresult cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes, void **data, CUdeviceptr dptr)
{
	GB_ENTER(cuPointerGetAttributes, (count, attributes, data, dptr));
	CUresult result = driver->cuPointerGetAttributes(count, attributes, data, dptr);
	struct substitute found;
	CUresult ignored;

	if (result || !attributes || !data || !find_substitute(dptr, &found))
		return result;
	for (unsigned int i = 0; i < count; i++) {
		/* The plural call answers what a pointer has not with zero rather than an error (cuda.h). */
		if (data[i] && attributes[i] == CU_POINTER_ATTRIBUTE_HOST_POINTER)
			memcpy(data[i], &(void *){NULL}, sizeof(void *));
		else if (data[i])
			substitute_attribute(&found, attributes[i], data[i], &ignored);
	}
	return CUDA_SUCCESS;
}

CUresult cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr dptr)
{
	GB_ENTER(cuIpcGetMemHandle, (handle, dptr));
	struct gb_block block;

	if (!gb_ledger_find_fallback(dptr, &block))
		return driver->cuIpcGetMemHandle(handle, dptr);
	gb_log(GB_LOG_WARN, "ipc",
	       "%llu bytes at %#llx lie outside VRAM, in part or whole, which legacy IPC cannot share; GREENBOOST_FALLBACK=off keeps blocks in VRAM",
	       (unsigned long long)block.size, (unsigned long long)block.base);
	return CUDA_ERROR_INVALID_VALUE;
}
