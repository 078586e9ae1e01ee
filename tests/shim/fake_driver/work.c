#include "work.h"

#include <stdlib.h>

#include "capture.h"
#include "pool.h"
#include "stream.h"

struct fk_op *fk_op_new(enum fk_op_kind kind)
{
	struct fk_op *op = calloc(1, sizeof(*op));

	if (op)
		op->kind = kind;
	return op;
}

void fk_op_free(struct fk_op *op)
{
	if (op->kind == FK_OP_COPY)
		free(op->u.copy.staged);
	free(op);
}

CUresult fk_submit(struct fk_stream *stream, struct fk_op *op)
{
	CUresult result;

	if (!op)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = fk_capture_admits(stream);
	if (result != CUDA_SUCCESS || stream->capture) {
		if (result == CUDA_SUCCESS)
			return fk_capture_take(stream, op);
		fk_op_free(op);
		return result;
	}
	op->stream = stream;
	op->seq = ++fk.last_seq;
	op->patience = fk_config.defer;
	op->next = NULL;
	if (stream->tail)
		stream->tail->next = op;
	else
		stream->head = op;
	stream->tail = op;
	if (op->kind == FK_OP_WAIT)
		op->u.wait.stream->waiters++;
	return CUDA_SUCCESS;
}

struct target {
	struct fk_stream *stream;
	uint64_t seq;
};

/* A stack on the heap: legacy-stream work and other work can wait for each other to any depth. */
struct plan {
	struct target *targets;
	size_t depth, room;
};

static void plan_push(struct plan *plan, struct fk_stream *stream, uint64_t seq)
{
	if (plan->depth == plan->room) {
		size_t room = plan->room ? 2 * plan->room : 16;
		struct target *targets = realloc(plan->targets, room * sizeof(*targets));

		if (!targets)
			abort(); /* a test double without memory has nothing true left to say */
		plan->targets = targets;
		plan->room = room;
	}
	stream->waiters++;
	plan->targets[plan->depth++] = (struct target){stream, seq};
}

static bool has_work_before(const struct fk_stream *stream, uint64_t seq)
{
	return stream->head && stream->head->seq < seq;
}

/* Pushes one stream that must go first, if there is one. Every push names a smaller seq, so this ends. */
static bool push_dependency(struct plan *plan, const struct fk_op *op)
{
	struct fk_stream *stream = op->stream;
	struct fk_ctx *ctx = stream->ctx;

	if (op->kind == FK_OP_WAIT && op->u.wait.stream->head && op->u.wait.stream->head->seq <= op->u.wait.seq) {
		plan_push(plan, op->u.wait.stream, op->u.wait.seq);
		return true;
	}
	if (stream->flags & CU_STREAM_NON_BLOCKING)
		return false;
	if (stream != ctx->legacy) {
		if (!ctx->legacy || !has_work_before(ctx->legacy, op->seq))
			return false;
		plan_push(plan, ctx->legacy, op->seq - 1);
		return true;
	}
	for (struct fk_stream *other = ctx->streams; other; other = other->next) {
		if (other == stream || (other->flags & CU_STREAM_NON_BLOCKING) || !has_work_before(other, op->seq))
			continue;
		plan_push(plan, other, op->seq - 1);
		return true;
	}
	return false;
}

static void run_head(struct fk_stream *stream)
{
	struct fk_op *op = stream->head;

	stream->running = true;
	fk_execute(op);
	stream->running = false;
	stream->head = op->next;
	if (!stream->head)
		stream->tail = NULL;
	if (op->kind == FK_OP_WAIT) {
		op->u.wait.stream->waiters--;
		fk_stream_reap(op->u.wait.stream);
	}
	fk_op_free(op);
	pthread_cond_broadcast(&fk.changed);
}

void fk_run(struct fk_stream *stream, uint64_t seq)
{
	struct plan plan = {0};

	plan_push(&plan, stream, seq);
	while (plan.depth) {
		struct target target = plan.targets[plan.depth - 1];
		struct fk_op *head = target.stream->head;

		if (!head || head->seq > target.seq) {
			plan.depth--;
			target.stream->waiters--;
			fk_stream_reap(target.stream);
		} else if (target.stream->running) {
			pthread_cond_wait(&fk.changed, &fk.lock); /* another thread is inside its host function */
		} else if (!push_dependency(&plan, head)) {
			run_head(target.stream);
		}
	}
	free(plan.targets);
}

void fk_run_context(struct fk_ctx *ctx)
{
	uint64_t until = fk.last_seq;
	struct fk_stream *stream = ctx->streams;

	while (stream) { /* from the start again after each: running may let go of the lock and streams may be reaped */
		if (stream->head && stream->head->seq <= until) {
			fk_run(stream, until);
			stream = ctx->streams;
		} else {
			stream = stream->next;
		}
	}
	fk_pool_synchronised();
}

void fk_run_device(int device)
{
	struct fk_node *node = fk_tree_ceiling(&fk.objects, 0, 0);

	while (node) {
		struct fk_object *object = FK_CONTAINER(node, struct fk_object, node);
		struct fk_ctx *ctx = (struct fk_ctx *)(void *)object;
		uint64_t next = node->key + 1;

		if (object->type == FK_CONTEXT && ctx->device == device && ctx->alive)
			fk_run_context(ctx);
		node = fk_tree_ceiling(&fk.objects, next, 0);
	}
}

CUresult fk_query(struct fk_stream *stream, const struct fk_op *until)
{
	struct fk_ctx *ctx = stream->ctx; /* a destroyed stream goes when its last operation has run */

	if (until && stream->head) {
		struct fk_op *op = stream->head;

		while (op && op != until)
			op = op->next;
		if (op && op->patience > 0) {
			op->patience--;
			return CUDA_ERROR_NOT_READY;
		}
		if (op)
			fk_run(stream, op->seq);
	}
	return ctx->sticky;
}
