/* Work on streams: submitted, kept in order, and really done when somebody asks whether it is done.
 *
 * There is no worker thread. An operation is queued on its stream when submitted and runs when a query has asked for
 * it FAKECUDA_DEFER times before, or when a synchronising call needs it. The order within a stream is the order of
 * submission; across streams it is what events and the legacy stream demand, and nothing more, so that work that
 * forgot to wait is found out. If by the time it runs its memory is gone or is somebody else's, that is a violation:
 * the report says so and the context answers CUDA_ERROR_ILLEGAL_ADDRESS from then on.
 * Ownership: fk_submit takes the operation whatever it answers. Guarded by fk.lock, which is let go only while a host
 * function runs. */
#ifndef FK_WORK_H
#define FK_WORK_H

#include "state.h"

struct fk_event {
	struct fk_object object;
	struct fk_ctx *ctx;
	struct fk_event *previous, *next; /* in the context's list */
	unsigned int flags;
	bool recorded;
	struct fk_op *pending; /* its latest record, while queued */
	uint64_t time_ns;
	uint64_t capture_id; /* recorded last inside this capture; 0: outside any */
	CUgraphNode capture_node;
};

struct fk_stream {
	struct fk_object object;
	struct fk_ctx *ctx;
	struct fk_stream *previous, *next; /* in the context's list */
	unsigned int flags;
	int priority;
	uint64_t id, thread; /* thread: of a per-thread default stream */
	struct fk_op *head, *tail;
	bool running, destroyed;
	unsigned int waiters; /* operations elsewhere that wait for this stream */
	struct fk_capture *capture;
	CUgraphNode *dependencies; /* of the next captured operation */
	size_t dependency_count;
};

enum fk_op_kind {
	FK_OP_COPY,
	FK_OP_SET,
	FK_OP_HOST,
	FK_OP_CALLBACK,
	FK_OP_RECORD,
	FK_OP_WAIT,
	FK_OP_EMPTY,
	FK_OP_POOL_FREE,
	FK_OP_GRAPH_ALLOC,
	FK_OP_GRAPH_FREE
};

struct fk_side {
	uint64_t address, identity; /* identity 0: not checked (pageable host memory, or known only when it runs) */
	uint64_t pitch, slice;     /* bytes from row to row, and from plane to plane */
	bool pageable;
};

struct fk_op {
	struct fk_op *next;
	struct fk_stream *stream;
	uint64_t seq;
	unsigned int patience; /* NOT_READY answers still to give */
	enum fk_op_kind kind;
	union {
		struct {
			struct fk_side to, from;
			uint64_t width, height, depth;
			unsigned char *staged;
		} copy;
		struct {
			struct fk_side to;
			uint64_t width, height;
			unsigned int value, element;
		} set;
		struct {
			CUhostFn function;
			CUstreamCallback callback;
			void *data;
			CUstream stream;
		} host;
		struct {
			struct fk_event *event;
		} record;
		struct {
			struct fk_stream *stream;
			uint64_t seq;
		} wait;
		struct {
			uint64_t address, id;
		} memory;
	} u;
};

struct fk_op *fk_op_new(enum fk_op_kind kind); /* NULL: no memory */
void fk_op_free(struct fk_op *op);

/* Queues it, or adds it to the graph that the stream captures. */
CUresult fk_submit(struct fk_stream *stream, struct fk_op *op);

void fk_run(struct fk_stream *stream, uint64_t seq); /* everything up to seq, and all that it waits for */
void fk_run_context(struct fk_ctx *ctx);
void fk_run_device(int device);
CUresult fk_query(struct fk_stream *stream,
		  const struct fk_op *until); /* SUCCESS or NOT_READY, or the context's error */

void fk_violation(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The bodies of the operations (execute.c). */
void fk_execute(struct fk_op *op);

#endif
