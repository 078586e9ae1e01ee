/* VRAM: the real call, as the program made it. */
#include "driver/driver.h"
#include "tier/tier.h"

static const char *why_not(CUdevice device)
{
	(void)device;
	return NULL;
}

static CUresult allocate(struct gb_block *block, struct gb_request *request)
{
	const struct gb_driver *driver = gb_driver();

	switch (request->kind) {
	case GB_REQUEST_PLAIN:
		return driver->cuMemAlloc_v2(&block->base, request->size);
	case GB_REQUEST_PITCH:
		return driver->cuMemAllocPitch_v2(&block->base, &request->pitch, request->width, request->height,
						  request->element_size);
	case GB_REQUEST_ASYNC:
		return driver->cuMemAllocAsync(&block->base, request->size, request->stream);
	case GB_REQUEST_POOL:
		return driver->cuMemAllocFromPoolAsync(&block->base, request->size, request->pool, request->stream);
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
