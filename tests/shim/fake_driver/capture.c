#include "capture.h"

#include <stdlib.h>

#include "api.h"
#include "graph.h"
#include "stream.h"

void fk_capture_invalidate(struct fk_capture *capture)
{
	capture->status = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
}

CUresult fk_capture_forbids(void)
{
	uint64_t me = fk_thread_number();
	int mode = fk_thread.capture_mode;
	CUresult result = CUDA_SUCCESS;

	if (mode == CU_STREAM_CAPTURE_MODE_RELAXED)
		return CUDA_SUCCESS;
	for (struct fk_capture *capture = fk.captures; capture; capture = capture->next) {
		bool mine = capture->thread == me && capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED;
		bool global = capture->thread != me && capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL;

		if (mine || (global && mode == CU_STREAM_CAPTURE_MODE_GLOBAL)) {
			fk_capture_invalidate(capture);
			result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
		}
	}
	return result;
}

static bool blocking_capture_in(const struct fk_ctx *ctx, bool invalidate)
{
	bool found = false;

	for (struct fk_stream *stream = ctx->streams; stream; stream = stream->next) {
		if (!stream->capture || (stream->flags & CU_STREAM_NON_BLOCKING))
			continue;
		found = true;
		if (invalidate)
			fk_capture_invalidate(stream->capture);
	}
	return found;
}

CUresult fk_capture_admits(struct fk_stream *stream)
{
	if (!fk.captures)
		return CUDA_SUCCESS;
	if (stream == stream->ctx->legacy && blocking_capture_in(stream->ctx, true))
		return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
	if (stream->capture && stream->capture->status == CU_STREAM_CAPTURE_STATUS_INVALIDATED)
		return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	return CUDA_SUCCESS;
}

static bool set_dependencies(struct fk_stream *stream, const CUgraphNode *nodes, size_t count, bool add)
{
	size_t before = add ? stream->dependency_count : 0;
	CUgraphNode *all = realloc(stream->dependencies, (before + count + 1) * sizeof(*all));

	if (!all)
		return false;
	for (size_t i = 0; i < count; i++)
		all[before + i] = nodes[i];
	stream->dependencies = all;
	stream->dependency_count = before + count;
	return true;
}

CUresult fk_capture_take(struct fk_stream *stream, struct fk_op *op)
{
	CUgraphNode node = fk_graph_add(stream->capture->graph, op, stream->dependencies, stream->dependency_count);

	return node && set_dependencies(stream, &node, 1, false) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult fk_capture_conflict(struct fk_ctx *ctx, struct fk_stream *only)
{
	bool found = false;

	if (!fk.captures)
		return CUDA_SUCCESS;
	if (only && only == ctx->legacy && blocking_capture_in(ctx, true))
		return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
	for (struct fk_stream *stream = ctx->streams; stream; stream = stream->next) {
		if (!stream->capture || (only && stream != only))
			continue;
		fk_capture_invalidate(stream->capture);
		found = true;
	}
	return found ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}

static struct fk_capture *capture_by_id(uint64_t id)
{
	struct fk_capture *capture = fk.captures;

	while (capture && capture->id != id)
		capture = capture->next;
	return capture;
}

CUresult fk_capture_conflict_event(struct fk_event *event)
{
	struct fk_capture *capture = capture_by_id(event->capture_id);

	if (capture)
		fk_capture_invalidate(capture);
	return CUDA_ERROR_CAPTURED_EVENT;
}

CUresult fk_capture_record(struct fk_stream *stream, struct fk_event *event)
{
	CUresult result = fk_capture_admits(stream);

	if (result != CUDA_SUCCESS)
		return result;
	if (event->pending)
		event->pending->u.record.event = NULL;
	event->pending = NULL;
	event->recorded = true;
	event->capture_id = stream->capture->id;
	event->capture_node = stream->dependency_count ? stream->dependencies[stream->dependency_count - 1] : NULL;
	return CUDA_SUCCESS;
}

CUresult fk_capture_join(struct fk_stream *stream, struct fk_event *event)
{
	struct fk_capture *capture = capture_by_id(event->capture_id);

	if (!capture)
		return CUDA_ERROR_CAPTURED_EVENT;
	if (stream == stream->ctx->legacy) {
		fk_capture_invalidate(capture);
		return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
	}
	if (capture->status == CU_STREAM_CAPTURE_STATUS_INVALIDATED)
		return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	if (stream->capture && stream->capture != capture) {
		fk_capture_invalidate(capture);
		fk_capture_invalidate(stream->capture);
		return CUDA_ERROR_STREAM_CAPTURE_MERGE;
	}
	if (!set_dependencies(stream, &event->capture_node, event->capture_node != NULL, stream->capture != NULL))
		return CUDA_ERROR_OUT_OF_MEMORY;
	stream->capture = capture;
	return CUDA_SUCCESS;
}

CUresult fk_capture_begin(struct fk_call *call, CUstream handle, CUgraph into, const CUgraphNode *dependencies,
			  size_t count, CUstreamCaptureMode mode)
{
	struct fk_stream *stream;
	struct fk_capture *capture;
	CUresult result = fk_stream_of(call, handle, &stream);

	if (result != CUDA_SUCCESS)
		return result;
	if (stream == stream->ctx->legacy)
		return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	if (mode < 0 || mode > CU_STREAM_CAPTURE_MODE_RELAXED || (count && !dependencies))
		return CUDA_ERROR_INVALID_VALUE;
	if (stream->capture) {
		fk_capture_invalidate(stream->capture);
		return CUDA_ERROR_ILLEGAL_STATE;
	}
	capture = calloc(1, sizeof(*capture));
	if (!capture)
		return CUDA_ERROR_OUT_OF_MEMORY;
	capture->own_graph = !into;
	capture->graph = into ? fk_object_find(into, FK_GRAPH) : fk_graph_new();
	if (!capture->graph) {
		free(capture);
		return into ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_OUT_OF_MEMORY;
	}
	set_dependencies(stream, dependencies, count, false);
	capture->id = ++fk.last_id;
	capture->thread = fk_thread_number();
	capture->origin = stream;
	capture->mode = mode;
	capture->status = CU_STREAM_CAPTURE_STATUS_ACTIVE;
	capture->next = fk.captures;
	fk.captures = capture;
	stream->capture = capture;
	fk_hold(FK_FIGURE_captures, 1);
	return CUDA_SUCCESS;
}

/* Takes every stream out of the capture and the capture out of the list; frees it, not its graph. */
static void finish(struct fk_capture *capture)
{
	struct fk_capture **link = &fk.captures;

	for (struct fk_stream *stream = capture->origin->ctx->streams; stream; stream = stream->next) {
		if (stream->capture == capture) {
			stream->capture = NULL;
			stream->dependency_count = 0;
		}
	}
	while (*link != capture)
		link = &(*link)->next;
	*link = capture->next;
	fk_drop(FK_FIGURE_captures, 1);
	free(capture);
}

/* Is there a stream that was forked into the capture and whose last node nobody waited for? */
static bool is_unjoined(const struct fk_capture *capture)
{
	const struct fk_stream *origin = capture->origin;

	for (const struct fk_stream *stream = origin->ctx->streams; stream; stream = stream->next) {
		bool joined = true;

		if (stream->capture != capture || stream == origin)
			continue;
		for (size_t i = 0; i < stream->dependency_count; i++)
			joined = joined && fk_graph_leads_to(capture->graph, stream->dependencies[i],
							     origin->dependencies, origin->dependency_count);
		if (!joined)
			return true;
	}
	return false;
}

CUresult fk_capture_end(struct fk_call *call, CUstream handle, CUgraph *graph)
{
	struct fk_stream *stream;
	struct fk_capture *capture;
	CUresult result = fk_stream_of(call, handle, &stream);

	if (result != CUDA_SUCCESS)
		return result;
	if (!graph)
		return CUDA_ERROR_INVALID_VALUE;
	capture = stream->capture;
	if (!capture)
		return CUDA_ERROR_ILLEGAL_STATE;
	if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && capture->thread != fk_thread_number())
		return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
	if (capture->origin != stream) {
		fk_capture_invalidate(capture);
		return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
	}
	if (capture->status == CU_STREAM_CAPTURE_STATUS_INVALIDATED)
		result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	else if (is_unjoined(capture))
		result = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
	*graph = result == CUDA_SUCCESS ? (CUgraph)(void *)capture->graph : NULL;
	if (result != CUDA_SUCCESS && capture->own_graph)
		fk_graph_free(capture->graph);
	finish(capture);
	return result;
}

static void discard(struct fk_capture *capture)
{
	if (capture->own_graph)
		fk_graph_free(capture->graph);
	finish(capture);
}

void fk_capture_abandon(struct fk_stream *stream)
{
	if (stream->capture && stream->capture->origin == stream)
		discard(stream->capture);
	else if (stream->capture)
		fk_capture_invalidate(stream->capture);
	stream->capture = NULL;
}

void fk_capture_end_all(struct fk_ctx *ctx)
{
	struct fk_capture *capture = fk.captures, *next;

	for (; capture; capture = next) {
		next = capture->next;
		if (capture->origin->ctx == ctx)
			discard(capture);
	}
}

CUresult fk_capture_info(struct fk_call *call, CUstream handle, const struct fk_capture_answer *answer)
{
	struct fk_stream *stream;
	CUresult result = fk_stream_of(call, handle, &stream);

	if (result != CUDA_SUCCESS)
		return result;
	if (!answer->status)
		return CUDA_ERROR_INVALID_VALUE;
	if (stream == stream->ctx->legacy && fk.captures && blocking_capture_in(stream->ctx, false))
		return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
	*answer->status = stream->capture ? stream->capture->status : CU_STREAM_CAPTURE_STATUS_NONE;
	if (*answer->status != CU_STREAM_CAPTURE_STATUS_ACTIVE)
		return CUDA_SUCCESS;
	if (answer->id)
		*answer->id = stream->capture->id;
	if (answer->graph)
		*answer->graph = (CUgraph)(void *)stream->capture->graph;
	if (answer->dependencies)
		*answer->dependencies = stream->dependencies;
	if (answer->edges)
		*answer->edges = NULL; /* documented: NULL when every edge is an ordinary one */
	if (answer->count)
		*answer->count = stream->dependency_count;
	return CUDA_SUCCESS;
}

CUresult fk_capture_update(struct fk_call *call, CUstream handle, const CUgraphNode *nodes, size_t count,
			   unsigned int flags)
{
	struct fk_stream *stream;
	CUresult result = fk_stream_of(call, handle, &stream);

	if (result != CUDA_SUCCESS)
		return result;
	if (flags > 1 || (count && !nodes))
		return CUDA_ERROR_INVALID_VALUE;
	if (!stream->capture || stream->capture->status != CU_STREAM_CAPTURE_STATUS_ACTIVE)
		return CUDA_ERROR_ILLEGAL_STATE;
	return set_dependencies(stream, nodes, count, flags == 0) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult fk_capture_exchange_mode(CUstreamCaptureMode *mode)
{
	int before = fk_thread.capture_mode;

	if (!mode || *mode < 0 || *mode > CU_STREAM_CAPTURE_MODE_RELAXED)
		return CUDA_ERROR_INVALID_VALUE;
	fk_thread.capture_mode = *mode;
	*mode = before;
	return CUDA_SUCCESS;
}
