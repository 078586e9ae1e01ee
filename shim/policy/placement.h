/* Where an allocation should go. Pure: readings and options in, an order of tiers out. */
#ifndef GB_POLICY_PLACEMENT_H
#define GB_POLICY_PLACEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/greenboost_abi.h"
#include "base/options.h"
#include "policy/split_plan.h"

/* What is asked for. */
struct gb_demand {
	uint64_t bytes; /* above 0 */
	bool is_retry;  /* the same thread was just refused the same demand */
	bool is_passing; /* from a stream-ordered pool: soon freed, and not worth cutting into chunks while it fits */
};

/* What the device has, in bytes. */
struct gb_budget {
	uint64_t limit;         /* VRAM this process may hold; UINT64_MAX: no limit */
	uint64_t held;          /* of it, held now */
	uint64_t free;          /* free on the device, by the driver's word; UINT64_MAX: not asked */
	uint64_t reserve;       /* to leave free for small and late requests */
	uint64_t split_reserve; /* to leave free when a block is split */
	uint64_t movable;       /* held, in chunks that could move to host memory */
	uint64_t expected_left; /* that the program will still ask for, this demand included; 0: not known */
};

/* Options that matter here, resolved to bytes. */
struct gb_rules {
	enum gb_fallback fallback;
	enum gb_pattern pattern;
	uint64_t min_spill;
	uint64_t chunk; /* of split blocks, whole granules; 0: they cannot be had */
	uint64_t small; /* a demand below this is not worth splitting: chunks make room for it */
	bool retry_first;
	bool movable; /* large demands are chunked even if they fit */
};

/* The tiers to try, best first. An empty order is a refusal: CUDA_ERROR_OUT_OF_MEMORY. */
struct gb_placement {
	unsigned count;
	enum gb_tier order[GB_TIER_COUNT];
	uint64_t split_vram; /* VRAM that the split tier may take for it at most; UINT64_MAX: what there is */
	bool makes_room;     /* where VRAM is full, chunks may move out for it: then DEVICE is to be tried again */
	bool refuses_once;   /* the fallback tiers were left out because of retry_first: the next try gets them */
};

/* An interleaved block has at least so many chunks; a smaller one would not be in proportion. */
enum { GB_STRIPES_MIN = 8 };

/* 1. Split first, for a large demand that fits, only where the user asked for it: in proportion where the program is
 *    known to ask for more than fits, so that every large block has its share of VRAM; or all VRAM, if movable.
 * 2. VRAM, if the limit allows it, and if a demand of at least min_spill leaves the reserve free. A small demand that does
 *    not fit may have chunks moved out for it.
 * 3. The fallback tiers (unless off; unless retry_first wants to see the demand twice), split before the others.
 * 4. VRAM after all, where only the reserve stood in the way: it is kept for others, not at the price of a failure.
 * The order promises nothing: each tier may still refuse, and the next is tried. */
void gb_place(const struct gb_demand *demand, const struct gb_budget *budget, const struct gb_rules *rules,
	      struct gb_placement *placement);

/* VRAM that may be taken now: what the limit leaves of what is free. */
uint64_t gb_budget_room(const struct gb_budget *budget);

#endif
