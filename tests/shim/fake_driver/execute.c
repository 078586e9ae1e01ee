/* What the operations do when their turn has come. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "block.h"
#include "pool.h"
#include "report.h"
#include "work.h"

void fk_violation(const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	fk_say("violation: %s", text);
	fk_report_violation(text);
}

static void fault(const struct fk_op *op, const char *what, uint64_t address, uint64_t size, const char *why)
{
	fk_violation("%s of %llu bytes at 0x%llx in stream %llu: %s", what, (unsigned long long)size,
		     (unsigned long long)address, (unsigned long long)op->stream->id, why);
	op->stream->ctx->sticky = CUDA_ERROR_ILLEGAL_ADDRESS;
}

static uint64_t span(const struct fk_side *side, uint64_t width, uint64_t height, uint64_t depth)
{
	return (depth - 1) * side->slice + (height - 1) * side->pitch + width;
}

static bool still_there(const struct fk_op *op, const char *what, const struct fk_side *side, uint64_t size)
{
	if (side->pageable || !side->identity || fk_block_identity(side->address, size) == side->identity)
		return true;
	fault(op, what, side->address, size, "the memory was freed, unmapped or unregistered before the work ran");
	return false;
}

static unsigned char *reach(const struct fk_op *op, const struct fk_side *side, uint64_t offset, enum fk_use use,
			    uint64_t *run)
{
	if (side->pageable) {
		*run = UINT64_MAX;
		return (unsigned char *)(uintptr_t)(side->address + offset);
	}
	return fk_block_reach(side->address + offset, op->stream->ctx->device, use, run);
}

static bool copy_row(const struct fk_op *op, uint64_t to_offset, uint64_t from_offset, uint64_t width)
{
	while (width) {
		uint64_t to_run, from_run = UINT64_MAX, n = width;
		const unsigned char *from = op->u.copy.staged
						    ? op->u.copy.staged + from_offset
						    : reach(op, &op->u.copy.from, from_offset, FK_USE_READ, &from_run);
		unsigned char *to = reach(op, &op->u.copy.to, to_offset, FK_USE_WRITE, &to_run);

		if (!from || !to) {
			fault(op, "copy",
			      from ? op->u.copy.to.address + to_offset : op->u.copy.from.address + from_offset, width,
			      from ? "the destination cannot be reached" : "the source cannot be reached");
			return false;
		}
		n = n < to_run ? n : to_run;
		n = n < from_run ? n : from_run;
		memmove(to, from, n);
		to_offset += n;
		from_offset += n;
		width -= n;
	}
	return true;
}

static void execute_copy(struct fk_op *op)
{
	const struct fk_side *to = &op->u.copy.to, *from = &op->u.copy.from;
	uint64_t width = op->u.copy.width, height = op->u.copy.height, depth = op->u.copy.depth;

	if (!still_there(op, "copy to memory", to, span(to, width, height, depth)))
		return;
	if (!op->u.copy.staged && !still_there(op, "copy from memory", from, span(from, width, height, depth)))
		return;
	for (uint64_t z = 0; z < depth; z++)
		for (uint64_t y = 0; y < height; y++)
			if (!copy_row(op, z * to->slice + y * to->pitch, z * from->slice + y * from->pitch, width))
				return;
}

static void fill(unsigned char *to, uint64_t size, unsigned int value, unsigned int element, uint64_t phase)
{
	unsigned char pattern[4];

	memcpy(pattern, &value, sizeof(pattern)); /* little-endian on every machine this is built for */
	if (element == 1) {
		memset(to, (int)(value & 0xff), size);
		return;
	}
	for (uint64_t i = 0; i < element && i < size; i++)
		to[i] = pattern[(phase + i) % element];
	for (uint64_t done = element; done < size; done *= 2)
		memcpy(to + done, to, done < size - done ? done : size - done);
}

static void execute_set(struct fk_op *op)
{
	const struct fk_side *to = &op->u.set.to;

	if (!still_there(op, "memset", to, span(to, op->u.set.width, op->u.set.height, 1)))
		return;
	for (uint64_t y = 0; y < op->u.set.height; y++) {
		for (uint64_t x = 0, run; x < op->u.set.width; x += run) {
			unsigned char *at = reach(op, to, y * to->pitch + x, FK_USE_KERNEL, &run);

			if (!at) {
				fault(op, "memset", to->address + y * to->pitch + x, op->u.set.width - x,
				      "the memory cannot be reached");
				return;
			}
			run = run < op->u.set.width - x ? run : op->u.set.width - x;
			fill(at, run, op->u.set.value, op->u.set.element, x);
		}
	}
}

static void execute_host(struct fk_op *op)
{
	CUresult status = op->stream->ctx->sticky;

	if (op->kind == FK_OP_HOST && status != CUDA_SUCCESS)
		return; /* documented: not called when the context is in error; a callback is, and is told */
	pthread_mutex_unlock(&fk.lock);
	fk_thread.in_host_function = true;
	if (op->kind == FK_OP_HOST)
		op->u.host.function(op->u.host.data);
	else
		op->u.host.callback(op->u.host.stream, status, op->u.host.data);
	fk_thread.in_host_function = false;
	pthread_mutex_lock(&fk.lock);
}

static void execute_record(struct fk_op *op)
{
	struct fk_event *event = op->u.record.event;
	struct timespec now;

	if (!event || event->pending != op)
		return; /* destroyed, or recorded again since */
	clock_gettime(CLOCK_MONOTONIC, &now);
	event->time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	event->pending = NULL;
}

void fk_execute(struct fk_op *op)
{
	bool broken = op->stream->ctx->sticky != CUDA_SUCCESS;

	switch (op->kind) {
	case FK_OP_COPY:
		if (!broken)
			execute_copy(op);
		break;
	case FK_OP_SET:
		if (!broken)
			execute_set(op);
		break;
	case FK_OP_HOST:
	case FK_OP_CALLBACK:
		execute_host(op);
		break;
	case FK_OP_RECORD:
		execute_record(op);
		break;
	case FK_OP_POOL_FREE:
		fk_pool_freed(op->u.memory.address, op->u.memory.id);
		break;
	case FK_OP_GRAPH_ALLOC:
		if (!fk_pool_graph_alloc(op->u.memory.address))
			fault(op, "graph allocation", op->u.memory.address, 0, "still allocated, or no device memory");
		break;
	case FK_OP_GRAPH_FREE:
		fk_pool_graph_free(op->u.memory.address);
		break;
	case FK_OP_WAIT:
	case FK_OP_EMPTY:
		break;
	}
}
