#include "policy/placement.h"

static void add(struct gb_placement *placement, enum gb_tier tier)
{
	placement->order[placement->count++] = tier;
}

static bool may_split(const struct gb_rules *rules)
{
	return rules->chunk && (rules->fallback == GB_FALLBACK_AUTO || rules->fallback == GB_FALLBACK_SPLIT);
}

static void add_fallbacks(struct gb_placement *placement, const struct gb_demand *demand, const struct gb_rules *rules,
			  bool has_split)
{
	enum gb_fallback fallback = rules->fallback;

	/* Below a chunk's size a granule would be more than is asked for. */
	if (!has_split && may_split(rules) && (demand->bytes >= rules->chunk || fallback == GB_FALLBACK_SPLIT))
		add(placement, GB_TIER_SPLIT);
	if (fallback == GB_FALLBACK_AUTO || fallback == GB_FALLBACK_HOST)
		add(placement, GB_TIER_HOST_MAPPED);
	if (fallback == GB_FALLBACK_AUTO || fallback == GB_FALLBACK_MANAGED)
		add(placement, GB_TIER_MANAGED);
}

uint64_t gb_budget_room(const struct gb_budget *budget)
{
	uint64_t within_limit = budget->held < budget->limit ? budget->limit - budget->held : 0;

	return budget->free < within_limit ? budget->free : within_limit;
}

static bool keeps_reserve(const struct gb_demand *demand, const struct gb_budget *budget, const struct gb_rules *rules)
{
	if (budget->reserve == 0 || demand->bytes < rules->min_spill)
		return true;
	uint64_t room = gb_budget_room(budget);
	return room >= budget->reserve && room - budget->reserve >= demand->bytes;
}

/* The demand's share of the VRAM that is left, where more is to come than that; UINT64_MAX where it may have all. */
static uint64_t proportional_share(const struct gb_demand *demand, const struct gb_budget *budget,
				   const struct gb_rules *rules)
{
	if (budget->expected_left < demand->bytes || demand->is_passing)
		return UINT64_MAX;
	uint64_t room = gb_budget_room(budget);
	room = room > budget->split_reserve ? room - budget->split_reserve : 0;
	if (rules->pattern != GB_PATTERN_INTERLEAVE || !may_split(rules) ||
	    demand->bytes / GB_STRIPES_MIN < rules->chunk || budget->expected_left <= room)
		return UINT64_MAX;
	uint64_t share = (uint64_t)((unsigned __int128)demand->bytes * room / budget->expected_left);
	/* Within half a chunk of everything: not worth a split. */
	return demand->bytes - share <= rules->chunk / 2 ? UINT64_MAX : share;
}

void gb_place(const struct gb_demand *demand, const struct gb_budget *budget, const struct gb_rules *rules,
	      struct gb_placement *placement)
{
	bool allowed = budget->held <= budget->limit && demand->bytes <= budget->limit - budget->held;
	bool first = allowed && keeps_reserve(demand, budget, rules);
	bool chunked = rules->movable && !demand->is_passing && may_split(rules) && demand->bytes >= rules->small;
	bool refuses = rules->retry_first && !demand->is_retry && rules->fallback != GB_FALLBACK_OFF;

	placement->count = 0;
	placement->split_vram = proportional_share(demand, budget, rules);
	placement->makes_room = demand->bytes < rules->small && may_split(rules) && budget->movable > 0;
	placement->refuses_once = refuses;
	bool split_first = placement->split_vram != UINT64_MAX || (first && chunked);
	/* By the limit it does not fit as things are, but it would if chunks moved out. */
	bool could = !allowed && placement->makes_room && budget->held <= budget->limit &&
		     demand->bytes - (budget->limit - budget->held) <= budget->movable;

	if (split_first && (first || !refuses))
		add(placement, GB_TIER_SPLIT);
	if (first || could)
		add(placement, GB_TIER_DEVICE);
	if (refuses)
		return;
	if (rules->fallback != GB_FALLBACK_OFF)
		add_fallbacks(placement, demand, rules, split_first);
	if (allowed && !first)
		add(placement, GB_TIER_DEVICE);
}
