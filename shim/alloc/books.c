#include "alloc/books.h"

#include <stdatomic.h>

#include "alloc/devices.h"
#include "base/log.h"
#include "ledger/account.h"
#include "ledger/ledger.h"
#include "lease/lease.h"
#include "tier/tier.h"

/* One refusal tells the user; a program that tries sizes until one fits need not tell of each. */
static enum gb_log_level refusal_level(void)
{
	static _Atomic bool said;

	return atomic_exchange(&said, true) ? GB_LOG_INFO : GB_LOG_WARN;
}

static __thread struct {
	uint64_t bytes; /* 0: nothing was refused */
	struct gb_lease_refusal lease;
	bool over_limit;
} refusal;

void gb_books_begin(void)
{
	refusal.bytes = 0;
}

/* The reason, and what to do about it. */
static const char *advice(const struct gb_lease_refusal *lease)
{
	if (!lease->by_daemon)
		return "close something or lower GREENBOOST_HOST_RESERVE";
	switch (lease->verdict) {
	case GB_VERDICT_PRESSURE:
		return "memory is critically short; close something (greenboost status names who holds it)";
	case GB_VERDICT_PROCESS_CAP:
		return "more than one process may have; the daemon's configuration says how much (lease.per_process)";
	case GB_VERDICT_USER_CAP:
		return "more than one user may have; end another program of yours, or raise lease.per_user in the daemon's configuration";
	case GB_VERDICT_CGROUP:
		return "this program's memory cgroup has no room; raise its limit";
	default:
		return "close something, or lower GREENBOOST_HOST_RESERVE or lease.reserve in the daemon's configuration";
	}
}

void gb_books_tell_refusal(void)
{
	unsigned long long bytes = refusal.bytes, budget = refusal.lease.budget_bytes;

	if (!bytes)
		return;
	if (refusal.over_limit)
		gb_log(refusal_level(), "admission", "refused %llu bytes of host memory: over GREENBOOST_HOST_LIMIT",
		       bytes);
	else
		gb_log(refusal_level(), "admission", "refused %llu bytes of host memory: %s can spare %llu; %s", bytes,
		       refusal.lease.by_daemon ? "the daemon" : "the machine", budget, advice(&refusal.lease));
}

bool gb_books_grant(uint64_t host_bytes)
{
	if (!host_bytes)
		return true;
	refusal.over_limit = !gb_account_reserve_host(host_bytes, gb_host_limit());
	if (!refusal.over_limit) {
		if (gb_lease_acquire(host_bytes, &refusal.lease))
			return true;
		gb_account_release_host(host_bytes);
	}
	refusal.bytes = host_bytes;
	return false;
}

void gb_books_return_grant(uint64_t host_bytes)
{
	if (!host_bytes)
		return;
	gb_account_release_host(host_bytes);
	gb_lease_return(host_bytes);
}

/* The pages of the split tier are the driver's. */
static uint64_t uncharged(enum gb_tier tier, uint64_t host_bytes)
{
	return tier == GB_TIER_SPLIT ? host_bytes : 0;
}

void gb_books_settle(enum gb_tier tier, uint64_t host_bytes)
{
	if (host_bytes)
		gb_lease_settle(host_bytes, uncharged(tier, host_bytes));
}

void gb_books_give_back(enum gb_tier tier, uint64_t host_bytes)
{
	if (!host_bytes)
		return;
	gb_account_release_host(host_bytes);
	gb_lease_release(host_bytes, uncharged(tier, host_bytes));
}

/* The counter of a block's own tier: of a split block, its host memory. */
static uint64_t own_bytes(const struct gb_block *block, const struct gb_share *share)
{
	return block->tier == GB_TIER_SPLIT ? share->host : block->size;
}

/* What a split block has in VRAM counts there. */
static uint64_t vram_beside(const struct gb_block *block, const struct gb_share *share)
{
	return block->tier == GB_TIER_SPLIT ? share->vram : 0;
}

bool gb_books_reserve(const struct gb_block *block, const struct gb_share *share, uint64_t device_limit)
{
	uint64_t limit = block->tier == GB_TIER_DEVICE ? device_limit : UINT64_MAX;
	uint64_t vram = vram_beside(block, share);

	if (vram && !gb_account_reserve(block->device, GB_TIER_DEVICE, vram, device_limit))
		return false;
	if (gb_account_reserve(block->device, (enum gb_tier)block->tier, own_bytes(block, share), limit))
		return true;
	if (vram)
		gb_account_cancel(block->device, GB_TIER_DEVICE, vram);
	return false;
}

void gb_books_cancel(const struct gb_block *block, const struct gb_share *share)
{
	gb_account_cancel(block->device, (enum gb_tier)block->tier, own_bytes(block, share));
	if (vram_beside(block, share))
		gb_account_cancel(block->device, GB_TIER_DEVICE, vram_beside(block, share));
}

/* A block whose context was destroyed behind our back, replaced in the ledger by what now lies at its address. */
static void close_stale(const struct gb_block *stale)
{
	if (!stale->epoch)
		return;
	struct gb_block gone = *stale;
	const struct gb_tier_ops *tier = gb_tier((enum gb_tier)gone.tier);
	struct gb_share share = tier ? tier->share(&gone) : (struct gb_share){0};
	/* Of a split block the addresses would still be reserved, so its like cannot be met here. */
	gb_books_close(&gone, &share);
}

bool gb_books_enter(const struct gb_block *block, const struct gb_share *share)
{
	struct gb_block stale;

	if (gb_ledger_insert(block, &stale))
		return false;
	close_stale(&stale);
	gb_books_settle((enum gb_tier)block->tier, share->host);
	gb_account_commit(block->device, (enum gb_tier)block->tier, own_bytes(block, share));
	if (block->tier == GB_TIER_SPLIT) {
		gb_account_took(block->device, GB_TIER_DEVICE);
		gb_account_add_chunks(block->device, share);
	}
	return true;
}

void gb_books_close(const struct gb_block *block, const struct gb_share *share)
{
	gb_account_release(block->device, (enum gb_tier)block->tier, own_bytes(block, share));
	if (block->tier == GB_TIER_SPLIT) {
		gb_account_cancel(block->device, GB_TIER_DEVICE, share->vram);
		gb_account_remove_chunks(block->device, share);
	}
	gb_books_give_back((enum gb_tier)block->tier, share->host);
}

void gb_books_restore(const struct gb_block *block)
{
	struct gb_block stale;

	/* Without room for the record the memory stays held and counted, but unknown: a free of it will fail. */
	if (gb_ledger_insert(block, &stale))
		gb_log(GB_LOG_ERROR, "ledger", "lost track of %llu bytes: out of memory",
		       (unsigned long long)block->size);
	else
		close_stale(&stale);
}
