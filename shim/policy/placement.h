/* Where an allocation should go. Pure: readings and options in, an order of tiers out. */
#ifndef GB_POLICY_PLACEMENT_H
#define GB_POLICY_PLACEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/greenboost_abi.h"
#include "base/options.h"

/* What is asked for. */
struct gb_demand {
	uint64_t bytes;       /* above 0 */
	bool is_retry;        /* the same thread was just refused the same demand */
};

/* What the device has, in bytes. */
struct gb_budget {
	uint64_t limit;   /* VRAM this process may hold; UINT64_MAX: no limit */
	uint64_t held;    /* of it, held now */
	uint64_t free;    /* free on the device, by the driver's word; UINT64_MAX: not asked */
	uint64_t reserve; /* to leave free for small and late requests */
};

/* Options that matter here, resolved to bytes. */
struct gb_rules {
	enum gb_fallback fallback;
	uint64_t min_spill;
	bool retry_first;
};

/* The tiers to try, best first. An empty order is a refusal: CUDA_ERROR_OUT_OF_MEMORY. */
struct gb_placement {
	unsigned count;
	enum gb_tier order[GB_TIER_COUNT];
	bool refuses_once; /* the fallback tiers were left out because of retry_first: the next try gets them */
};

/* 1. VRAM, if the limit allows it, and if a demand of at least min_spill leaves the reserve free.
 * 2. The fallback tiers (unless off; unless retry_first wants to see the demand twice).
 * 3. VRAM after all, where only the reserve stood in the way: it is kept for others, not at the price of a failure.
 * The order promises nothing: each tier may still refuse, and the next is tried. */
struct gb_placement gb_place(const struct gb_demand *demand, const struct gb_budget *budget,
			     const struct gb_rules *rules);

#endif
