#include "alloc/allocate.h"

#include "alloc/books.h"
#include "alloc/capture.h"
#include "alloc/current.h"
#include "alloc/deferred.h"
#include "alloc/devices.h"
#include "alloc/gate.h"
#include "alloc/give_back.h"
#include "alloc/idle.h"
#include "alloc/moves.h"
#include "alloc/peaks.h"
#include "alloc/remember.h"
#include "alloc/room.h"
#include "base/log.h"
#include "driver/driver.h"
#include "ledger/account.h"
#include "ledger/ledger.h"
#include "policy/placement.h"
#include "tier/chunk.h"

/* What this thread was refused last, for retry_first: the same demand again is the retry. */
static __thread struct {
	uint64_t bytes;
	CUdevice device;
} refused;

static bool is_retry(const struct gb_block *block)
{
	return refused.bytes == block->size && refused.device == block->device;
}

/* Frees what could not be entered in the ledger, host memory with its books. Returns what there was of it by then: chunks
 * may have moved. */
static struct gb_share take_back(struct gb_block *block, const struct gb_share *planned)
{
	const struct gb_tier_ops *ops = gb_tier((enum gb_tier)block->tier);
	GB_GATE_PASS();
	struct gb_share share = ops->share(block);

	if (block->tier == GB_TIER_SPLIT) {
		gb_account_add_chunks(block->device,
				      planned); /* what has moved since was counted as a change to that */
		gb_account_remove_chunks(block->device, &share);
	}
	gb_books_settle((enum gb_tier)block->tier, planned->host);
	CUresult undone = ops->free(block);
	if (undone)
		gb_log(GB_LOG_ERROR, "alloc", "%s: %llu bytes stay held: free answered %d", ops->name,
		       (unsigned long long)block->size, undone);
	gb_books_give_back((enum gb_tier)block->tier, share.host);
	return share;
}

/* Chunks are mapped, and their block is listed for whoever moves chunks: inside the gate. */
static CUresult take_chunks(struct gb_block *block, struct gb_call *call)
{
	GB_GATE_PASS();
	return gb_tier_split.alloc(block, call);
}

static CUresult take(enum gb_tier tier, struct gb_block *block, struct gb_call *call)
{
	return tier == GB_TIER_SPLIT ? take_chunks(block, call) : gb_tier(tier)->alloc(block, call);
}

/* One tier's try, once it is known where the bytes are to lie. CUDA_ERROR_OUT_OF_MEMORY: the next one's turn. */
static CUresult allocate_share(enum gb_tier tier, struct gb_block *block, struct gb_call *call,
			       const struct gb_share *planned, uint64_t limit)
{
	const struct gb_share *held = planned;
	struct gb_share left;
	CUresult result = CUDA_ERROR_OUT_OF_MEMORY;

	block->tier = (uint8_t)tier;
	if (!gb_books_reserve(block, planned, limit))
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (planned->host && !gb_room_grant_host(planned->host))
		goto cancel;
	result = take(tier, block, call);
	if (!result && gb_books_enter(block, planned))
		return CUDA_SUCCESS;
	if (result) {
		gb_books_return_grant(planned->host);
	} else {
		result = CUDA_ERROR_OUT_OF_MEMORY;
		left = take_back(block, planned);
		held = &left;
	}
cancel:
	gb_books_cancel(block, held);
	return result;
}

/* VRAM that a split of this request may take. */
static uint64_t split_room(const struct gb_block *block, uint64_t most, bool keeps_reserve)
{
	struct gb_budget budget = gb_device_budget_now(block->device);
	uint64_t reserve = keeps_reserve ? budget.split_reserve : 0;
	uint64_t room = gb_budget_room(&budget);

	room = room > reserve ? room - reserve : 0;
	return room < most ? room : most;
}

static struct gb_split_plan plan_split(const struct gb_block *block, uint64_t vram)
{
	struct gb_split_terms terms = {
		.size = block->size,
		.granularity = gb_chunk_granularity(block->device),
		.chunk = gb_device_chunk(block->device),
		.vram = vram,
		.pattern = (enum gb_pattern)gb_options()->placement,
	};

	return gb_split_plan(&terms);
}

static void tell_split(const struct gb_block *block, const struct gb_split_plan *plan)
{
	gb_log(GB_LOG_DEBUG, "alloc", "device=%d bytes=%llu tier=split chunks=%u chunk=%llu in_vram=%u", block->device,
	       (unsigned long long)block->size, plan->chunks, (unsigned long long)plan->chunk_bytes,
	       plan->device_chunks);
}

/* The driver may have less VRAM than it said, or another thread may take it: then the plan is made anew with less. */
static CUresult allocate_split_of(struct gb_block *block, struct gb_call *call, uint64_t most, bool keeps_reserve,
				  uint64_t limit)
{
	struct gb_split_plan plan;

	call->plan = &plan;
	for (uint64_t vram = split_room(block, most, keeps_reserve), less;; vram = less) {
		plan = plan_split(block, vram);
		if (!plan.mapped_bytes)
			return CUDA_ERROR_OUT_OF_MEMORY;
		struct gb_share share = {.vram = gb_split_plan_vram(&plan),
					 .host = gb_split_plan_host(&plan),
					 .vram_chunks = plan.device_chunks,
					 .host_chunks = plan.chunks - plan.device_chunks};
		call->vram_had = UINT64_MAX;
		CUresult result = allocate_share(GB_TIER_SPLIT, block, call, &share, limit);
		if (result == CUDA_SUCCESS)
			tell_split(block, &plan);
		if (result != CUDA_ERROR_OUT_OF_MEMORY)
			return result;
		less = call->vram_had == UINT64_MAX ? split_room(block, most, keeps_reserve) : call->vram_had;
		if (less >= share.vram)
			return result;
	}
}

/* The reserve is kept for others, not at the price of a failure. */
static CUresult allocate_split(struct gb_block *block, struct gb_call *call, const struct gb_placement *placement,
			       uint64_t limit)
{
	CUresult result = allocate_split_of(block, call, placement->split_vram, true, limit);

	if (result == CUDA_ERROR_OUT_OF_MEMORY)
		result = allocate_split_of(block, call, UINT64_MAX, false, limit);
	return result;
}

static CUresult allocate_in(enum gb_tier tier, struct gb_block *block, struct gb_call *call,
			    const struct gb_placement *placement, uint64_t limit)
{
	struct gb_share share = {.vram = tier == GB_TIER_DEVICE ? block->size : 0,
				 .host = tier == GB_TIER_DEVICE ? 0 : block->size};

	if (tier == GB_TIER_SPLIT)
		return allocate_split(block, call, placement, limit);
	CUresult result = allocate_share(tier, block, call, &share, limit);
	if (result == CUDA_ERROR_OUT_OF_MEMORY && tier == GB_TIER_DEVICE && placement->makes_room &&
	    gb_room_make(block->device, block->size))
		result = allocate_share(tier, block, call, &share, limit);
	return result;
}

static CUresult allocate_in_order(const struct gb_placement *placement, struct gb_block *block, struct gb_call *call,
				  uint64_t limit)
{
	CUresult result = CUDA_ERROR_OUT_OF_MEMORY;

	for (unsigned i = 0; i < placement->count && result == CUDA_ERROR_OUT_OF_MEMORY; i++) {
		enum gb_tier tier = placement->order[i];
		if (!gb_tier_is_fallback(tier) || gb_device_has_tier(block->device, tier))
			result = allocate_in(tier, block, call, placement, limit);
	}
	return result;
}

static void tell(const struct gb_block *block, CUresult result, const struct gb_placement *placement)
{
	unsigned long long size = block->size;

	if (result == CUDA_SUCCESS && gb_block_is_fallback(block) && block->tier != GB_TIER_SPLIT)
		gb_log(GB_LOG_DEBUG, "alloc", "device=%d bytes=%llu tier=%s", block->device, size,
		       gb_tier((enum gb_tier)block->tier)->name);
	else if (result == CUDA_ERROR_OUT_OF_MEMORY)
		gb_log(placement->refuses_once ? GB_LOG_DEBUG : GB_LOG_INFO, "alloc", "device=%d bytes=%llu refused%s",
		       block->device, size, placement->refuses_once ? " once (GREENBOOST_RETRY_FIRST)" : "");
}

/* No context, or a device we keep no books for: the driver's own answer. */
static CUresult pass_through(struct gb_call *call, CUdeviceptr *dptr)
{
	struct gb_block block = {.size = call->size};
	CUresult result = gb_tier_device.alloc(&block, call);

	if (result == CUDA_SUCCESS)
		*dptr = block.base;
	return result;
}

CUresult gb_allocate(struct gb_call *call, CUdeviceptr *dptr)
{
	struct gb_block block = {.size = call->size,
				 .stream_ordered = call->kind == GB_CALL_ASYNC || call->kind == GB_CALL_POOL};
	CUdevice device;

	if (!gb_device_current(&block.context, &device))
		return pass_through(call, dptr);
	block.device = (uint8_t)device;
	if (gb_idle_note(block.context))
		gb_moves_meet(device);
	struct gb_demand demand = {
		.bytes = block.size, .is_retry = is_retry(&block), .is_passing = block.stream_ordered};
	const struct gb_rules *rules = gb_device_rules(device);
	struct gb_budget budget = gb_device_budget(device, demand.bytes, rules);
	struct gb_placement placement;
	gb_place(&demand, &budget, rules, &placement);

	gb_books_begin();
	CUresult result = allocate_in_order(&placement, &block, call, budget.limit);
	if (result == CUDA_ERROR_OUT_OF_MEMORY)
		gb_books_tell_refusal();
	refused.bytes = result && placement.refuses_once ? block.size : 0;
	refused.device = device;
	tell(&block, result, &placement);
	if (result == CUDA_SUCCESS)
		*dptr = block.base;
	if (result == CUDA_SUCCESS && gb_block_is_fallback(&block)) {
		gb_remember_growth();
		gb_peaks_grew();
	}
	if (result == CUDA_ERROR_OUT_OF_MEMORY)
		gb_account_count_refusal(block.device);
	return result;
}

CUresult gb_allocate_managed(CUdeviceptr *dptr, size_t size, unsigned int flags)
{
	const struct gb_share neither = {0};
	struct gb_block block = {.size = size, .tier = GB_TIER_UNIFIED};
	CUdevice device;
	CUresult result = gb_driver()->cuMemAllocManaged(dptr, size, flags);

	if (result || !gb_device_current(&block.context, &device))
		return result;
	block.base = *dptr;
	block.device = (uint8_t)device;
	/* Only counted: what cannot be written down is the program's all the same. */
	if (gb_books_reserve(&block, &neither, UINT64_MAX) && !gb_books_enter(&block, &neither))
		gb_books_cancel(&block, &neither);
	return CUDA_SUCCESS;
}

static CUresult restore_unless(bool is_done, const struct gb_block *block, CUresult result)
{
	if (!is_done)
		gb_books_restore(block);
	return result;
}

static CUresult release_fallback(struct gb_block *block)
{
	if (gb_capture_active()) {
		CUresult parked = gb_deferred_after_captures(block);
		return restore_unless(parked == CUDA_SUCCESS, block, parked);
	}
	gb_deferred_reap(false);
	CUresult result = gb_give_back(block, true);
	return restore_unless(result == CUDA_SUCCESS, block, result);
}

/* After the driver's own answer to a free of what was its own all the time. */
static CUresult close_if(bool is_done, const struct gb_block *block, CUresult result)
{
	const struct gb_share share = {.vram = block->tier == GB_TIER_DEVICE ? block->size : 0};

	if (is_done)
		gb_books_close(block, &share);
	if (is_done && share.vram)
		gb_moves_room_made(block->device);
	return restore_unless(is_done, block, result);
}

static CUresult release(CUdeviceptr dptr)
{
	struct gb_block block;

	if (!gb_ledger_remove(dptr, &block))
		return gb_driver()->cuMemFree_v2(dptr);
	if (gb_block_is_fallback(&block))
		return release_fallback(&block);
	CUresult result = gb_driver()->cuMemFree_v2(dptr);
	return close_if(gb_free_is_final(result), &block, result);
}

CUresult gb_release(CUdeviceptr dptr)
{
	CUresult result = release(dptr);

	gb_moves_safe_point();
	return result;
}

CUresult gb_release_async(CUdeviceptr dptr, CUstream stream)
{
	const struct gb_driver *driver = gb_driver();
	struct gb_block block;

	/* On a capturing stream this becomes a node of the graph, and frees nothing now. */
	if ((gb_capture_active() && gb_capture_includes(stream)) || !gb_ledger_remove(dptr, &block))
		return driver->cuMemFreeAsync(dptr, stream);
	if (gb_block_is_fallback(&block)) {
		CUresult deferred = gb_deferred_after_stream(&block, stream);
		return restore_unless(deferred == CUDA_SUCCESS, &block, deferred);
	}
	CUresult result = driver->cuMemFreeAsync(dptr, stream);
	return close_if(result == CUDA_SUCCESS || result == CUDA_ERROR_DEINITIALIZED, &block, result);
}
