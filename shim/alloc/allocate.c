#include "alloc/allocate.h"

#include "alloc/books.h"
#include "alloc/capture.h"
#include "alloc/deferred.h"
#include "alloc/devices.h"
#include "alloc/give_back.h"
#include "base/log.h"
#include "driver/driver.h"
#include "ledger/account.h"
#include "ledger/ledger.h"
#include "policy/placement.h"

/* What this thread was refused last, for retry_first: the same demand again is the retry. */
static __thread struct {
	uint64_t bytes;
	CUdevice device;
} refused;

static bool is_retry(const struct gb_block *block)
{
	return refused.bytes == block->size && refused.device == block->device;
}

/* One tier's try. CUDA_ERROR_OUT_OF_MEMORY: the next one's turn. */
static CUresult allocate_in(enum gb_tier tier, struct gb_block *block, struct gb_request *request, uint64_t limit)
{
	const struct gb_tier_ops *ops = gb_tier(tier);
	CUresult result;

	block->tier = (uint8_t)tier;
	if (!gb_books_reserve(block, limit))
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = ops->alloc(block, request);
	if (result)
		goto cancel;
	if (gb_books_enter(block))
		return CUDA_SUCCESS;
	result = CUDA_ERROR_OUT_OF_MEMORY;
	CUresult undone = ops->free(block);
	if (undone)
		gb_log(GB_LOG_ERROR, "alloc", "%s: %llu bytes stay held: free answered %d", ops->name,
		       (unsigned long long)block->size, undone);
cancel:
	gb_books_cancel(block);
	return result;
}

/* Before host memory is asked for, what streams are done with is given back. If it is not enough, what they still use is the
 * last that can be had: the real allocator waits for it as well. */
static bool grant_host(const struct gb_block *block)
{
	gb_deferred_reap(false);
	return gb_books_grant(block) || (gb_deferred_reap(true) && gb_books_grant(block));
}

static CUresult allocate_in_order(const struct gb_placement *placement, struct gb_block *block,
				  struct gb_request *request, uint64_t limit)
{
	CUresult result = CUDA_ERROR_OUT_OF_MEMORY;
	enum { NOT_ASKED, GRANTED, REFUSED } host = NOT_ASKED;

	for (unsigned i = 0; i < placement->count && result == CUDA_ERROR_OUT_OF_MEMORY; i++) {
		enum gb_tier tier = placement->order[i];
		if (gb_tier_is_fallback(tier) && host == NOT_ASKED)
			host = grant_host(block) ? GRANTED : REFUSED;
		if (gb_tier_is_fallback(tier) && (host == REFUSED || !gb_tier_works(tier, block->device)))
			continue;
		result = allocate_in(tier, block, request, limit);
	}
	/* One grant serves whichever tier takes it; nobody did. */
	if (host == GRANTED && (result || !gb_block_is_fallback(block)))
		gb_books_return_grant(block);
	return result;
}

static void tell(const struct gb_block *block, CUresult result, const struct gb_placement *placement)
{
	unsigned long long size = block->size;

	if (result == CUDA_SUCCESS && gb_block_is_fallback(block))
		gb_log(GB_LOG_DEBUG, "alloc", "device=%d bytes=%llu tier=%s", block->device, size,
		       gb_tier((enum gb_tier)block->tier)->name);
	else if (result == CUDA_ERROR_OUT_OF_MEMORY)
		gb_log(placement->refuses_once ? GB_LOG_DEBUG : GB_LOG_INFO, "alloc", "device=%d bytes=%llu refused%s",
		       block->device, size, placement->refuses_once ? " once (GREENBOOST_RETRY_FIRST)" : "");
}

/* No context, or a device we keep no books for: the driver's own answer. */
static CUresult pass_through(struct gb_request *request, CUdeviceptr *dptr)
{
	struct gb_block block = {.size = request->size};
	CUresult result = gb_tier_device.alloc(&block, request);

	if (result == CUDA_SUCCESS)
		*dptr = block.base;
	return result;
}

CUresult gb_allocate(struct gb_request *request, CUdeviceptr *dptr)
{
	struct gb_block block = {.size = request->size,
				 .stream_ordered =
					 request->kind == GB_REQUEST_ASYNC || request->kind == GB_REQUEST_POOL};
	CUdevice device;

	if (!gb_device_current(&block.context, &device))
		return pass_through(request, dptr);
	block.device = (uint8_t)device;
	struct gb_demand demand = {.bytes = block.size, .is_retry = is_retry(&block)};
	struct gb_rules rules = gb_device_rules(device);
	struct gb_budget budget = gb_device_budget(device, demand.bytes, &rules);
	struct gb_placement placement = gb_place(&demand, &budget, &rules);

	CUresult result = allocate_in_order(&placement, &block, request, budget.limit);
	refused.bytes = result && placement.refuses_once ? block.size : 0;
	refused.device = device;
	tell(&block, result, &placement);
	if (result == CUDA_SUCCESS)
		*dptr = block.base;
	else if (result == CUDA_ERROR_OUT_OF_MEMORY)
		gb_account_count_refusal(block.device);
	return result;
}

CUresult gb_allocate_managed(CUdeviceptr *dptr, size_t size, unsigned int flags)
{
	struct gb_block block = {.size = size, .tier = GB_TIER_UNIFIED};
	CUdevice device;
	CUresult result = gb_driver()->cuMemAllocManaged(dptr, size, flags);

	if (result || !gb_device_current(&block.context, &device))
		return result;
	block.base = *dptr;
	block.device = (uint8_t)device;
	/* Only counted: what cannot be written down is the program's all the same. */
	if (gb_books_reserve(&block, UINT64_MAX) && !gb_books_enter(&block))
		gb_books_cancel(&block);
	return CUDA_SUCCESS;
}

static CUresult close_or_restore(const struct gb_block *block, CUresult result, bool is_final)
{
	if (is_final)
		gb_books_close(block);
	else
		gb_books_restore(block);
	return result;
}

static CUresult release_fallback(struct gb_block *block)
{
	if (gb_capture_active()) {
		CUresult parked = gb_deferred_after_captures(block);
		if (parked)
			gb_books_restore(block);
		return parked;
	}
	gb_deferred_reap(false);
	CUresult result = gb_give_back(block, true);
	return close_or_restore(block, result, result == CUDA_SUCCESS);
}

CUresult gb_release(CUdeviceptr dptr)
{
	struct gb_block block;

	if (!gb_ledger_remove(dptr, &block))
		return gb_driver()->cuMemFree_v2(dptr);
	if (gb_block_is_fallback(&block))
		return release_fallback(&block);
	CUresult result = gb_driver()->cuMemFree_v2(dptr);
	return close_or_restore(&block, result, gb_free_is_final(result));
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
		if (deferred)
			gb_books_restore(&block);
		return deferred;
	}
	CUresult result = driver->cuMemFreeAsync(dptr, stream);
	return close_or_restore(&block, result, result == CUDA_SUCCESS || result == CUDA_ERROR_DEINITIALIZED);
}
