/* Unified memory that lives in host memory and that the device reads in place (preferred location: the CPU; accessed by:
 * the device). It needs concurrent managed access: without it, the CPU may not touch any of it while the device works. */
#include "base/cleanup.h"
#include "base/log.h"
#include "driver/driver.h"
#include "tier/tier.h"

static CUresult allocate(struct gb_block *block, struct gb_call *call)
{
	const struct gb_driver *driver = gb_driver();
	CUresult result = driver->cuMemAllocManaged(&block->base, block->size, CU_MEM_ATTACH_GLOBAL);

	(void)call;
	if (result)
		return result;
	result = driver->cuMemAdvise(block->base, block->size, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CU_DEVICE_CPU);
	if (!result)
		result = driver->cuMemAdvise(block->base, block->size, CU_MEM_ADVISE_SET_ACCESSED_BY, block->device);
	/* Every page exists from now on, in host memory: what was granted is taken, and the kernel's figures show it. */
	if (!result)
		return gb_tier_touch(block->base, block->size);
	CUresult undone = driver->cuMemFree_v2(block->base);
	if (undone)
		gb_log(GB_LOG_WARN, "managed", "%zu bytes stay allocated: cuMemFree answered %d", (size_t)block->size,
		       undone);
	return result;
}

static CUresult release(struct gb_block *block)
{
	return gb_driver()->cuMemFree_v2(block->base);
}

static void abandon(struct gb_block *block)
{
	(void)block; /* managed memory goes with its context (cuCtxDestroy) */
}

static const char *why_not(CUdevice device)
{
	int concurrent = 0;
	struct gb_block block = {.size = 128 << 10, .device = (uint8_t)device};

	if (gb_driver()->cuDeviceGetAttribute(&concurrent, CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS, device) ||
	    !concurrent)
		return "the device lacks concurrentManagedAccess";
	if (allocate(&block, NULL))
		return "cuMemAllocManaged or its advice failed";
	bool passed = gb_tier_exercise(block.base, block.size);
	return GB_INSIST(release(&block)) == CUDA_SUCCESS && passed ? NULL
								    : "the device and the CPU do not see the same";
}

const struct gb_tier_ops gb_tier_managed = {"managed", why_not, allocate, release, abandon, gb_tier_share_host};
