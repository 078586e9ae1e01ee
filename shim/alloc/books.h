/* The steps that every allocation and release is made of, each with its undo, in the order in which they happen. */
#ifndef GB_ALLOC_BOOKS_H
#define GB_ALLOC_BOOKS_H

#include <stdbool.h>

#include "base/block.h"

/* Has that many bytes of host memory granted, for whichever tier will take them. False, and nothing changed, where a limit
 * or the machine says no. 0 bytes are always granted. */
bool gb_books_grant(uint64_t host_bytes);
/* A refusal is told when the program's request has failed because of it, not when another tier may still serve it: begin
 * forgets what this thread was refused, tell says the last one aloud (the first of a process; later ones at level info). */
void gb_books_begin(void);
void gb_books_tell_refusal(void);
/* The grant came to nothing. */
void gb_books_return_grant(uint64_t host_bytes);
/* The granted pages are taken, in that tier; settled ones are given back. Host memory that a block has when it is entered
 * and closed is settled and given back with it. */
void gb_books_settle(enum gb_tier tier, uint64_t host_bytes);
void gb_books_give_back(enum gb_tier tier, uint64_t host_bytes);

/* Reserves a block's bytes in the accounts of its device and tier: what lies in VRAM within the limit. False, and nothing
 * changed, over it. */
bool gb_books_reserve(const struct gb_block *block, const struct gb_share *share, uint64_t device_limit);
/* The reservation came to nothing. */
void gb_books_cancel(const struct gb_block *block, const struct gb_share *share);
/* The memory is taken: the grant is settled, the block counted and entered in the ledger. False, and nothing changed, if the
 * ledger has no room: the caller gives the memory back and cancels. */
bool gb_books_enter(const struct gb_block *block, const struct gb_share *share);
/* The memory is given back, after its record left the ledger. */
void gb_books_close(const struct gb_block *block, const struct gb_share *share);
/* A record that left the ledger comes back, because its memory could not be given back. */
void gb_books_restore(const struct gb_block *block);

#endif
