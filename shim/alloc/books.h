/* The steps that every allocation and release is made of, each with its undo, in the order in which they happen. */
#ifndef GB_ALLOC_BOOKS_H
#define GB_ALLOC_BOOKS_H

#include <stdbool.h>

#include "base/block.h"

/* Has block->size bytes of host memory granted, for whichever tier will take them. False, and nothing changed, where a limit
 * or the machine says no; the first refusal of a process is said aloud. */
bool gb_books_grant(const struct gb_block *block);
/* The grant came to nothing. */
void gb_books_return_grant(const struct gb_block *block);
/* Reserves block->size bytes in the accounts of its device and tier. False, and nothing changed, over the limit. */
bool gb_books_reserve(const struct gb_block *block, uint64_t device_limit);
/* The reservation came to nothing. */
void gb_books_cancel(const struct gb_block *block);
/* The memory is taken: the grant, if there is one, is settled, the block counted and entered in the ledger. False, and
 * nothing changed, if the ledger has no room: the caller gives the memory back and cancels. */
bool gb_books_enter(const struct gb_block *block);
/* The memory is given back, after its record left the ledger. */
void gb_books_close(const struct gb_block *block);
/* A record that left the ledger comes back, because its memory could not be given back. */
void gb_books_restore(const struct gb_block *block);

#endif
