/* Fallback blocks in the order of their addresses: a treap under one lock. Logarithmic; 64 bytes a block.
 * Same contract as ledger.h. Blocks do not overlap. */
#ifndef GB_LEDGER_TREE_H
#define GB_LEDGER_TREE_H

#include "ledger/ledger.h"

int gb_tree_insert(const struct gb_block *block, struct gb_block *stale);
bool gb_tree_remove(CUdeviceptr base, struct gb_block *block);
bool gb_tree_find(CUdeviceptr address, struct gb_block *block);
size_t gb_tree_take_if(gb_ledger_predicate wanted, const void *context, struct gb_block *into, size_t room);
/* No lock: a hint for callers with nothing to lose, exact once they have a happens-before with the insertion. */
size_t gb_tree_count(void);
bool gb_tree_is_valid(void);
void gb_tree_after_fork(void);

#endif
