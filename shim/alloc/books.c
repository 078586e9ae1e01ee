#include "alloc/books.h"

#include <stdatomic.h>

#include "alloc/devices.h"
#include "base/log.h"
#include "ledger/account.h"
#include "ledger/ledger.h"
#include "lease/local.h"

/* One refusal tells the user; a program that tries sizes until one fits need not tell of each. */
static enum gb_log_level refusal_level(void)
{
	static _Atomic bool said;

	return atomic_exchange(&said, true) ? GB_LOG_INFO : GB_LOG_WARN;
}

bool gb_books_grant(const struct gb_block *block)
{
	unsigned long long size = block->size;
	uint64_t budget = 0;

	if (!gb_account_reserve_host(block->size, gb_host_limit())) {
		gb_log(refusal_level(), "admission", "refused %llu bytes of host memory: over GREENBOOST_HOST_LIMIT",
		       size);
		return false;
	}
	if (gb_local_acquire(block->size, &budget))
		return true;
	gb_account_release_host(block->size);
	gb_log(refusal_level(), "admission",
	       "refused %llu bytes of host memory: the machine can spare %llu; close something or lower GREENBOOST_HOST_RESERVE",
	       size, (unsigned long long)budget);
	return false;
}

void gb_books_return_grant(const struct gb_block *block)
{
	gb_local_settle(block->size);
	gb_account_release_host(block->size);
}

bool gb_books_reserve(const struct gb_block *block, uint64_t device_limit)
{
	uint64_t limit = block->tier == GB_TIER_DEVICE ? device_limit : UINT64_MAX;

	return gb_account_reserve(block->device, (enum gb_tier)block->tier, block->size, limit);
}

void gb_books_cancel(const struct gb_block *block)
{
	gb_account_cancel(block->device, (enum gb_tier)block->tier, block->size);
}

static void close_stale(const struct gb_block *stale)
{
	if (stale->epoch)
		gb_books_close(stale);
}

bool gb_books_enter(const struct gb_block *block)
{
	struct gb_block stale;

	if (gb_ledger_insert(block, &stale))
		return false;
	close_stale(&stale);
	if (gb_block_is_fallback(block))
		gb_local_settle(block->size);
	gb_account_commit(block->device, (enum gb_tier)block->tier, block->size);
	return true;
}

void gb_books_close(const struct gb_block *block)
{
	gb_account_release(block->device, (enum gb_tier)block->tier, block->size);
	if (gb_block_is_fallback(block))
		gb_account_release_host(block->size);
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
