#include "alloc/give_back.h"

#include "alloc/books.h"
#include "alloc/current.h"
#include "alloc/gate.h"
#include "alloc/moves.h"
#include "base/cleanup.h"
#include "driver/driver.h"
#include "tier/tier.h"

static bool context_is_gone(CUresult result)
{
	return result == CUDA_ERROR_DEINITIALIZED || result == CUDA_ERROR_CONTEXT_IS_DESTROYED ||
	       result == CUDA_ERROR_INVALID_CONTEXT;
}

bool gb_free_is_final(CUresult result)
{
	return result == CUDA_SUCCESS || result == CUDA_ERROR_INVALID_VALUE || result == CUDA_ERROR_DEINITIALIZED;
}

/* Inside the gate, so that no chunk moves between the look at where the bytes lie and their going. */
static CUresult give_back_now(struct gb_block *block, struct gb_share *share)
{
	const struct gb_tier_ops *tier = gb_tier((enum gb_tier)block->tier);
	GB_GATE_PASS();

	*share = tier->share(block);
	return tier->free(block);
}

void gb_give_up(struct gb_block *block)
{
	const struct gb_tier_ops *tier = gb_tier((enum gb_tier)block->tier);
	struct gb_share share = {0};

	if (tier) {
		GB_GATE_PASS();
		share = tier->share(block);
		tier->abandon(block);
	}
	gb_books_close(block, &share);
}

CUresult gb_give_back(struct gb_block *block, bool waits)
{
	GB_CLEANUP(gb_context_leave) bool pushed = false;
	struct gb_share share;
	CUresult result = gb_context_enter(block->context, &pushed);

	if (!result && waits)
		result = gb_driver()->cuCtxSynchronize();
	if (!result)
		result = give_back_now(block, &share);
	if (result == CUDA_SUCCESS) {
		gb_books_close(block, &share);
		gb_moves_room_made(block->device);
	} else if (context_is_gone(result)) {
		gb_give_up(block);
		result = CUDA_SUCCESS;
	}
	return result;
}
