/* Streams and events as objects: making, finding and ending them. What runs on them is in work.h.
 *
 * A destroyed stream's queue still runs; its memory goes when the queue is empty and nobody waits for it
 * (fk_stream_reap). Guarded by fk.lock. Errors are the documented ones. */
#ifndef FK_STREAM_H
#define FK_STREAM_H

#include "entry.h"
#include "work.h"

#define FK_PRIORITY_LEAST 0
#define FK_PRIORITY_GREATEST (-5)

/* The stream a call names: NULL, 1 and 2 are the current context's default streams, as the call's spelling has it.
 * SUCCESS means that its context is usable. */
CUresult fk_stream_of(struct fk_call *call, CUstream handle, struct fk_stream **stream);

struct fk_stream *fk_stream_new(struct fk_ctx *ctx, unsigned int flags, int priority, uint64_t thread);
void fk_stream_reap(struct fk_stream *stream);
void fk_stream_destroy_all(struct fk_ctx *ctx);
void fk_event_destroy_all(struct fk_ctx *ctx);

#endif
