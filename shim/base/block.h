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
	uint32_t progress; /* the tier's: how much of a free that failed half-way is still to do */
	uint8_t tier; /* enum gb_tier */
	uint8_t device; /* CUDA ordinal, below GB_DEVICES_MAX */
	bool stream_ordered; /* from cuMemAllocAsync and its kin: outlives its context (cuCtxDestroy) */
};

/* Whether the driver knows the block for what the program takes it for. If not, the shim answers questions about it. */
static inline bool gb_block_is_fallback(const struct gb_block *block)
{
	return block->tier != GB_TIER_DEVICE && block->tier != GB_TIER_UNIFIED;
}

#endif
