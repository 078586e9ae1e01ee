/* Page-locked host memory: allocated, and registered. */
#include <stdlib.h>
#include <sys/mman.h>

#include "api.h"
#include "block.h"

#define FK_PAGE 4096ull

static uint64_t to_pages(uint64_t size)
{
	return (size + FK_PAGE - 1) & ~(FK_PAGE - 1);
}

CUresult fk_host_alloc(struct fk_call *call, void **address, size_t size, unsigned int flags)
{
	uint64_t charge = to_pages(size);
	struct fk_block *block;
	void *bytes;

	if (!address || !size || (flags & ~7u))
		return CUDA_ERROR_INVALID_VALUE;
	if (charge < size)
		return CUDA_ERROR_OUT_OF_MEMORY;
	block = calloc(1, sizeof(*block));
	bytes = mmap(NULL, charge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!block || bytes == MAP_FAILED) {
		free(block);
		if (bytes != MAP_FAILED)
			munmap(bytes, charge);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	block->kind = FK_KIND_HOST;
	block->size = size;
	block->charge = charge;
	block->flags = flags | CU_MEMHOSTALLOC_DEVICEMAP; /* with unified addressing all of it is mapped */
	block->device = call->ctx->device;
	block->bytes = bytes;
	fk_block_add(block, (uint64_t)(uintptr_t)bytes, call->ctx);
	fk_hold(FK_FIGURE_host_bytes, charge);
	*address = bytes;
	return CUDA_SUCCESS;
}

CUresult fk_host_free(struct fk_call *call, void *address)
{
	struct fk_block *block = fk_block_starting((uint64_t)(uintptr_t)address);

	if (!address)
		return CUDA_SUCCESS;
	if (!block || block->kind != FK_KIND_HOST)
		return fk_nothing_to_free(call);
	fk_block_release(block); /* not documented to wait for anything, so it does not */
	return CUDA_SUCCESS;
}

/* Where the device's address differs from the host's: addresses of its own, for the same bytes. */
static struct fk_block *new_alias(const struct fk_block *block)
{
	struct fk_block *alias = calloc(1, sizeof(*alias));
	uint64_t charge = to_pages(block->size);
	void *range = mmap(NULL, charge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (!alias || range == MAP_FAILED) {
		free(alias);
		if (range != MAP_FAILED)
			munmap(range, charge);
		return NULL;
	}
	alias->kind = FK_KIND_ALIAS;
	alias->size = block->size;
	alias->charge = charge;
	alias->flags = block->flags;
	alias->device = block->device;
	alias->bytes = block->bytes;
	fk_block_add(alias, (uint64_t)(uintptr_t)range, NULL);
	return alias;
}

CUresult fk_host_register(struct fk_call *call, void *pointer, size_t size, unsigned int flags)
{
	uint64_t address = (uint64_t)(uintptr_t)pointer;
	struct fk_node *next = fk_tree_ceiling(&fk.blocks, address, 0);
	struct fk_block *block;

	if (fk_has(FK_CAP_no_host_register))
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!pointer || !size || address + size < address || (flags & ~15u))
		return CUDA_ERROR_INVALID_VALUE;
	if (fk_block_at(address) || (next && next->key < address + size))
		return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
	if (size >= fk_config.max_registration_bytes)
		return CUDA_ERROR_OUT_OF_MEMORY;
	block = calloc(1, sizeof(*block));
	if (!block)
		return CUDA_ERROR_OUT_OF_MEMORY;
	block->kind = FK_KIND_REGISTERED;
	block->size = block->charge = size;
	block->flags = flags | CU_MEMHOSTALLOC_DEVICEMAP;
	block->device = call->ctx->device;
	block->bytes = pointer;
	if (fk_has(FK_CAP_no_host_pointer)) {
		block->twin = new_alias(block);
		if (!block->twin) {
			free(block);
			return CUDA_ERROR_OUT_OF_MEMORY;
		}
		block->twin->twin = block;
	}
	fk_block_add(block, address, call->ctx);
	if (block->twin)
		block->twin->id = block->id; /* one memory, two addresses */
	fk_hold(FK_FIGURE_registered_bytes, size);
	return CUDA_SUCCESS;
}

CUresult fk_host_unregister(struct fk_call *call, void *pointer)
{
	struct fk_block *block = fk_block_starting((uint64_t)(uintptr_t)pointer);

	if (!pointer)
		return CUDA_ERROR_INVALID_VALUE;
	if (!block || block->kind != FK_KIND_REGISTERED)
		return fk_nothing_to_free(call) == CUDA_ERROR_INVALID_VALUE ? CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED
									    : fk_nothing_to_free(call);
	fk_block_release(block); /* waits for nothing either */
	return CUDA_SUCCESS;
}

static struct fk_block *pinned_at(const void *pointer)
{
	struct fk_block *block = fk_block_at((uint64_t)(uintptr_t)pointer);

	return block && (block->kind == FK_KIND_HOST || block->kind == FK_KIND_REGISTERED) ? block : NULL;
}

CUresult fk_host_device_pointer(CUdeviceptr *address, void *pointer, unsigned int flags)
{
	struct fk_block *block = pinned_at(pointer);
	uint64_t at = (uint64_t)(uintptr_t)pointer;

	if (!address || !block || flags)
		return CUDA_ERROR_INVALID_VALUE;
	*address = block->twin ? fk_block_address(block->twin) + (at - fk_block_address(block)) : at;
	return CUDA_SUCCESS;
}

CUresult fk_host_flags(unsigned int *flags, void *pointer)
{
	struct fk_block *block = pinned_at(pointer);

	if (!flags || !block)
		return CUDA_ERROR_INVALID_VALUE;
	*flags = block->flags;
	return CUDA_SUCCESS;
}
