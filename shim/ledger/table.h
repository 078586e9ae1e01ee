/* Blocks by their first byte: 64 shards, each an open-addressed table under its own lock.
 *
 * Linear probing, kept at most 3/4 full; removal shifts the run back, so there are no tombstones and a table's speed does
 * not depend on its history. 40 bytes a slot. Same contract as ledger.h. */
#ifndef GB_LEDGER_TABLE_H
#define GB_LEDGER_TABLE_H

#include "ledger/ledger.h"

int gb_table_insert(const struct gb_block *block, struct gb_block *stale);
bool gb_table_remove(CUdeviceptr base, struct gb_block *block);
/* Moves blocks that `wanted` says yes to into into[0..room); returns how many. */
size_t gb_table_take_if(gb_ledger_predicate wanted, const void *context, struct gb_block *into, size_t room);
size_t gb_table_count(void);
bool gb_table_is_valid(void);
void gb_table_after_fork(void);

#endif
