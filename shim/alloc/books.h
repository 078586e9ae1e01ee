/* The steps that every allocation and release is made of, each with its undo, in the order in which they happen. */
#ifndef GB_ALLOC_BOOKS_H
#define GB_ALLOC_BOOKS_H

#include <stdbool.h>

#include "base/block.h"

/* Reserves block->size bytes in the accounts of its device and tier, and for a tier in host memory has them granted.
 * False, and nothing changed, where a limit or the machine says no. */
bool gb_books_reserve(const struct gb_block *block, uint64_t device_limit);
/* The reservation came to nothing. */
void gb_books_cancel(const struct gb_block *block);
/* The memory is taken: the grant is settled, the block counted and entered in the ledger. False if the ledger has no room;
 * the caller gives the memory back and cancels. */
bool gb_books_enter(const struct gb_block *block);
/* The memory is given back, after its record left the ledger. */
void gb_books_close(const struct gb_block *block);
/* A record that left the ledger comes back, because its memory could not be given back. */
void gb_books_restore(const struct gb_block *block);

#endif
