#include "ledger/account.h"

#include <stddef.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/block.h"
#include "base/descriptor.h"

_Static_assert((int)GB_TIER_COUNT <= (int)GB_TIERS_MAX, "a tier has no counters in the page");

/* The counters lie here until they are published, and for good if they cannot be. A mapping of the memfd is laid over
 * them in place, so their address never changes and nobody need be told. */
static _Alignas(65536) union {
	struct gb_page page;
	char room[(sizeof(struct gb_page) + 65535) / 65536 * 65536]; /* whole pages on kernels with 64 KiB ones too */
} counters;

static int page_fd = -1; /* until published; nobody's in a forked child */

static char program[sizeof((struct gb_page *)NULL)->program];

/* Kept before the program begins: the C library's name lies in the program's arguments, which Ray's workers and others write
 * their titles over. */
__attribute__((constructor)) static void keep_program_name(void)
{
	if (!program[0]) /* a library's constructor may use CUDA before this one runs */
		strncpy(program, program_invocation_short_name, sizeof program - 1);
}

struct gb_page *gb_account_page(void)
{
	return &counters.page;
}

static void describe_process(struct gb_page *page)
{
	page->magic = GB_ABI_MAGIC;
	page->version = GB_ABI_VERSION;
	page->bytes = sizeof *page;
	page->pid = (int32_t)getpid();
	keep_program_name();
	memcpy(page->program, program, sizeof page->program);
	page->host_limit_bytes = UINT64_MAX;
	for (unsigned i = 0; i < GB_DEVICES_MAX; i++)
		page->device[i].limit_bytes = UINT64_MAX;
}

void gb_account_publish(void)
{
	struct gb_page *page = gb_account_page();

	describe_process(page);
	int fd = memfd_create("greenboost", MFD_CLOEXEC);
	if (fd < 0)
		return;
	fd = gb_descriptor_move_up(fd);
	/* What is written through the descriptor is what lies in memory now; the mapping then takes its place. */
	if (ftruncate(fd, (off_t)sizeof counters) || pwrite(fd, page, sizeof *page, 0) != (ssize_t)sizeof *page ||
	    mmap(&counters, sizeof counters, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		close(fd);
	else /* it stays open: /proc/PID/fd is where a reader finds the page */
		page_fd = fd;
}

int gb_account_page_fd(void)
{
	return page_fd;
}

static void raise_peak(struct gb_page_tier *tier, uint64_t bytes)
{
	uint64_t peak = __atomic_load_n(&tier->peak_bytes, __ATOMIC_RELAXED);

	while (bytes > peak &&
	       !__atomic_compare_exchange_n(&tier->peak_bytes, &peak, bytes, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

/* Compare and swap rather than add and undo: a doomed request never makes a concurrent small one fail. */
static bool add_within(uint64_t *counter, uint64_t bytes, uint64_t limit)
{
	uint64_t held = __atomic_load_n(counter, __ATOMIC_RELAXED);
	uint64_t sum;

	do {
		if (__builtin_add_overflow(held, bytes, &sum) || sum > limit)
			return false;
	} while (!__atomic_compare_exchange_n(counter, &held, sum, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return true;
}

static struct gb_page_tier *tier_of(unsigned device, enum gb_tier tier)
{
	return &gb_account_page()->device[device].tier[tier];
}

bool gb_account_reserve(unsigned device, enum gb_tier tier, uint64_t bytes, uint64_t limit)
{
	return add_within(&tier_of(device, tier)->bytes, bytes, limit);
}

void gb_account_cancel(unsigned device, enum gb_tier tier, uint64_t bytes)
{
	__atomic_fetch_sub(&tier_of(device, tier)->bytes, bytes, __ATOMIC_RELAXED);
}

void gb_account_took(unsigned device, enum gb_tier tier)
{
	struct gb_page_tier *counter = tier_of(device, tier);

	raise_peak(counter, __atomic_load_n(&counter->bytes, __ATOMIC_RELAXED));
}

void gb_account_commit(unsigned device, enum gb_tier tier, uint64_t bytes)
{
	__atomic_fetch_add(&tier_of(device, tier)->blocks, 1, __ATOMIC_RELAXED);
	gb_account_took(device, tier);
	if (gb_tier_is_fallback(tier))
		__atomic_fetch_add(&gb_account_page()->device[device].spilled_bytes, bytes, __ATOMIC_RELAXED);
}

void gb_account_release(unsigned device, enum gb_tier tier, uint64_t bytes)
{
	struct gb_page_tier *counter = tier_of(device, tier);

	__atomic_fetch_sub(&counter->blocks, 1, __ATOMIC_RELAXED);
	__atomic_fetch_sub(&counter->bytes, bytes, __ATOMIC_RELAXED);
}

bool gb_account_reserve_host(uint64_t bytes, uint64_t limit)
{
	return add_within(&gb_account_page()->host_bytes, bytes, limit);
}

void gb_account_release_host(uint64_t bytes)
{
	__atomic_fetch_sub(&gb_account_page()->host_bytes, bytes, __ATOMIC_RELAXED);
}

/* Modulo 2^64: taking away is adding the complement. */
static void count_chunks(unsigned device, uint64_t vram_bytes, uint64_t vram_chunks, uint64_t host_chunks)
{
	struct gb_page_split *split = &gb_account_page()->split[device];

	__atomic_fetch_add(&split->vram_bytes, vram_bytes, __ATOMIC_RELAXED);
	__atomic_fetch_add(&split->vram_chunks, vram_chunks, __ATOMIC_RELAXED);
	__atomic_fetch_add(&split->host_chunks, host_chunks, __ATOMIC_RELAXED);
}

void gb_account_add_chunks(unsigned device, const struct gb_share *share)
{
	count_chunks(device, share->vram, share->vram_chunks, share->host_chunks);
}

void gb_account_remove_chunks(unsigned device, const struct gb_share *share)
{
	count_chunks(device, 0 - share->vram, UINT64_C(0) - share->vram_chunks, UINT64_C(0) - share->host_chunks);
}

static void count_moved(unsigned device, uint64_t bytes)
{
	__atomic_fetch_add(&gb_account_page()->device[device].moved_bytes, bytes, __ATOMIC_RELAXED);
}

void gb_account_moved_out(unsigned device, uint64_t bytes, uint32_t chunks)
{
	__atomic_fetch_add(&tier_of(device, GB_TIER_SPLIT)->bytes, bytes, __ATOMIC_RELAXED);
	gb_account_took(device, GB_TIER_SPLIT);
	gb_account_cancel(device, GB_TIER_DEVICE, bytes);
	count_chunks(device, 0 - bytes, UINT64_C(0) - chunks, chunks);
	count_moved(device, bytes);
}

void gb_account_moved_in(unsigned device, uint64_t reserved, uint64_t bytes, uint32_t chunks)
{
	gb_account_cancel(device, GB_TIER_DEVICE, reserved - bytes);
	gb_account_took(device, GB_TIER_DEVICE);
	gb_account_cancel(device, GB_TIER_SPLIT, bytes);
	count_chunks(device, bytes, chunks, UINT64_C(0) - chunks);
	count_moved(device, bytes);
}

void gb_account_count_refusal(unsigned device)
{
	__atomic_fetch_add(&gb_account_page()->device[device].refused, 1, __ATOMIC_RELAXED);
}

uint64_t gb_account_bytes(unsigned device, enum gb_tier tier)
{
	return __atomic_load_n(&tier_of(device, tier)->bytes, __ATOMIC_RELAXED);
}

uint64_t gb_account_host_bytes(void)
{
	return __atomic_load_n(&gb_account_page()->host_bytes, __ATOMIC_RELAXED);
}

void gb_account_after_fork(void)
{
	page_fd = -1;
	/* The page under the counters is the parent's: put memory of our own in its place before touching it. */
	if (mmap(&counters, sizeof counters, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	    MAP_FAILED)
		return;
	describe_process(gb_account_page());
}
