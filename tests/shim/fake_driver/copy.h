/* Copies and memsets: from a call's arguments to an operation on a stream.
 *
 * Addresses are checked when the call is made (the documented errors) and again when the work runs (violations).
 * Guarded by fk.lock. */
#ifndef FK_COPY_H
#define FK_COPY_H

#include "block.h"
#include "entry.h"
#include "work.h"

/* Checks one side. host: an address that is no block is pageable memory, not an error. */
CUresult fk_copy_side(struct fk_side *side, uint64_t size, int device, enum fk_use use, bool host);

/* Submits a checked copy, and waits for it where the call's kind demands that. Takes the operation. */
CUresult fk_copy_submit(struct fk_stream *stream, struct fk_op *op, bool asynchronous);

#endif
