/* Giving a fallback block's memory back, in the context it came from. */
#ifndef GB_ALLOC_GIVE_BACK_H
#define GB_ALLOC_GIVE_BACK_H

#include <stdbool.h>

#include "base/block.h"

/* Frees the block through its tier, and closes its books; first waits for all work of its context if `waits` (cuMemFree
 * does, so that nothing in flight loses its memory). A context that is no more has taken its work along: the block is then
 * abandoned, which is a success. On any other failure the memory is still held, and the call may be repeated. The block's
 * record has left the ledger. */
CUresult gb_give_back(struct gb_block *block, bool waits);

/* The block's context is gone: drops what the process still holds of it, and closes its books. Its record has left the
 * ledger. A block of the program's own managed memory has nothing to drop. */
void gb_give_up(struct gb_block *block);

/* Whether an answer of the driver's free means that the memory is gone, or was never there, for all its refusal. */
bool gb_free_is_final(CUresult result);

#endif
