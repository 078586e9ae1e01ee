#include "alloc/devices.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "alloc/current.h"
#include "alloc/gate.h"
#include "base/options.h"
#include "driver/driver.h"
#include "ledger/account.h"
#include "lease/lease.h"
#include "tier/split.h"
#include "tier/tier.h"

static _Atomic uint64_t totals[GB_DEVICES_MAX]; /* bytes of VRAM; 0: not asked yet */
static _Atomic uint64_t advertised_total;       /* host bytes reported on top, +1; 0: not decided yet */

static uint64_t device_total(CUdevice device)
{
	uint64_t known = atomic_load_explicit(&totals[device], memory_order_relaxed);
	size_t total = 0;

	if (known)
		return known;
	if (gb_driver()->cuDeviceTotalMem_v2(&total, device))
		return 0;
	atomic_store_explicit(&totals[device], total, memory_order_relaxed);
	return total;
}

/* The size that the user set, against this device's VRAM; `unset` if he set none. */
static uint64_t resolve(const struct gb_size *option, CUdevice device, uint64_t unset)
{
	return gb_size_resolve(option, gb_size_needs_whole(option) ? device_total(device) : 0, unset);
}

/* What the options come to on a device. */
struct terms {
	struct gb_rules rules;
	uint64_t chunk; /* bytes; 0: unset */
	uint64_t limit, reserve, expected;
};

static struct terms find_terms(CUdevice device)
{
	const struct gb_options *options = gb_options();
	enum gb_pattern pattern = (enum gb_pattern)options->placement;
	uint64_t chunk = resolve(&options->chunk, device, 0);

	return (struct terms){
		.rules = {.fallback = (enum gb_fallback)options->fallback,
			  .pattern = pattern,
			  .min_spill = resolve(&options->min_spill, device, 0),
			  .chunk = gb_split_chunk(GB_GRANULE_USUAL, chunk, pattern),
			  .small = chunk ? chunk : GB_CHUNK_FRONT,
			  .retry_first = options->retry_first,
			  .movable = options->movable},
		.chunk = chunk,
		.limit = resolve(&options->vram_limit, device, UINT64_MAX),
		.reserve = resolve(&options->vram_reserve, device, 0),
		.expected = resolve(&options->expect, device, 0),
	};
}

static bool has_shares(void)
{
	const struct gb_options *options = gb_options();

	return gb_size_needs_whole(&options->chunk) || gb_size_needs_whole(&options->min_spill) ||
	       gb_size_needs_whole(&options->vram_limit) || gb_size_needs_whole(&options->vram_reserve) ||
	       gb_size_needs_whole(&options->expect);
}

/* Found once a device, because every allocation asks. Whoever is first to publish wins; two find the same. */
static struct terms terms[GB_DEVICES_MAX];
static _Atomic uint8_t terms_are[GB_DEVICES_MAX];
enum { UNKNOWN, BEING_WRITTEN, KNOWN };

static const struct terms *terms_of_unknown(CUdevice device)
{
	static __thread struct terms mine;
	uint8_t state = UNKNOWN;

	mine = find_terms(device);
	/* Without the driver's answer a share is of nothing: to be asked again. */
	bool lasting = !has_shares() || device_total(device);
	if (lasting && atomic_compare_exchange_strong(&terms_are[device], &state, BEING_WRITTEN)) {
		terms[device] = mine;
		if (gb_size_says(&gb_options()->vram_limit))
			__atomic_store_n(&gb_account_page()->device[device].limit_bytes, mine.limit, __ATOMIC_RELAXED);
		atomic_store_explicit(&terms_are[device], KNOWN, memory_order_release);
	}
	return &mine;
}

static inline const struct terms *terms_of(CUdevice device)
{
	return __builtin_expect(atomic_load_explicit(&terms_are[device], memory_order_acquire) == KNOWN, 1)
		       ? &terms[device]
		       : terms_of_unknown(device);
}

uint64_t gb_device_limit(CUdevice device)
{
	return terms_of(device)->limit;
}

uint64_t gb_device_chunk(CUdevice device)
{
	return terms_of(device)->chunk;
}

const struct gb_rules *gb_device_rules(CUdevice device)
{
	return &terms_of(device)->rules;
}

bool gb_device_moves(CUdevice device)
{
	return gb_options()->moves && gb_split_moves_work(device);
}

bool gb_device_has_tier(CUdevice device, enum gb_tier tier)
{
	GB_GATE_PASS();
	return gb_tier_works(tier, device);
}

/* What the program will still ask for, of what the user said it would. */
static uint64_t expected_left(CUdevice device, uint64_t bytes)
{
	uint64_t expected = terms_of(device)->expected;
	uint64_t held = 0;

	if (!expected)
		return 0;
	for (unsigned tier = 0; tier < GB_TIER_COUNT; tier++)
		held += gb_account_bytes((unsigned)device, (enum gb_tier)tier);
	/* More than was expected: this demand is the last as far as is known. */
	return expected > held && expected - held > bytes ? expected - held : bytes;
}

/* VRAM in chunks that could move out. */
static uint64_t movable(CUdevice device)
{
	uint64_t bytes = gb_split_device_vram(device);

	return bytes && gb_device_moves(device) ? bytes : 0;
}

static struct gb_budget cheap_budget(CUdevice device)
{
	const struct terms *known = terms_of(device);

	return (struct gb_budget){
		.limit = known->limit,
		.held = gb_account_bytes((unsigned)device, GB_TIER_DEVICE),
		.free = UINT64_MAX,
		.reserve = known->reserve,
		.movable = movable(device),
	};
}

struct gb_budget gb_device_budget(CUdevice device, uint64_t bytes, const struct gb_rules *rules)
{
	const struct terms *known = terms_of(device);
	bool spreads = known->expected && bytes / GB_STRIPES_MIN >= rules->chunk;

	/* Asking the driver costs microseconds: only where its answer can matter. */
	if (!spreads && (!known->reserve || bytes < rules->min_spill))
		return cheap_budget(device);
	struct gb_budget budget = gb_device_budget_now(device);
	if (spreads)
		budget.expected_left = expected_left(device, bytes);
	return budget;
}

struct gb_budget gb_device_budget_now(CUdevice device)
{
	const struct gb_size *reserve = &gb_options()->vram_reserve;
	size_t free_bytes, total_bytes;
	CUcontext context;
	CUdevice current;
	struct gb_budget budget = cheap_budget(device);

	uint64_t total = device_total(device);
	total = total < budget.limit ? total : budget.limit;
	budget.split_reserve = reserve->is_set ? budget.reserve : gb_split_reserve_default(total);
	if (budget.split_reserve < budget.reserve)
		budget.split_reserve = budget.reserve;
	/* The driver answers for the current context's device, which a handle need not be for (cuMemCreate). */
	if (gb_device_current(&context, &current) && current == device &&
	    gb_driver()->cuMemGetInfo_v2(&free_bytes, &total_bytes) == CUDA_SUCCESS)
		budget.free = free_bytes;
	return budget;
}

uint64_t gb_host_limit(void)
{
	const struct gb_size *option = &gb_options()->host_limit;
	uint64_t limit = gb_size_resolve(option, gb_size_needs_whole(option) ? gb_lease_total() : 0, UINT64_MAX);

	if (gb_size_says(option))
		__atomic_store_n(&gb_account_page()->host_limit_bytes, limit, __ATOMIC_RELAXED);
	return limit;
}

/* Host bytes that could be granted within this process' own limit. */
static uint64_t host_room(void)
{
	uint64_t limit = gb_host_limit();
	uint64_t held = gb_account_host_bytes();
	uint64_t own = held < limit ? limit - held : 0;
	uint64_t budget = gb_lease_budget();

	return budget < own ? budget : own;
}

/* Decided once, because a program takes a card's total for a constant. */
static uint64_t decide_advertised_total(const struct gb_choice_or_size *option, uint64_t room)
{
	uint64_t known = atomic_load_explicit(&advertised_total, memory_order_relaxed);

	if (known)
		return known - 1;
	uint64_t total = room + gb_account_host_bytes();
	if (option->choice < 0) {
		uint64_t asked = gb_size_resolve(&option->size, option->size.is_share ? gb_lease_total() : 0, 0);
		total = asked < total ? asked : total;
	}
	if (atomic_compare_exchange_strong(&advertised_total, &known, total + 1))
		return total;
	return known - 1;
}

struct gb_memory_info gb_device_report(CUdevice device, const struct gb_memory_info *hardware)
{
	const struct gb_options *options = gb_options();
	struct gb_report_terms terms = {.limit = UINT64_MAX};

	if (device >= 0) {
		terms.limit = gb_device_limit(device);
		terms.held = gb_account_bytes((unsigned)device, GB_TIER_DEVICE);
	} else {
		terms.limit = gb_size_resolve(&options->vram_limit, hardware->total, UINT64_MAX);
	}
	if (options->advertise.choice != GB_ADVERTISE_OFF && options->fallback != GB_FALLBACK_OFF) {
		uint64_t room = host_room();
		uint64_t held = gb_account_host_bytes();
		terms.extra_total = decide_advertised_total(&options->advertise, room);
		uint64_t left = held < terms.extra_total ? terms.extra_total - held : 0;
		/* Free is what would be granted if asked for now, never a promise beyond that. */
		terms.extra_free = room < left ? room : left;
	}
	return gb_report(hardware, &terms);
}

/* "GPU-" and the 16 bytes in hexadecimal, with dashes after the 4th, 6th, 8th and 10th. */
static void write_uuid(const CUuuid *uuid, char text[64])
{
	char *at = text + sprintf(text, "GPU-");

	for (int i = 0; i < 16; i++)
		at += sprintf(at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
			      (unsigned char)uuid->bytes[i]);
}

CUdevice gb_device_by_uuid(const char *text)
{
	int count = 0;

	/* A process that uses NVML alone has no CUDA loaded, and must not get it from us. */
	if (!gb_driver_is_loaded() || gb_driver()->cuDeviceGetCount(&count))
		return -1;
	for (CUdevice device = 0; device < count && device < GB_DEVICES_MAX; device++) {
		CUuuid uuid;
		char own[64];
		if (gb_driver()->cuDeviceGetUuid_v2(&uuid, device))
			continue;
		write_uuid(&uuid, own);
		if (!strcasecmp(own, text))
			return device;
	}
	return -1;
}

void gb_devices_after_fork(void)
{
	atomic_store(&advertised_total, 0);
	for (unsigned i = 0; i < GB_DEVICES_MAX; i++)
		atomic_store(&terms_are[i], UNKNOWN);
}
