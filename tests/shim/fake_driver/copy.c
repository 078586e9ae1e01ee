/* Copies along one dimension, and memsets. Two- and three-dimensional copies are in copy_rect.c.
 *
 * As "API synchronization behavior" has it: a synchronous copy that touches pageable or pinned host memory is
 * complete when the call returns; device to device, and memsets of device memory, are only submitted. An asynchronous
 * copy from pageable memory takes its bytes at once; one to pageable memory is complete on return. */
#include "copy.h"

#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "capture.h"
#include "stream.h"

CUresult fk_copy_side(struct fk_side *side, uint64_t size, int device, enum fk_use use, bool host)
{
	struct fk_block *block = fk_block_at(side->address);

	if (!side->address)
		return CUDA_ERROR_INVALID_VALUE;
	if (!block && host) {
		struct fk_node *next = fk_tree_ceiling(&fk.blocks, side->address, 0);

		side->pageable = true;
		return next && next->key < side->address + size && fk_has(FK_CAP_no_cross_registration_copy)
			       ? CUDA_ERROR_INVALID_VALUE
			       : CUDA_SUCCESS; /* runs from pageable into registered memory */
	}
	return fk_block_check(side->address, size, device, use, &side->identity);
}

static bool is_host_side(const struct fk_side *side)
{
	struct fk_block *block = fk_block_at(side->address);

	return side->pageable || !block || block->kind == FK_KIND_HOST || block->kind == FK_KIND_REGISTERED ||
	       block->kind == FK_KIND_ALIAS || block->kind == FK_KIND_MANAGED;
}

/* Bytes of pageable memory, taken now: what follows the call may change them. */
static bool stage(struct fk_op *op, uint64_t size)
{
	op->u.copy.staged = malloc(size);
	if (!op->u.copy.staged)
		return false;
	memcpy(op->u.copy.staged, (const void *)(uintptr_t)op->u.copy.from.address, size);
	op->u.copy.from.identity = 0;
	return true;
}

CUresult fk_copy_submit(struct fk_stream *stream, struct fk_op *op, bool asynchronous)
{
	bool to_pageable = op->u.copy.to.pageable,
	     touches_host = is_host_side(&op->u.copy.to) || is_host_side(&op->u.copy.from);
	bool flat = op->u.copy.height == 1 && op->u.copy.depth == 1;
	bool must_wait = asynchronous ? to_pageable : touches_host;
	CUresult result;

	if (asynchronous && op->u.copy.from.pageable && !stream->capture) {
		if (!flat)
			must_wait = true;
		else if (!stage(op, op->u.copy.width)) {
			fk_op_free(op);
			return CUDA_ERROR_OUT_OF_MEMORY;
		}
	}
	result = fk_submit(stream, op);
	if (result != CUDA_SUCCESS || stream->capture || !must_wait)
		return result;
	fk_run(stream, fk.last_seq);
	return stream->ctx->sticky;
}

CUresult fk_copy(struct fk_call *call, const struct fk_copy *copy, CUstream handle)
{
	struct fk_stream *stream;
	struct fk_op *op;
	CUresult result;

	if (!copy->asynchronous) { /* capture: a synchronous copy is a potentially unsafe call */
		result = fk_capture_forbids();
		if (result != CUDA_SUCCESS)
			return result;
	}
	result = fk_stream_of(call, handle, &stream);
	if (result != CUDA_SUCCESS || copy->size == 0)
		return result;
	op = fk_op_new(FK_OP_COPY);
	if (!op)
		return CUDA_ERROR_OUT_OF_MEMORY;
	op->u.copy.to.address = copy->to;
	op->u.copy.from.address = copy->from;
	op->u.copy.width = copy->size;
	op->u.copy.height = op->u.copy.depth = 1;
	result = fk_copy_side(&op->u.copy.to, copy->size, stream->ctx->device, FK_USE_WRITE, copy->to_host);
	if (result == CUDA_SUCCESS)
		result = fk_copy_side(&op->u.copy.from, copy->size, stream->ctx->device, FK_USE_READ, copy->from_host);
	if (result != CUDA_SUCCESS) {
		fk_op_free(op);
		return result;
	}
	return fk_copy_submit(stream, op, copy->asynchronous);
}

CUresult fk_copy_peer(struct fk_call *call, const struct fk_copy *copy, CUcontext to, CUcontext from, CUstream handle)
{
	if (!fk_object_find(to, FK_CONTEXT) || !fk_object_find(from, FK_CONTEXT))
		return CUDA_ERROR_INVALID_CONTEXT;
	return fk_copy(call, copy, handle);
}

CUresult fk_set(struct fk_call *call, const struct fk_set *set, CUstream handle)
{
	struct fk_stream *stream;
	struct fk_block *block;
	struct fk_op *op;
	uint64_t span = set->height ? (set->height - 1) * set->pitch + set->width * set->element : 0;
	CUresult result = set->asynchronous ? CUDA_SUCCESS : fk_capture_forbids();

	if (result == CUDA_SUCCESS)
		result = fk_stream_of(call, handle, &stream);
	if (result != CUDA_SUCCESS)
		return result;
	if (set->to % set->element ||
	    (set->height > 1 && (set->pitch % set->element || set->pitch < set->width * set->element)))
		return CUDA_ERROR_INVALID_VALUE;
	if (!set->width || !set->height)
		return CUDA_SUCCESS;
	op = fk_op_new(FK_OP_SET);
	if (!op)
		return CUDA_ERROR_OUT_OF_MEMORY;
	op->u.set.to.address = set->to;
	op->u.set.to.pitch = set->pitch;
	op->u.set.width = set->width * set->element;
	op->u.set.height = set->height;
	op->u.set.value = set->value;
	op->u.set.element = set->element;
	result = fk_block_check(set->to, span, stream->ctx->device, FK_USE_KERNEL, &op->u.set.to.identity);
	if (result != CUDA_SUCCESS) {
		fk_op_free(op);
		return result;
	}
	result = fk_submit(stream, op);
	block = fk_block_at(set->to);
	if (result == CUDA_SUCCESS && !set->asynchronous && !stream->capture && block &&
	    block->kind != FK_KIND_DEVICE && block->kind != FK_KIND_POOL && block->kind != FK_KIND_VMM) {
		fk_run(stream, fk.last_seq); /* host and managed memory: complete on return */
		return stream->ctx->sticky;
	}
	return result;
}
