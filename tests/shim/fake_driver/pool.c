#include "pool.h"

#include <stdlib.h>

#include "api.h"
#include "capture.h"
#include "device.h"
#include "stream.h"

static struct fk_pool *pools;

struct fk_pool *fk_pool_new(int device, bool is_default)
{
	struct fk_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pool->device = device;
	pool->is_default = is_default;
	pool->reuse[0] = pool->reuse[1] = pool->reuse[2] = 1;
	pool->access[device] = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
	pool->next = pools;
	pools = pool;
	fk_object_add(&pool->object, FK_POOL);
	if (!is_default)
		fk_hold(FK_FIGURE_pools, 1);
	return pool;
}

void fk_pool_shrink(struct fk_pool *pool, uint64_t keep)
{
	uint64_t target = pool->used > keep ? pool->used : keep;

	if (pool->reserved <= target)
		return;
	fk_device_discharge(pool->device, pool->reserved - target);
	pool->reserved = target;
}

void fk_pool_release_idle(int device)
{
	for (struct fk_pool *pool = pools; pool; pool = pool->next)
		if (pool->device == device)
			fk_pool_shrink(pool, 0);
}

void fk_pool_synchronised(void)
{
	for (struct fk_pool *pool = pools; pool; pool = pool->next)
		fk_pool_shrink(pool, pool->threshold);
}

/* A destroyed pool goes when its last allocation does. */
static void reap(struct fk_pool *pool)
{
	struct fk_pool **link = &pools;

	if (!pool->destroyed || pool->blocks)
		return;
	fk_pool_shrink(pool, 0);
	while (*link != pool)
		link = &(*link)->next;
	*link = pool->next;
	free(pool);
}

void fk_pool_end(struct fk_pool *pool)
{
	pool->destroyed = true;
	reap(pool);
}

static void free_block(struct fk_pool_block *block)
{
	struct fk_pool *pool = block->pool;

	fk_block_remove(&block->block);
	fk_arena_give(&fk.devices[block->block.device].arena, fk_block_address(&block->block), block->block.charge);
	if (pool) {
		pool->used -= block->block.charge;
		pool->blocks--;
		reap(pool);
	}
	free(block);
}

void fk_pool_freed(uint64_t address, uint64_t id)
{
	struct fk_block *block = fk_block_starting(address);

	if (!block || block->id != id) {
		fk_violation("free in stream order of 0x%llx: it was freed before", (unsigned long long)address);
		return;
	}
	if (block->kind == FK_KIND_POOL)
		free_block((struct fk_pool_block *)(void *)block);
	else
		fk_block_release(block); /* cuMemAlloc's memory may be freed in stream order too */
}

CUresult fk_pool_free_now(struct fk_block *block)
{
	struct fk_pool_block *pooled = (struct fk_pool_block *)(void *)block;

	if (!pooled->pool) {
		if (!block->live)
			return CUDA_ERROR_INVALID_VALUE;
		fk_pool_graph_free(fk_block_address(block));
		return CUDA_SUCCESS;
	}
	if (pooled->freeing)
		return CUDA_ERROR_INVALID_VALUE;
	fk_drop(FK_FIGURE_pool_bytes, block->charge);
	free_block(pooled);
	return CUDA_SUCCESS;
}

static bool grow(struct fk_pool *pool, uint64_t bytes)
{
	uint64_t idle = pool->reserved - pool->used;
	uint64_t more = bytes > idle ? bytes - idle : 0;

	if (pool->max_bytes && pool->reserved + more > pool->max_bytes)
		return false;
	if (more && !fk_device_charge(pool->device, more)) {
		idle = pool->reserved - pool->used; /* the attempt released it */
		more = bytes > idle ? bytes - idle : 0;
		if (!fk_device_charge(pool->device, more))
			return false;
	} else if (pool->reserved - pool->used !=
		   idle) { /* the charge let this pool's own idle bytes go: take them back */
		if (!fk_device_charge(pool->device, idle)) {
			fk_device_discharge(pool->device, more);
			return false;
		}
		pool->reserved += idle;
	}
	pool->reserved += more;
	pool->used += bytes;
	pool->reserved_high = pool->reserved > pool->reserved_high ? pool->reserved : pool->reserved_high;
	pool->used_high = pool->used > pool->used_high ? pool->used : pool->used_high;
	return true;
}

/* An address for `size` bytes on `device`, in the table. Nothing is charged. */
static struct fk_pool_block *new_block(int device, uint64_t size)
{
	struct fk_pool_block *block = calloc(1, sizeof(*block));
	uint64_t address;

	if (!block)
		return NULL;
	block->block.charge = FK_ROUND(size);
	if (!fk_arena_take(&fk.devices[device].arena, block->block.charge, FK_ALIGNMENT(size), &address)) {
		free(block);
		return NULL;
	}
	block->block.size = size;
	block->block.kind = FK_KIND_POOL;
	block->block.device = device;
	block->block.bytes = fk_arena_bytes(&fk.devices[device].arena, address);
	fk_block_add(&block->block, address, NULL);
	return block;
}

static CUresult capture_alloc(struct fk_stream *stream, CUdeviceptr *address, size_t size)
{
	struct fk_pool_block *block = new_block(stream->ctx->device, size);
	struct fk_op *op = fk_op_new(FK_OP_GRAPH_ALLOC);
	uint64_t at;
	CUresult result;

	if (!block || !op) {
		if (block)
			free_block(block);
		free(op);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	block->block.live = false;
	at = op->u.memory.address = fk_block_address(&block->block);
	block->graph_references = 1; /* ours, until the graph has its own */
	result = fk_submit(stream, op);
	fk_pool_graph_release(at);
	if (result == CUDA_SUCCESS)
		*address = at;
	return result;
}

static CUresult pool_alloc(struct fk_pool *pool, CUdeviceptr *address, size_t size, struct fk_stream *stream)
{
	struct fk_pool_block *block;
	uint64_t bytes = FK_ROUND(size);

	if (!grow(pool, bytes)) { /* what is queued may be about to free some: let it get there */
		fk_run(stream, fk.last_seq);
		if (!grow(pool, bytes)) {
			fk_run_device(pool->device);
			if (!grow(pool, bytes))
				return CUDA_ERROR_OUT_OF_MEMORY;
		}
	}
	block = new_block(pool->device, size);
	if (!block) {
		pool->used -= bytes;
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	block->pool = pool;
	pool->blocks++;
	fk_hold(FK_FIGURE_pool_bytes, bytes);
	*address = fk_block_address(&block->block);
	return fk_submit(stream, fk_op_new(FK_OP_EMPTY));
}

CUresult fk_pool_alloc_async(struct fk_call *call, CUdeviceptr *address, size_t size, CUmemoryPool handle,
			     CUstream stream_handle, bool named)
{
	struct fk_pool *pool = named ? fk_object_find(handle, FK_POOL) : NULL;
	struct fk_stream *stream;
	CUresult result = fk_stream_of(call, stream_handle, &stream);

	if (result != CUDA_SUCCESS)
		return result;
	if (fk_has(FK_CAP_no_pools))
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!address || !size || (named && !pool))
		return CUDA_ERROR_INVALID_VALUE;
	result = fk_capture_admits(stream);
	if (result != CUDA_SUCCESS)
		return result;
	if (stream->capture)
		return capture_alloc(stream, address, size);
	return pool_alloc(pool ? pool : fk.devices[stream->ctx->device].current_pool, address, size, stream);
}

static CUresult capture_free(struct fk_stream *stream, struct fk_block *block)
{
	struct fk_op *op;

	if (block->kind != FK_KIND_POOL || ((struct fk_pool_block *)(void *)block)->pool)
		return CUDA_ERROR_INVALID_VALUE; /* documented: must be the address of a graph allocation */
	op = fk_op_new(FK_OP_GRAPH_FREE);
	if (op)
		op->u.memory.address = fk_block_address(block);
	return fk_submit(stream, op);
}

CUresult fk_pool_free_async(struct fk_call *call, CUdeviceptr address, CUstream stream_handle)
{
	struct fk_block *block = fk_block_starting(address);
	struct fk_pool_block *pooled = (struct fk_pool_block *)(void *)block;
	struct fk_stream *stream;
	struct fk_op *op;
	CUresult result = fk_stream_of(call, stream_handle, &stream);

	if (result != CUDA_SUCCESS)
		return result;
	if (fk_has(FK_CAP_no_pools))
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!block || (block->kind != FK_KIND_POOL && block->kind != FK_KIND_DEVICE))
		return CUDA_ERROR_INVALID_VALUE;
	result = fk_capture_admits(stream);
	if (result != CUDA_SUCCESS)
		return result;
	if (stream->capture)
		return capture_free(stream, block);
	if (block->kind == FK_KIND_POOL && (pooled->freeing || (!pooled->pool && !block->live)))
		return CUDA_ERROR_INVALID_VALUE;
	op = fk_op_new(block->kind == FK_KIND_POOL && !pooled->pool ? FK_OP_GRAPH_FREE : FK_OP_POOL_FREE);
	if (!op)
		return CUDA_ERROR_OUT_OF_MEMORY;
	op->u.memory.address = address;
	op->u.memory.id = block->id;
	if (block->kind == FK_KIND_POOL && pooled->pool) {
		pooled->freeing = true;
		fk_drop(FK_FIGURE_pool_bytes, block->charge);
	}
	return fk_submit(stream, op);
}
