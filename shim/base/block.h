/* One allocation as the program knows it, and how to undo it. Plain data: copied by value, owned by whoever holds it. */
#ifndef GB_BASE_BLOCK_H
#define GB_BASE_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/cuda_subset.h"
#include "abi/greenboost_abi.h"

struct gb_block {
	CUdeviceptr base;
	uint64_t size; /* bytes, as the program asked */
	CUcontext context; /* current when it was allocated */
	uint64_t epoch; /* when it was entered into the ledger, in ends of contexts; never 0 there */
	uint32_t
		progress; /* the tier's: how much of a free that failed half-way is still to do; SPLIT: its place in the set */
	uint8_t tier; /* enum gb_tier */
	uint8_t device; /* CUDA ordinal, below GB_DEVICES_MAX */
	bool stream_ordered; /* from cuMemAllocAsync and its kin: outlives its context (cuCtxDestroy) */
};

/* Where the bytes of a block lie; of a split block also in how many chunks. */
struct gb_share {
	uint64_t vram;
	uint64_t host;
	uint32_t vram_chunks;
	uint32_t host_chunks;
};

/* Whether a tier is ours: its blocks lie in host memory, all or in part, and the shim answers questions about them, because the driver does
 * not know them for what the program takes them for. */
static inline bool gb_tier_is_fallback(enum gb_tier tier)
{
	return tier != GB_TIER_DEVICE && tier != GB_TIER_UNIFIED;
}

static inline bool gb_block_is_fallback(const struct gb_block *block)
{
	return gb_tier_is_fallback((enum gb_tier)block->tier);
}

#endif
