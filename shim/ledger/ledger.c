#include "ledger/ledger.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "ledger/table.h"
#include "ledger/tree.h"

static _Atomic uint64_t epoch = 1;

int gb_ledger_insert(const struct gb_block *block, struct gb_block *stale)
{
	struct gb_block entered = *block;

	entered.epoch = atomic_load_explicit(&epoch, memory_order_relaxed);
	return gb_block_is_fallback(block) ? gb_tree_insert(&entered, stale) : gb_table_insert(&entered, stale);
}

bool gb_ledger_remove(CUdeviceptr base, struct gb_block *block)
{
	/* The table first: most blocks are there, and then it makes no difference to them that fallback blocks exist. The
	 * thread that frees a block has heard of its address from the thread that inserted it, so it sees the count that
	 * includes it. */
	return gb_table_remove(base, block) || (gb_tree_count() && gb_tree_remove(base, block));
}

bool gb_ledger_find_fallback(CUdeviceptr address, struct gb_block *block)
{
	return gb_tree_count() && gb_tree_find(address, block);
}

long gb_ledger_take_if(gb_ledger_predicate wanted, const void *context, struct gb_block **blocks)
{
	/* Room for all there is now. What other threads add meanwhile belongs to other contexts. */
	size_t room = gb_ledger_count();
	struct gb_block *taken = NULL;

	if (room) {
		taken = malloc(room * sizeof *taken);
		if (!taken)
			return -ENOMEM;
	}
	size_t count = gb_table_take_if(wanted, context, taken, room);
	count += gb_tree_take_if(wanted, context, taken + count, room - count);
	*blocks = taken;
	return (long)count;
}

uint64_t gb_ledger_end_epoch(void)
{
	return atomic_fetch_add_explicit(&epoch, 1, memory_order_relaxed);
}

size_t gb_ledger_count(void)
{
	return gb_table_count() + gb_tree_count();
}

bool gb_ledger_is_valid(void)
{
	return gb_table_is_valid() && gb_tree_is_valid();
}

void gb_ledger_after_fork(void)
{
	gb_table_after_fork();
	gb_tree_after_fork();
}
