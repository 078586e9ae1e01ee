/* Which address is which block: every live allocation made through the shim.
 *
 * Two structures behind one face. Blocks that the driver knows for what they are (VRAM, the program's own managed memory)
 * are only ever looked up by their first byte: a hash table. Fallback blocks are also asked for by an address inside
 * them: an ordered tree. Cost does not grow with the number of blocks (hash), or with its logarithm (tree).
 *
 * Blocks are copied in and out. Every function may be called from any thread; none calls out while it holds a lock.
 * Lock ranks: a shard's lock and the tree's lock are leaves, never held together. */
#ifndef GB_LEDGER_LEDGER_H
#define GB_LEDGER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/block.h"

/* Enters a copy of *block with the present epoch. 0, or -ENOMEM with nothing changed. A block that is already there at the
 * same base is stale (its context was destroyed behind our back): it is replaced, and copied to *stale with
 * stale->epoch != 0; otherwise stale->epoch is 0. */
int gb_ledger_insert(const struct gb_block *block, struct gb_block *stale);

/* Takes out the block that begins at `base`. False, and *block untouched, if there is none.
 * The record leaves before the memory is freed: once it is freed, the driver may hand the same address to another
 * thread, whose insertion must not meet the old record. */
bool gb_ledger_remove(CUdeviceptr base, struct gb_block *block);

/* Copies the fallback block that contains `address`. False, and *block untouched, if there is none. */
bool gb_ledger_find_fallback(CUdeviceptr address, struct gb_block *block);

typedef bool (*gb_ledger_predicate)(const struct gb_block *block, const void *context);

/* Takes out every block that `wanted` says yes to, and returns how many; they are in *blocks, which the caller frees.
 * Walks everything: for the end of a context. -ENOMEM with nothing taken out. */
long gb_ledger_take_if(gb_ledger_predicate wanted, const void *context, struct gb_block **blocks);

/* Ends an epoch, and returns it: what is inserted from now on has a later one. */
uint64_t gb_ledger_end_epoch(void);

size_t gb_ledger_count(void);

/* Whether every invariant holds: for tests and debug builds; walks everything. */
bool gb_ledger_is_valid(void);

/* In a forked child: forget everything, including locks another thread of the parent held. */
void gb_ledger_after_fork(void);

#endif
