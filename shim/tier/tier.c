#include "tier/tier.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "driver/driver.h"

static const struct gb_tier_ops *const tiers[GB_TIER_COUNT] = {
	[GB_TIER_DEVICE] = &gb_tier_device,
	[GB_TIER_HOST_MAPPED] = &gb_tier_host_mapped,
	[GB_TIER_MANAGED] = &gb_tier_managed,
};

const struct gb_tier_ops *gb_tier(enum gb_tier tier)
{
	return tiers[tier];
}

/* A failure may be passing (no memory just now, an error of the program's own): it is final the second time. */
enum verdict { UNTESTED, FAILED_ONCE, FAILS, WORKS };

static _Atomic uint8_t verdicts[GB_TIER_COUNT][GB_DEVICES_MAX];

bool gb_tier_works(enum gb_tier tier, CUdevice device)
{
	_Atomic uint8_t *verdict = &verdicts[tier][device];
	enum verdict known = atomic_load_explicit(verdict, memory_order_acquire);

	/* Two threads may test at once; they find the same. */
	if (known == UNTESTED || known == FAILED_ONCE) {
		enum verdict found = tiers[tier]->works(device) ? WORKS : known == UNTESTED ? FAILED_ONCE : FAILS;
		if (atomic_exchange(verdict, (uint8_t)found) == known)
			gb_log(GB_LOG_INFO, "tier", "device=%d tier=%s self-test=%s", device, tiers[tier]->name,
			       found == WORKS ? "passed" : "failed");
		known = found;
	}
	return known == WORKS;
}

CUresult gb_tier_touch(CUdeviceptr base, size_t size)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (size_t at = 0; at < size; at += page)
		*(volatile char *)(uintptr_t)(base + at) = 0;
	return CUDA_SUCCESS;
}

static void destroy_stream(CUstream *stream)
{
	if (*stream)
		GB_INSIST(gb_driver()->cuStreamDestroy_v2(*stream));
}

/* Calls that would disturb a capture on another stream are allowed to this thread meanwhile (cuda.h,
 * cuThreadExchangeStreamCaptureMode: that is what libraries use it for). */
static void exchange_capture_mode(CUstreamCaptureMode *mode)
{
	GB_INSIST(gb_driver()->cuThreadExchangeStreamCaptureMode(mode));
}

bool gb_tier_exercise(CUdeviceptr base, size_t size)
{
	const struct gb_driver *driver = gb_driver();
	const size_t half = size / 2;
	GB_CLEANUP(gb_free_memory) unsigned char *copy = calloc(1, size);
	GB_CLEANUP(exchange_capture_mode) CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
	GB_CLEANUP(destroy_stream) CUstream stream = NULL;

	exchange_capture_mode(&mode);
	if (!copy || driver->cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING))
		return false;
	/* The first set reaches over the middle, and so does the copy. */
	CUresult set = driver->cuMemsetD8Async(base, 0xA5, size, stream);
	CUresult set_again = driver->cuMemsetD8Async(base + half, 0x5A, size - half, stream);
	CUresult copied = driver->cuMemcpyDtoHAsync_v2(copy, base, size, stream);
	CUresult waited = driver->cuStreamSynchronize(stream);
	if (set || set_again || copied || waited)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (copy[i] != (i < half ? 0xA5 : 0x5A))
			return false;
	}
	return true;
}
