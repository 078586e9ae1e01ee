#include "alloc/give_back.h"

#include "base/cleanup.h"
#include "driver/driver.h"
#include "tier/tier.h"

CUresult gb_context_enter(CUcontext context, bool *pushed)
{
	const struct gb_driver *driver = gb_driver();
	CUcontext current = NULL;

	*pushed = false;
	CUresult result = driver->cuCtxGetCurrent(&current);
	if (result || current == context)
		return result;
	result = driver->cuCtxPushCurrent_v2(context);
	*pushed = result == CUDA_SUCCESS;
	return result;
}

void gb_context_leave(bool *pushed)
{
	CUcontext context;

	if (*pushed)
		GB_INSIST(gb_driver()->cuCtxPopCurrent_v2(&context));
}

static bool context_is_gone(CUresult result)
{
	return result == CUDA_ERROR_DEINITIALIZED || result == CUDA_ERROR_CONTEXT_IS_DESTROYED ||
	       result == CUDA_ERROR_INVALID_CONTEXT;
}

bool gb_free_is_final(CUresult result)
{
	return result == CUDA_SUCCESS || result == CUDA_ERROR_INVALID_VALUE || result == CUDA_ERROR_DEINITIALIZED;
}

CUresult gb_give_back(struct gb_block *block, bool waits)
{
	const struct gb_tier_ops *tier = gb_tier((enum gb_tier)block->tier);
	GB_CLEANUP(gb_context_leave) bool pushed = false;
	CUresult result = gb_context_enter(block->context, &pushed);

	if (!result && waits)
		result = gb_driver()->cuCtxSynchronize();
	if (!result)
		result = tier->free(block);
	if (context_is_gone(result)) {
		tier->abandon(block);
		return CUDA_SUCCESS;
	}
	return result;
}
