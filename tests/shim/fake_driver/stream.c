#include "stream.h"

#include <stdlib.h>

#include "api.h"
#include "capture.h"
#include "device.h"
#include "pool.h"

struct fk_stream *fk_stream_new(struct fk_ctx *ctx, unsigned int flags, int priority, uint64_t thread)
{
	struct fk_stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	stream->ctx = ctx;
	stream->flags = flags;
	stream->priority = priority;
	stream->thread = thread;
	stream->id = ++fk.last_id;
	stream->next = ctx->streams;
	if (ctx->streams)
		ctx->streams->previous = stream;
	ctx->streams = stream;
	return stream;
}

void fk_stream_reap(struct fk_stream *stream)
{
	if (!stream->destroyed || stream->head || stream->waiters)
		return;
	if (stream->previous)
		stream->previous->next = stream->next;
	else
		stream->ctx->streams = stream->next;
	if (stream->next)
		stream->next->previous = stream->previous;
	free(stream->dependencies);
	free(stream);
}

static void end_stream(struct fk_stream *stream)
{
	if (stream->object.type == FK_STREAM) { /* not one of the default streams, which have no handle of their own */
		fk_object_drop(&stream->object);
		fk_drop(FK_FIGURE_streams, 1);
	}
	stream->destroyed = true;
	fk_stream_reap(stream);
}

void fk_stream_destroy_all(struct fk_ctx *ctx)
{
	struct fk_stream *stream = ctx->streams, *next;

	for (; stream; stream = next) {
		next = stream->next;
		if (!stream->destroyed)
			end_stream(stream);
	}
	ctx->legacy = NULL;
}

static struct fk_stream *thread_stream(struct fk_ctx *ctx)
{
	uint64_t thread = fk_thread_number();

	for (struct fk_stream *stream = ctx->streams; stream; stream = stream->next)
		if (stream->thread == thread && !stream->destroyed)
			return stream;
	return fk_stream_new(ctx, 0, 0, thread);
}

CUresult fk_stream_of(struct fk_call *call, CUstream handle, struct fk_stream **stream)
{
	CUresult result;

	if (!handle)
		handle = call->per_thread ? CU_STREAM_PER_THREAD : CU_STREAM_LEGACY;
	if (handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD) {
		result = fk_usable(call->ctx);
		if (result != CUDA_SUCCESS)
			return result;
		*stream = handle == CU_STREAM_LEGACY ? call->ctx->legacy : thread_stream(call->ctx);
		return *stream ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
	}
	*stream = fk_object_find(handle, FK_STREAM);
	return *stream ? fk_usable((*stream)->ctx) : CUDA_ERROR_INVALID_HANDLE;
}

CUresult fk_stream_create(struct fk_call *call, CUstream *handle, unsigned int flags, int priority)
{
	struct fk_stream *stream;

	if (!handle || (flags & ~(unsigned int)CU_STREAM_NON_BLOCKING))
		return CUDA_ERROR_INVALID_VALUE;
	priority = priority > FK_PRIORITY_LEAST ? FK_PRIORITY_LEAST : priority;
	priority = priority < FK_PRIORITY_GREATEST ? FK_PRIORITY_GREATEST : priority;
	stream = fk_stream_new(call->ctx, flags, priority, 0);
	if (!stream)
		return CUDA_ERROR_OUT_OF_MEMORY;
	fk_object_add(&stream->object, FK_STREAM);
	fk_hold(FK_FIGURE_streams, 1);
	*handle = (CUstream)(void *)stream;
	return CUDA_SUCCESS;
}

CUresult fk_stream_destroy(CUstream handle)
{
	struct fk_stream *stream = fk_object_find(handle, FK_STREAM);

	if (!stream)
		return CUDA_ERROR_INVALID_HANDLE;
	fk_capture_abandon(stream);
	end_stream(stream);
	return CUDA_SUCCESS;
}

CUresult fk_stream_query(struct fk_call *call, CUstream handle)
{
	struct fk_stream *stream;
	CUresult result = fk_stream_of(call, handle, &stream);

	if (result == CUDA_SUCCESS)
		result = fk_capture_conflict(stream->ctx, stream);
	return result == CUDA_SUCCESS ? fk_query(stream, stream->tail) : result;
}

CUresult fk_stream_synchronize(struct fk_call *call, CUstream handle)
{
	struct fk_stream *stream;
	struct fk_ctx *ctx;
	CUresult result = fk_stream_of(call, handle, &stream);

	if (result == CUDA_SUCCESS)
		result = fk_capture_conflict(stream->ctx, stream);
	if (result != CUDA_SUCCESS)
		return result;
	ctx = stream->ctx;
	if (stream == ctx->legacy) { /* it waits for every blocking stream, and so does whoever waits for it */
		struct fk_op *op = fk_op_new(FK_OP_EMPTY);

		result = fk_submit(stream, op);
		if (result != CUDA_SUCCESS)
			return result;
	}
	fk_run(stream, fk.last_seq);
	fk_pool_synchronised();
	return fk_usable(ctx);
}

CUresult fk_stream_add_host(struct fk_call *call, CUstream handle, CUhostFn function, CUstreamCallback callback,
			    void *data)
{
	struct fk_stream *stream;
	struct fk_op *op;
	CUresult result = fk_stream_of(call, handle, &stream);

	if (result != CUDA_SUCCESS)
		return result;
	if (!function && !callback)
		return CUDA_ERROR_INVALID_VALUE;
	if (callback && stream->capture) { /* documented: callbacks are not supported in a capture */
		fk_capture_invalidate(stream->capture);
		return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	}
	op = fk_op_new(function ? FK_OP_HOST : FK_OP_CALLBACK);
	if (!op)
		return CUDA_ERROR_OUT_OF_MEMORY;
	op->u.host.function = function;
	op->u.host.callback = callback;
	op->u.host.data = data;
	op->u.host.stream = handle;
	return fk_submit(stream, op);
}

CUresult fk_stream_ask(struct fk_call *call, CUstream handle, enum fk_stream_question question, void *answer)
{
	struct fk_stream *stream;
	CUresult result = fk_stream_of(call, handle, &stream);

	if (result != CUDA_SUCCESS)
		return result;
	if (!answer)
		return CUDA_ERROR_INVALID_VALUE;
	switch (question) {
	case FK_STREAM_PRIORITY:
		*(int *)answer = stream->priority;
		break;
	case FK_STREAM_FLAGS:
		*(unsigned int *)answer = stream->flags;
		break;
	case FK_STREAM_ID:
		*(unsigned long long *)answer = stream->id;
		break;
	case FK_STREAM_CTX:
		*(CUcontext *)answer = fk_ctx_handle(stream->ctx);
		break;
	case FK_STREAM_DEVICE:
		*(CUdevice *)answer = stream->ctx->device;
		break;
	}
	return CUDA_SUCCESS;
}

CUresult fk_stream_ctx_v2(struct fk_call *call, CUstream handle, CUcontext *ctx, CUgreenCtx *green)
{
	CUresult result = fk_stream_ask(call, handle, FK_STREAM_CTX, ctx);

	if (result == CUDA_SUCCESS && green)
		*green = NULL;
	return result;
}
