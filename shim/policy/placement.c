#include "policy/placement.h"

static void add(struct gb_placement *placement, enum gb_tier tier)
{
	placement->order[placement->count++] = tier;
}

static void add_fallbacks(struct gb_placement *placement, enum gb_fallback fallback)
{
	if (fallback == GB_FALLBACK_AUTO || fallback == GB_FALLBACK_HOST)
		add(placement, GB_TIER_HOST_MAPPED);
	if (fallback == GB_FALLBACK_AUTO || fallback == GB_FALLBACK_MANAGED)
		add(placement, GB_TIER_MANAGED);
}

static bool keeps_reserve(const struct gb_demand *demand, const struct gb_budget *budget, const struct gb_rules *rules)
{
	if (budget->reserve == 0 || demand->bytes < rules->min_spill)
		return true;
	uint64_t within_limit = budget->limit - budget->held; /* the caller knows that held <= limit */
	uint64_t room = budget->free < within_limit ? budget->free : within_limit;
	return room >= budget->reserve && room - budget->reserve >= demand->bytes;
}

struct gb_placement gb_place(const struct gb_demand *demand, const struct gb_budget *budget,
			     const struct gb_rules *rules)
{
	struct gb_placement placement = {0};
	bool allowed = budget->held <= budget->limit && demand->bytes <= budget->limit - budget->held;
	bool first = allowed && keeps_reserve(demand, budget, rules);

	if (first)
		add(&placement, GB_TIER_DEVICE);
	if (rules->fallback != GB_FALLBACK_OFF) {
		if (rules->retry_first && !demand->is_retry)
			placement.refuses_once = true;
		else
			add_fallbacks(&placement, rules->fallback);
	}
	if (allowed && !first && !placement.refuses_once)
		add(&placement, GB_TIER_DEVICE);
	return placement;
}
