/* Fallback blocks that the program has freed and that may still be in use: each waits for its moment.
 *
 * After a stream: cuMemFreeAsync orders the free behind what its stream was given before; an event recorded there says
 * when. After captures: a free that would have to synchronise waits until no stream is being captured.
 * The blocks are out of the ledger; their bytes stay on the books until they are given back. They are given back at the next
 * safe point: a call that synchronises, an allocation that overflows, the end of a capture. No thread of our own.
 *
 * Any thread. The lock guards the list only and is not held across a driver call. */
#ifndef GB_ALLOC_DEFERRED_H
#define GB_ALLOC_DEFERRED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/block.h"

/* Takes over the block; it will be given back when `stream` has done what it was given so far. On failure the block is
 * still the caller's. */
CUresult gb_deferred_after_stream(const struct gb_block *block, CUstream stream);

/* Takes over the block; it will be given back when no stream is being captured. CUDA_ERROR_OUT_OF_MEMORY if there is no
 * room to remember it. */
CUresult gb_deferred_after_captures(const struct gb_block *block);

/* Gives back what can be. With `waits`, waits for streams that are not done (not while capturing). Returns the bytes. Free
 * of cost when nothing is deferred. */
uint64_t gb_deferred_reap(bool waits);

/* The context is gone: abandons its blocks. */
void gb_deferred_abandon(CUcontext context);

void gb_deferred_after_fork(void);

#endif
