/* One allocation across VRAM and host memory: one reserved address range, and in it chunks of both (cuda.h, "Virtual Memory
 * Management"). The device, and peers that were given access, read and write all of it in place; the CPU none of it, as
 * with device memory. */
#include "tier/split.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "driver/driver.h"
#include "tier/chunk.h"
#include "tier/tier.h"

static struct gb_split *new_record(const struct gb_block *block, const struct gb_split_plan *plan)
{
	struct gb_split *split = calloc(1, sizeof *split + (plan->chunks + 63) / 64 * sizeof(uint64_t));

	if (!split)
		return NULL;
	split->context = block->context;
	split->mapped_bytes = plan->mapped_bytes;
	split->chunk_bytes = plan->chunk_bytes;
	split->chunks = plan->chunks;
	split->device = block->device;
	split->pattern = (uint8_t)plan->pattern;
	return split;
}

/* Takes back the first `bytes` of the range, and the range. */
static CUresult unmap(struct gb_split *split, uint64_t bytes)
{
	const struct gb_driver *driver = gb_driver();

	if (!split->unmapped && bytes) {
		CUresult result = driver->cuMemUnmap(split->base, bytes);
		if (result)
			return result;
	}
	split->unmapped = true;
	return driver->cuMemAddressFree(split->base, split->mapped_bytes);
}

static void undo(struct gb_split *split, uint64_t bytes)
{
	CUresult undone = GB_INSIST(unmap(split, bytes));

	if (undone)
		gb_log(GB_LOG_WARN, "split", "%llu bytes stay mapped: the driver answered %d",
		       (unsigned long long)bytes, undone);
}

/* Maps the chunks in the order of addresses, so that what is mapped is one range at any time: *mapped bytes. */
static CUresult map_chunks(struct gb_split *split, struct gb_call *call, uint64_t *mapped)
{
	const struct gb_split_plan *plan = call->plan;
	const CUmemLocation vram = {CU_MEM_LOCATION_TYPE_DEVICE, split->device};
	CUmemLocation host;

	if (gb_split_plan_host(plan) && !gb_chunk_host_location(split->device, &host))
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (uint32_t i = 0; i < plan->chunks; i++) {
		uint64_t bytes = gb_split_plan_chunk(plan, i);
		bool in_vram = gb_split_plan_in_vram(plan, i);
		CUresult result = gb_chunk_map(split->base + *mapped, bytes, in_vram ? &vram : &host);
		if (result == CUDA_ERROR_OUT_OF_MEMORY && in_vram)
			call->vram_had = split->share.vram;
		if (result)
			return result;
		*mapped += bytes;
		*(in_vram ? &split->share.vram : &split->share.host) += bytes;
		*(in_vram ? &split->share.vram_chunks : &split->share.host_chunks) += 1;
		if (in_vram)
			split->in_vram[i / 64] |= UINT64_C(1) << (i % 64);
	}
	return CUDA_SUCCESS;
}

/* The end of the run of chunks in one place that begins at `first`. */
static uint32_t run_end(const struct gb_split *split, uint32_t first)
{
	uint32_t end = first + 1;

	while (end < split->chunks && gb_split_bit(split->in_vram, end) == gb_split_bit(split->in_vram, first))
		end++;
	return end;
}

/* Host memory for the devices in use that do not reach the rest. One that cannot have it does without: its own blocks and
 * this block's device are not worse off. */
static void grant_users(struct gb_split *split)
{
	CUresult result = CUDA_SUCCESS;

	for (uint32_t first = 0, end; first < split->chunks && !result; first = end) {
		end = run_end(split, first);
		uint64_t from = first * split->chunk_bytes;
		uint64_t to = end < split->chunks ? end * split->chunk_bytes : split->mapped_bytes;
		if (!gb_split_bit(split->in_vram, first))
			result = gb_chunk_set_access(split->base + from, to - from, split->device,
						     gb_split_reaches(split, false));
	}
	if (!result)
		return;
	split->users = 0;
	gb_log(GB_LOG_INFO, "split", "device=%d: other devices cannot copy its host chunks, the driver answered %d",
	       split->device, result);
}

CUresult gb_split_grant_access(struct gb_split *split)
{
	struct gb_reach wanted = gb_split_reach_wanted(split->device);
	uint32_t known = wanted.peers | UINT32_C(1) << split->device;

	split->peers = wanted.peers;
	split->users = wanted.users;
	CUresult result = gb_chunk_set_access(split->base, split->mapped_bytes, split->device, split->peers);
	if (!result && (split->users & ~known))
		grant_users(split);
	return result;
}

/* Whether another device came in meanwhile: it walked the set before this block was there. */
static CUresult grant_latecomers(struct gb_split *split)
{
	struct gb_reach wanted = gb_split_reach_wanted(split->device);

	return wanted.peers == split->peers && wanted.users == split->users ? CUDA_SUCCESS
									    : gb_split_grant_access(split);
}

static CUresult fill_range(struct gb_split *split, struct gb_call *call, uint64_t *mapped)
{
	CUresult result = map_chunks(split, call, mapped);

	if (!result)
		result = gb_split_grant_access(split);
	if (!result)
		result = gb_split_set_add(split);
	if (!result) {
		result = grant_latecomers(split);
		if (result)
			gb_split_set_remove(split);
	}
	return result;
}

static CUresult allocate(struct gb_block *block, struct gb_call *call)
{
	GB_TIER_RELAXED();
	struct gb_split *split = new_record(block, call->plan);
	uint64_t mapped = 0;

	if (!split)
		return CUDA_ERROR_OUT_OF_MEMORY;
	CUresult result = gb_driver()->cuMemAddressReserve(&split->base, split->mapped_bytes, 0, 0, 0);
	if (result) {
		free(split);
		return result;
	}
	result = fill_range(split, call, &mapped);
	if (result) {
		undo(split, mapped);
		free(split);
		/* What the trial mapped, the driver now refuses: another tier's turn, and not the program's business. */
		return gb_chunk_is_refusal(result) ? CUDA_ERROR_OUT_OF_MEMORY : result;
	}
	block->base = split->base;
	block->progress = split->place;
	return CUDA_SUCCESS;
}

static CUresult release(struct gb_block *block)
{
	GB_TIER_RELAXED();
	struct gb_split *split = gb_split_set_at(block->progress);
	CUresult result = unmap(split, split->mapped_bytes);

	if (result)
		return result;
	gb_split_set_remove(split);
	free(split);
	return CUDA_SUCCESS;
}

/* Mapped memory belongs to the process, not to a context (cuda.h, cuMemCreate): it goes when it is unmapped. If the driver
 * is gone, so is the memory. */
static void abandon(struct gb_block *block)
{
	struct gb_split *split = gb_split_set_at(block->progress);

	GB_INSIST(unmap(split, split->mapped_bytes));
	gb_split_set_remove(split);
	free(split);
}

static struct gb_share share(const struct gb_block *block)
{
	return gb_split_set_at(block->progress)->share;
}

static bool moves_fail[GB_DEVICES_MAX]; /* atomic: any thread finds out the same */

bool gb_split_moves_work(CUdevice device)
{
	return !__atomic_load_n(&moves_fail[device], __ATOMIC_RELAXED);
}

/* One chunk down, one up, and every byte still there. */
static bool try_moves(struct gb_split *split)
{
	struct gb_moved down, up;

	return !gb_split_move(split, 1, false, &down) && gb_tier_verify(split->base, split->mapped_bytes) &&
	       !gb_split_move(split, 1, true, &up) && gb_tier_verify(split->base, split->mapped_bytes);
}

static const char *why_not(CUdevice device)
{
	const uint64_t granularity = gb_chunk_granularity(device);
	struct gb_block block = {.size = 4 * granularity, .device = (uint8_t)device};
	struct gb_split_plan plan;
	struct gb_call call = {.size = block.size, .plan = &plan};
	CUmemLocation host;

	if (!granularity)
		return "no virtual memory management";
	if (!gb_chunk_host_location(device, &host))
		return "no virtual memory management of host memory";
	plan = gb_split_plan(&(struct gb_split_terms){.size = block.size,
						      .granularity = granularity,
						      .vram = block.size / 2,
						      .pattern = GB_PATTERN_INTERLEAVE});
	CUresult result = allocate(&block, &call);
	if (result == CUDA_ERROR_OUT_OF_MEMORY) {
		/* No VRAM for a trial of it: host chunks alone say whether the device reaches them. */
		plan = gb_split_plan(&(struct gb_split_terms){.size = block.size, .granularity = granularity});
		result = allocate(&block, &call);
	}
	if (result)
		return "reserving, mapping or access failed";
	bool passed = gb_tier_exercise(block.base, block.size);
	if (passed && plan.device_chunks)
		__atomic_store_n(&moves_fail[device], !try_moves(gb_split_set_at(block.progress)), __ATOMIC_RELAXED);
	if (GB_INSIST(release(&block)))
		return "unmapping failed";
	return passed ? NULL : "the device does not read what it wrote there";
}

const struct gb_tier_ops gb_tier_split = {"split", why_not, allocate, release, abandon, share};
