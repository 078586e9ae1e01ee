#include "block.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "vmm.h"

void fk_block_add(struct fk_block *block, uint64_t address, struct fk_ctx *ctx)
{
	block->id = ++fk.last_id;
	block->live = true;
	block->ctx = ctx;
	block->previous = NULL;
	block->next = NULL;
	if (ctx) {
		block->next = ctx->blocks;
		if (ctx->blocks)
			ctx->blocks->previous = block;
		ctx->blocks = block;
	}
	fk_tree_insert(&fk.blocks, &block->node, address, 0);
}

void fk_block_remove(struct fk_block *block)
{
	fk_tree_remove(&fk.blocks, &block->node);
	if (block->previous)
		block->previous->next = block->next;
	else if (block->ctx)
		block->ctx->blocks = block->next;
	if (block->next)
		block->next->previous = block->previous;
}

struct fk_block *fk_block_at(uint64_t address)
{
	struct fk_node *node = fk_tree_floor(&fk.blocks, address);
	struct fk_block *block = node ? FK_CONTAINER(node, struct fk_block, node) : NULL;

	return block && address - fk_block_address(block) < block->size ? block : NULL;
}

struct fk_block *fk_block_starting(uint64_t address)
{
	struct fk_block *block = fk_block_at(address);

	return block && fk_block_address(block) == address ? block : NULL;
}

static void release_registration(struct fk_block *block)
{
	struct fk_block *twin = block->twin;

	fk_drop(FK_FIGURE_registered_bytes, block->charge);
	if (twin) {
		fk_block_remove(twin);
		munmap((void *)(uintptr_t)fk_block_address(twin), twin->charge); /* NOLINT: an address we reserved */
		free(twin);
	}
}

void fk_block_release(struct fk_block *block)
{
	uint64_t address = fk_block_address(block);

	fk_block_remove(block);
	switch (block->kind) {
	case FK_KIND_DEVICE:
		fk_arena_give(&fk.devices[block->device].arena, address, block->charge);
		fk_device_discharge(block->device, block->charge);
		fk_drop(FK_FIGURE_device_bytes, block->charge);
		break;
	case FK_KIND_HOST:
		munmap(block->bytes, block->charge);
		fk_drop(FK_FIGURE_host_bytes, block->charge);
		break;
	case FK_KIND_MANAGED:
		munmap(block->bytes, block->charge);
		fk_drop(FK_FIGURE_managed_bytes, block->charge);
		if (fk_has(FK_CAP_no_managed))
			fk_device_discharge(block->device, block->charge);
		break;
	case FK_KIND_REGISTERED:
		release_registration(block);
		break;
	default:
		break;
	}
	free(block);
}

void fk_block_release_all(struct fk_ctx *ctx)
{
	while (ctx->blocks) {
		struct fk_block *block = ctx->blocks;

		if (block->kind == FK_KIND_ALIAS)
			block = block->twin;
		fk_block_release(block);
	}
}

static bool mapping_allows(const struct fk_mapping *mapping, int device, enum fk_use use)
{
	unsigned int need = use == FK_USE_READ ? CU_MEM_ACCESS_FLAGS_PROT_READ : CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
	unsigned int mine = mapping->device_access[device], home = 0;

	if (mapping->block.device >= 0)
		home = mapping->device_access[mapping->block.device];
	return (mine & need) == need || (use != FK_USE_KERNEL && (home & need) == need);
}

unsigned char *fk_block_reach(uint64_t address, int device, enum fk_use use, uint64_t *run)
{
	struct fk_block *block = fk_block_at(address);

	if (!block && fk_has(FK_CAP_pageable_access)) {
		struct fk_node *next = fk_tree_ceiling(&fk.blocks, address, 0);

		*run = next ? next->key - address : UINT64_MAX - address;
		return (unsigned char *)(uintptr_t)address;
	}
	if (!block || !block->live)
		return NULL;
	if (block->kind == FK_KIND_VMM && !mapping_allows((const struct fk_mapping *)(void *)block, device, use))
		return NULL;
	if (block->kind == FK_KIND_REGISTERED && block->twin && use == FK_USE_KERNEL && !fk_has(FK_CAP_pageable_access))
		return NULL; /* the device knows it by its other address only */
	*run = block->size - (address - fk_block_address(block));
	return block->bytes + (address - fk_block_address(block));
}

/* May one transfer go on from `block` into `next`, which begins where it ends? */
static bool continues(const struct fk_block *block, const struct fk_block *next)
{
	if (block->kind == FK_KIND_VMM && next->kind == FK_KIND_VMM)
		return fk_vmm_same_reservation(fk_block_address(block), fk_block_address(next));
	return block->kind == FK_KIND_REGISTERED && next->kind == FK_KIND_REGISTERED &&
	       !fk_has(FK_CAP_no_cross_registration_copy);
}

CUresult fk_block_check(uint64_t address, uint64_t size, int device, enum fk_use use, uint64_t *identity)
{
	uint64_t end = address + size, run;
	struct fk_block *block = fk_block_at(address);

	*identity = 0;
	if (end < address)
		return CUDA_ERROR_INVALID_VALUE;
	if (!block)
		return fk_has(FK_CAP_pageable_access) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
	while (address < end) {
		struct fk_block *next;

		if (!fk_block_reach(address, device, use, &run)) {
			*identity = 0; /* a graph's memory: live only between its nodes, so known only when they run */
			return block->live ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
		}
		*identity += block->id * 0x9e3779b97f4a7c15ull;
		if (run >= end - address)
			return CUDA_SUCCESS;
		address += run;
		next = fk_block_at(address);
		if (!next || !continues(block, next))
			return CUDA_ERROR_INVALID_VALUE;
		block = next;
	}
	return CUDA_SUCCESS;
}

uint64_t fk_block_identity(uint64_t address, uint64_t size)
{
	uint64_t identity = 0, end = address + size;

	while (address < end) {
		struct fk_block *block = fk_block_at(address);

		if (!block)
			break;
		identity += block->id * 0x9e3779b97f4a7c15ull;
		address = fk_block_address(block) + block->size;
	}
	return identity;
}
