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
	[GB_TIER_SPLIT] = &gb_tier_split,
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

static bool test(enum gb_tier tier, CUdevice device, enum verdict known)
{
	const char *reason = tiers[tier]->why_not(device);
	enum verdict found = !reason ? WORKS : known == UNTESTED ? FAILED_ONCE : FAILS;

	/* Two threads may test at once; they find the same. */
	if (atomic_exchange(&verdicts[tier][device], (uint8_t)found) == known)
		gb_log(GB_LOG_INFO, "tier", "device=%d tier=%s self-test=%s%s%s", device, tiers[tier]->name,
		       reason ? "failed" : "passed", reason ? ": " : "", reason ? reason : "");
	return !reason;
}

static void show_ladder(CUdevice device)
{
	for (unsigned tier = 0; tier < GB_TIER_COUNT; tier++) {
		if (gb_tier_is_fallback((enum gb_tier)tier) && tiers[tier] &&
		    atomic_load_explicit(&verdicts[tier][device], memory_order_acquire) == UNTESTED)
			test((enum gb_tier)tier, device, UNTESTED);
	}
}

bool gb_tier_works(enum gb_tier tier, CUdevice device)
{
	enum verdict known = atomic_load_explicit(&verdicts[tier][device], memory_order_acquire);

	if (known == UNTESTED && gb_log_says(GB_LOG_INFO))
		show_ladder(device);
	known = atomic_load_explicit(&verdicts[tier][device], memory_order_acquire);
	if (known == UNTESTED || known == FAILED_ONCE)
		return test(tier, device, known);
	return known == WORKS;
}

struct gb_share gb_tier_share_vram(const struct gb_block *block)
{
	return (struct gb_share){.vram = block->size};
}

struct gb_share gb_tier_share_host(const struct gb_block *block)
{
	return (struct gb_share){.host = block->size};
}

CUresult gb_tier_touch(CUdeviceptr base, size_t size)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (size_t at = 0; at < size; at += page)
		*(volatile char *)(uintptr_t)(base + at) = 0;
	return CUDA_SUCCESS;
}

void gb_tier_stream_end(CUstream *stream)
{
	if (*stream)
		GB_INSIST(gb_driver()->cuStreamDestroy_v2(*stream));
}

CUresult gb_tier_stream(CUstream *stream)
{
	return gb_driver()->cuStreamCreate(stream, CU_STREAM_NON_BLOCKING);
}

void gb_tier_exchange_mode(CUstreamCaptureMode *mode)
{
	GB_INSIST(gb_driver()->cuThreadExchangeStreamCaptureMode(mode));
}

/* The byte that exercise leaves at an offset: the first set reaches over the middle, and so does the copy back. */
static unsigned char mark(size_t offset, size_t size)
{
	return offset < size / 2 ? 0xA5 : 0x5A;
}

bool gb_tier_verify(CUdeviceptr base, size_t size)
{
	const struct gb_driver *driver = gb_driver();
	GB_CLEANUP(gb_free_memory) unsigned char *copy = calloc(1, size);
	GB_TIER_RELAXED();
	GB_CLEANUP(gb_tier_stream_end) CUstream stream = NULL;

	if (!copy || gb_tier_stream(&stream))
		return false;
	CUresult copied = driver->cuMemcpyDtoHAsync_v2(copy, base, size, stream);
	CUresult waited = GB_INSIST(driver->cuStreamSynchronize(stream));
	if (copied || waited)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (copy[i] != mark(i, size))
			return false;
	}
	return true;
}

static bool set_marks(CUdeviceptr base, size_t size)
{
	const struct gb_driver *driver = gb_driver();
	const size_t half = size / 2;
	GB_TIER_RELAXED();
	GB_CLEANUP(gb_tier_stream_end) CUstream stream = NULL;

	if (gb_tier_stream(&stream))
		return false;
	CUresult set = driver->cuMemsetD8Async(base, mark(0, size), size, stream);
	CUresult set_again = driver->cuMemsetD8Async(base + half, mark(half, size), size - half, stream);
	CUresult waited = GB_INSIST(driver->cuStreamSynchronize(stream));
	return !set && !set_again && !waited;
}

bool gb_tier_exercise(CUdeviceptr base, size_t size)
{
	return set_marks(base, size) && gb_tier_verify(base, size);
}
