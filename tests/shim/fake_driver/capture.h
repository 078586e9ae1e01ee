/* Stream capture: which streams are in one, what they record, and what a capture forbids everybody else.
 *
 * The rules are those of cuStreamBeginCapture, cuThreadExchangeStreamCaptureMode and the programming guide's
 * "prohibited and unhandled operations". What breaks them invalidates the capture: every later call on it answers 901
 * until it is ended, and ending it answers 901 with a NULL graph. A captured graph is replayed in the order of
 * capture. Guarded by fk.lock. */
#ifndef FK_CAPTURE_H
#define FK_CAPTURE_H

#include "work.h"

struct fk_capture {
	struct fk_capture *next;
	uint64_t id, thread;
	struct fk_graph *graph;
	struct fk_stream *origin;
	int mode, status;
	bool own_graph; /* made for this capture, not given to it */
};

CUresult fk_capture_forbids(void);      /* a potentially unsafe call by this thread: 900 */
CUresult fk_capture_admits(struct fk_stream *stream);    /* work on this stream: 901, 906 */
CUresult fk_capture_take(struct fk_stream *stream, struct fk_op *op); /* the operation becomes a node */
CUresult fk_capture_conflict(struct fk_ctx *ctx, struct fk_stream *stream); /* waiting for it, or for all of ctx: 900 */
CUresult fk_capture_conflict_event(struct fk_event *event); /* waiting for a captured event: 907 */
CUresult fk_capture_record(struct fk_stream *stream, struct fk_event *event);
CUresult fk_capture_join(struct fk_stream *stream, struct fk_event *event);
void fk_capture_invalidate(struct fk_capture *capture);
void fk_capture_abandon(struct fk_stream *stream); /* the stream is being destroyed */
void fk_capture_end_all(struct fk_ctx *ctx);

#endif
