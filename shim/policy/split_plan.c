#include "policy/split_plan.h"

static uint64_t round_up(uint64_t bytes, uint64_t unit)
{
	uint64_t rest = bytes % unit;
	uint64_t sum;

	return __builtin_add_overflow(bytes, rest ? unit - rest : 0, &sum) ? 0 : sum;
}

uint64_t gb_split_chunk(uint64_t granularity, uint64_t wanted, enum gb_pattern pattern)
{
	uint64_t bytes = wanted ? wanted : pattern == GB_PATTERN_FRONT ? GB_CHUNK_FRONT : granularity;

	if (bytes > GB_CHUNK_MAX)
		bytes = GB_CHUNK_MAX;
	return bytes <= granularity ? granularity : bytes / granularity * granularity;
}

struct gb_split_plan gb_split_plan(const struct gb_split_terms *terms)
{
	struct gb_split_plan plan = {.pattern = terms->pattern};
	uint64_t mapped = terms->granularity ? round_up(terms->size, terms->granularity) : 0;

	if (!mapped || mapped / GB_CHUNKS_MAX >= GB_CHUNK_MAX)
		return plan;
	plan.chunk_bytes = gb_split_chunk(terms->granularity, terms->chunk, terms->pattern);
	uint64_t least = round_up(mapped / GB_CHUNKS_MAX + 1, terms->granularity);
	if (mapped / plan.chunk_bytes >= GB_CHUNKS_MAX && least > plan.chunk_bytes)
		plan.chunk_bytes = least;
	if (plan.chunk_bytes > mapped)
		plan.chunk_bytes = mapped;
	plan.mapped_bytes = mapped;
	plan.chunks = (uint32_t)((mapped + plan.chunk_bytes - 1) / plan.chunk_bytes);
	uint64_t fit = terms->vram / plan.chunk_bytes;
	plan.device_chunks = terms->vram >= mapped ? plan.chunks : fit < plan.chunks ? (uint32_t)fit : plan.chunks - 1;
	return plan;
}

bool gb_split_plan_in_vram(const struct gb_split_plan *plan, uint32_t index)
{
	if (plan->pattern == GB_PATTERN_FRONT)
		return index < plan->device_chunks;
	/* Bresenham's line: the count of VRAM chunks up to here grows by one, or by none. */
	uint64_t before = (uint64_t)index * plan->device_chunks / plan->chunks;
	uint64_t after = ((uint64_t)index + 1) * plan->device_chunks / plan->chunks;
	return after != before;
}

uint64_t gb_split_reserve_default(uint64_t vram_total)
{
	const uint64_t most = UINT64_C(512) << 20;

	return vram_total / 32 < most ? vram_total / 32 : most;
}

uint64_t gb_split_plan_chunk(const struct gb_split_plan *plan, uint32_t index)
{
	uint64_t left = plan->mapped_bytes - index * plan->chunk_bytes;

	return left < plan->chunk_bytes ? left : plan->chunk_bytes;
}

uint64_t gb_split_plan_vram(const struct gb_split_plan *plan)
{
	if (!plan->device_chunks)
		return 0;
	uint32_t last = plan->chunks - 1;
	uint64_t missing = plan->chunk_bytes - gb_split_plan_chunk(plan, last);
	return plan->device_chunks * plan->chunk_bytes - (gb_split_plan_in_vram(plan, last) ? missing : 0);
}

uint64_t gb_split_plan_host(const struct gb_split_plan *plan)
{
	return plan->mapped_bytes - gb_split_plan_vram(plan);
}

uint32_t gb_split_count(const uint64_t *in_vram, uint32_t chunks)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < chunks; i++)
		count += gb_split_bit(in_vram, i);
	return count;
}

uint32_t gb_split_pick(const uint64_t *in_vram, uint32_t chunks, enum gb_pattern pattern, bool of_vram, uint32_t count,
		       uint32_t *picked)
{
	uint32_t ones = gb_split_count(in_vram, chunks);
	uint32_t all = of_vram ? ones : chunks - ones;
	uint32_t seen = 0, taken = 0;
	uint64_t owed = 0; /* in units of 1/all of a chunk: one is due when it reaches `all` */

	if (count > all)
		count = all;
	for (uint32_t i = 0; i < chunks && taken < count; i++) {
		if (gb_split_bit(in_vram, i) != of_vram)
			continue;
		/* The seam: the last ones in VRAM, the first ones in host memory. */
		bool at_seam = !of_vram || seen >= all - count;
		owed += count;
		bool is_due = owed >= all;
		owed -= is_due ? all : 0;
		if (pattern == GB_PATTERN_FRONT ? at_seam : is_due)
			picked[taken++] = i;
		seen++;
	}
	return taken;
}
