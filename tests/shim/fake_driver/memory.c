/* Device memory: cuMemAlloc and its kin. */
#include <stdlib.h>

#include "api.h"
#include "block.h"
#include "device.h"
#include "pool.h"
#include "work.h"

static CUresult take(struct fk_ctx *ctx, CUdeviceptr *address, uint64_t size)
{
	uint64_t charge = FK_ROUND(size), at;
	struct fk_block *block;

	if (charge < size)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (!fk_device_charge(ctx->device, charge)) {
		fk_run_device(ctx->device); /* frees in stream order may be queued */
		fk_pool_release_idle(ctx->device);
		if (!fk_device_charge(ctx->device, charge))
			return CUDA_ERROR_OUT_OF_MEMORY;
	}
	block = calloc(1, sizeof(*block));
	if (!block || !fk_arena_take(&fk.devices[ctx->device].arena, charge, FK_ALIGNMENT(size), &at)) {
		free(block);
		fk_device_discharge(ctx->device, charge);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	block->kind = FK_KIND_DEVICE;
	block->size = size;
	block->charge = charge;
	block->device = ctx->device;
	block->bytes = fk_arena_bytes(&fk.devices[ctx->device].arena, at);
	fk_block_add(block, at, ctx);
	fk_hold(FK_FIGURE_device_bytes, charge);
	*address = at;
	return CUDA_SUCCESS;
}

CUresult fk_mem_alloc(struct fk_call *call, CUdeviceptr *address, size_t size)
{
	return address && size ? take(call->ctx, address, size) : CUDA_ERROR_INVALID_VALUE;
}

CUresult fk_mem_alloc_pitch(struct fk_call *call, CUdeviceptr *address, size_t *pitch, size_t width, size_t height,
			    unsigned int element)
{
	size_t row = FK_ROUND(width), size;
	CUresult result;

	if (!address || !pitch || !width || !height || (element != 4 && element != 8 && element != 16))
		return CUDA_ERROR_INVALID_VALUE;
	if (row < width || __builtin_mul_overflow(row, height, &size))
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = take(call->ctx, address, size);
	if (result == CUDA_SUCCESS)
		*pitch = row;
	return result;
}

/* Freeing needs no current context: the address says whose it is, and numba frees after it has popped its own. */
CUresult fk_nothing_to_free(struct fk_call *call)
{
	CUresult result = fk_usable(call->ctx);

	return result == CUDA_SUCCESS ? CUDA_ERROR_INVALID_VALUE : result;
}

CUresult fk_mem_free(struct fk_call *call, CUdeviceptr address)
{
	struct fk_block *block = fk_block_starting(address);
	CUresult result;
	uint64_t id;

	if (!address)
		return CUDA_SUCCESS;
	if (block && block->kind == FK_KIND_POOL)
		return fk_pool_free_now(block);
	if (!block || (block->kind != FK_KIND_DEVICE && block->kind != FK_KIND_MANAGED))
		return fk_nothing_to_free(call);
	result = fk_usable(block->ctx);
	if (result != CUDA_SUCCESS)
		return result;
	id = block->id;
	fk_run_context(block->ctx); /* cuMemFree waits for what may still use it; a host function may run meanwhile */
	block = fk_block_starting(address);
	if (!block || block->id != id)
		return CUDA_ERROR_INVALID_VALUE;
	fk_block_release(block);
	return CUDA_SUCCESS;
}

CUresult fk_mem_info(struct fk_call *call, size_t *free_bytes, size_t *total_bytes)
{
	if (free_bytes)
		*free_bytes = fk_config.vram_bytes - fk.devices[call->ctx->device].used_bytes;
	if (total_bytes)
		*total_bytes = fk_config.vram_bytes;
	return CUDA_SUCCESS;
}

CUresult fk_mem_range(CUdeviceptr *base, size_t *size, CUdeviceptr address)
{
	struct fk_block *block = fk_block_at(address);

	if (!block)
		return CUDA_ERROR_NOT_FOUND;
	if (block->kind == FK_KIND_REGISTERED && block->twin)
		return CUDA_ERROR_NOT_FOUND; /* not a device address */
	if (base)
		*base = fk_block_address(block);
	if (size)
		*size = block->size;
	return CUDA_SUCCESS;
}

CUresult fk_ipc_get(CUipcMemHandle *handle, CUdeviceptr address)
{
	struct fk_block *block = fk_block_at(address);

	if (fk_has(FK_CAP_no_ipc))
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!handle || !block || block->kind != FK_KIND_DEVICE)
		return CUDA_ERROR_INVALID_VALUE;
	*handle = (CUipcMemHandle){{0}};
	*(uint64_t *)(void *)handle->reserved = block->id;
	return CUDA_SUCCESS;
}
