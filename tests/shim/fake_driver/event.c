/* Events: recorded in a stream, queried, waited for, timed. */
#include <stdlib.h>

#include "api.h"
#include "capture.h"
#include "pool.h"
#include "stream.h"

CUresult fk_event_create(struct fk_call *call, CUevent *handle, unsigned int flags)
{
	struct fk_event *event;

	if (!handle || (flags & ~7u) || ((flags & CU_EVENT_INTERPROCESS) && !(flags & CU_EVENT_DISABLE_TIMING)))
		return CUDA_ERROR_INVALID_VALUE;
	event = calloc(1, sizeof(*event));
	if (!event)
		return CUDA_ERROR_OUT_OF_MEMORY;
	event->ctx = call->ctx;
	event->flags = flags;
	event->next = call->ctx->events;
	if (event->next)
		event->next->previous = event;
	call->ctx->events = event;
	fk_object_add(&event->object, FK_EVENT);
	fk_hold(FK_FIGURE_events, 1);
	*handle = (CUevent)(void *)event;
	return CUDA_SUCCESS;
}

static void end_event(struct fk_event *event)
{
	if (event->previous)
		event->previous->next = event->next;
	else
		event->ctx->events = event->next;
	if (event->next)
		event->next->previous = event->previous;
	if (event->pending)
		event->pending->u.record.event = NULL;
	fk_object_drop(&event->object);
	fk_drop(FK_FIGURE_events, 1);
	free(event);
}

void fk_event_destroy_all(struct fk_ctx *ctx)
{
	while (ctx->events)
		end_event(ctx->events);
}

CUresult fk_event_destroy(CUevent handle)
{
	struct fk_event *event = fk_object_find(handle, FK_EVENT);

	if (!event)
		return CUDA_ERROR_INVALID_HANDLE;
	end_event(event);
	return CUDA_SUCCESS;
}

static CUresult submit_record(struct fk_stream *stream, struct fk_event *event)
{
	struct fk_op *op = fk_op_new(FK_OP_RECORD);
	CUresult result;

	if (!op)
		return CUDA_ERROR_OUT_OF_MEMORY;
	op->u.record.event = event;
	result = fk_submit(stream, op);
	if (result == CUDA_SUCCESS && !stream->capture) {
		if (event->pending)
			event->pending->u.record.event = NULL; /* this record replaces it */
		event->pending = op;
		event->recorded = true;
		event->capture_id = 0;
	}
	return result;
}

CUresult fk_event_record(struct fk_call *call, CUevent handle, CUstream stream_handle, unsigned int flags)
{
	struct fk_event *event = fk_object_find(handle, FK_EVENT);
	struct fk_stream *stream;
	CUresult result = fk_stream_of(call, stream_handle, &stream);

	if (result != CUDA_SUCCESS)
		return result;
	if (!event || event->ctx != stream->ctx)
		return CUDA_ERROR_INVALID_HANDLE;
	if (flags > 1)
		return CUDA_ERROR_INVALID_VALUE;
	if (stream->capture && !flags)
		return fk_capture_record(stream, event);
	return submit_record(stream, event);
}

static CUresult submit_wait(struct fk_stream *stream, struct fk_stream *other, uint64_t seq)
{
	struct fk_op *op = fk_op_new(FK_OP_WAIT);

	if (!op)
		return CUDA_ERROR_OUT_OF_MEMORY;
	op->u.wait.stream = other;
	op->u.wait.seq = seq;
	return fk_submit(stream, op);
}

/* A stream of its own that waits for what every other has queued, and then records. Destroyed from the start: it goes
 * when it has run. */
CUresult fk_event_record_context(CUcontext handle, CUevent event_handle)
{
	struct fk_event *event = fk_object_find(event_handle, FK_EVENT);
	struct fk_ctx *ctx = fk_object_find(handle, FK_CONTEXT);
	struct fk_stream *all;
	CUresult result = fk_has(FK_CAP_no_context_events) ? CUDA_ERROR_NOT_SUPPORTED : fk_usable(ctx);

	if (result != CUDA_SUCCESS)
		return result;
	if (!event || event->ctx != ctx)
		return CUDA_ERROR_INVALID_HANDLE;
	result = fk_capture_conflict(ctx, NULL);
	if (result != CUDA_SUCCESS)
		return result;
	all = fk_stream_new(ctx, CU_STREAM_NON_BLOCKING, 0, 0);
	if (!all)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (struct fk_stream *stream = all->next; stream && result == CUDA_SUCCESS; stream = stream->next)
		if (stream->head)
			result = submit_wait(all, stream, stream->tail->seq);
	if (result == CUDA_SUCCESS)
		result = submit_record(all, event);
	all->destroyed = true;
	fk_stream_reap(all);
	return result;
}

CUresult fk_stream_wait_event(struct fk_call *call, CUstream stream_handle, CUevent handle, unsigned int flags)
{
	struct fk_event *event = fk_object_find(handle, FK_EVENT);
	struct fk_stream *stream;
	CUresult result = fk_stream_of(call, stream_handle, &stream);

	if (result != CUDA_SUCCESS)
		return result;
	if (!event)
		return CUDA_ERROR_INVALID_HANDLE;
	if (flags > 1)
		return CUDA_ERROR_INVALID_VALUE;
	if (event->capture_id)
		return fk_capture_join(stream, event);
	if (stream->capture && !flags) { /* a dependency on work outside the capture */
		fk_capture_invalidate(stream->capture);
		return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
	}
	if (!event->pending)
		return CUDA_SUCCESS;
	return submit_wait(stream, event->pending->stream, event->pending->seq);
}

static CUresult find_event(CUevent handle, struct fk_event **event)
{
	*event = fk_object_find(handle, FK_EVENT);
	if (!*event)
		return CUDA_ERROR_INVALID_HANDLE;
	return (*event)->capture_id ? fk_capture_conflict_event(*event) : fk_usable((*event)->ctx);
}

CUresult fk_event_query(CUevent handle)
{
	struct fk_event *event;
	CUresult result = find_event(handle, &event);

	if (result != CUDA_SUCCESS || !event->pending)
		return result;
	return fk_query(event->pending->stream, event->pending);
}

CUresult fk_event_synchronize(CUevent handle)
{
	struct fk_event *event;
	struct fk_ctx *ctx;
	CUresult result = find_event(handle, &event);

	if (result != CUDA_SUCCESS)
		return result;
	ctx = event->ctx;
	if (event->pending)
		fk_run(event->pending->stream, event->pending->seq);
	fk_pool_synchronised();
	return fk_usable(ctx);
}

CUresult fk_event_elapsed(float *milliseconds, CUevent start_handle, CUevent end_handle)
{
	struct fk_event *start, *end;
	CUresult result = find_event(start_handle, &start);

	if (result == CUDA_SUCCESS)
		result = find_event(end_handle, &end);
	if (result != CUDA_SUCCESS)
		return result;
	if (!milliseconds)
		return CUDA_ERROR_INVALID_VALUE;
	if (!start->recorded || !end->recorded || start->ctx != end->ctx ||
	    ((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING))
		return CUDA_ERROR_INVALID_HANDLE;
	if (start->pending || end->pending)
		return CUDA_ERROR_NOT_READY;
	*milliseconds = (float)((double)end->time_ns / 1e6 - (double)start->time_ns / 1e6);
	return CUDA_SUCCESS;
}
