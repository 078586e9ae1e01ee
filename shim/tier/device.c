/* VRAM: the real call, as the program made it. */
#include "driver/driver.h"
#include "tier/tier.h"

static const char *why_not(CUdevice device)
{
	(void)device;
	return NULL;
}

static CUresult allocate(struct gb_block *block, struct gb_call *call)
{
	const struct gb_driver *driver = gb_driver();

	switch (call->kind) {
	case GB_CALL_PLAIN:
		return driver->cuMemAlloc_v2(&block->base, call->size);
	case GB_CALL_PITCH:
		return driver->cuMemAllocPitch_v2(&block->base, &call->pitch, call->width, call->height,
						  call->element_size);
	case GB_CALL_ASYNC:
		return driver->cuMemAllocAsync(&block->base, call->size, call->stream);
	case GB_CALL_POOL:
		return driver->cuMemAllocFromPoolAsync(&block->base, call->size, call->pool, call->stream);
	}
	return CUDA_ERROR_INVALID_VALUE;
}

static CUresult release(struct gb_block *block)
{
	return gb_driver()->cuMemFree_v2(block->base);
}

static void abandon(struct gb_block *block)
{
	(void)block;
}

const struct gb_tier_ops gb_tier_device = {"device", why_not, allocate, release, abandon, gb_tier_share_vram};
