/* Contexts: the per-thread stack, primary contexts, and their small settings. */
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "block.h"
#include "capture.h"
#include "device.h"
#include "stream.h"
#include "work.h"

struct fk_ctx *fk_ctx_find(CUcontext handle)
{
	return fk_object_find(handle, FK_CONTEXT);
}

struct fk_ctx *fk_ctx_new(CUdevice device, unsigned int flags, unsigned int api_version)
{
	struct fk_ctx *ctx = calloc(1, sizeof(*ctx));

	if (!ctx)
		return NULL;
	ctx->device = device;
	ctx->flags = flags;
	ctx->api_version = api_version;
	fk_ctx_revive(ctx);
	return ctx;
}

void fk_ctx_revive(struct fk_ctx *ctx)
{
	static const size_t limits[10] = {1024, 1048576, 8388608, 2, 2048, 64, 0, 0, 0, 0};

	ctx->id = ++fk.last_id;
	ctx->alive = true;
	ctx->references = 1;
	ctx->sticky = CUDA_SUCCESS;
	ctx->peers = 0;
	memcpy(ctx->limits, limits, sizeof(limits));
	ctx->legacy = fk_stream_new(ctx, 0, 0, 0);
	fk_object_add(&ctx->object, FK_CONTEXT);
	fk_hold(FK_FIGURE_contexts, 1);
}

void fk_ctx_tear_down(struct fk_ctx *ctx)
{
	fk_capture_end_all(ctx);
	fk_run_context(ctx);
	fk_stream_destroy_all(ctx);
	fk_event_destroy_all(ctx);
	fk_block_release_all(ctx);
	fk_object_drop(&ctx->object);
	ctx->alive = false;
	ctx->references = 0;
	fk_drop(FK_FIGURE_contexts, 1);
	if (!ctx->primary) {
		ctx->next_dead = fk.dead_contexts;
		fk.dead_contexts = ctx;
	}
}

static CUresult push(struct fk_ctx *ctx)
{
	if (fk_thread.depth == (int)(sizeof(fk_thread.stack) / sizeof(*fk_thread.stack)))
		return CUDA_ERROR_OUT_OF_MEMORY;
	fk_thread.stack[fk_thread.depth++] = ctx;
	return CUDA_SUCCESS;
}

CUresult fk_ctx_create(CUcontext *handle, unsigned int flags, CUdevice device, unsigned int api_version)
{
	struct fk_ctx *ctx;

	if (!handle || (flags & ~0xffu))
		return CUDA_ERROR_INVALID_VALUE;
	if (!fk_device_valid(device))
		return CUDA_ERROR_INVALID_DEVICE;
	ctx = fk_ctx_new(device, flags, api_version);
	if (!ctx)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*handle = fk_ctx_handle(ctx);
	return push(ctx);
}

CUresult fk_ctx_destroy(CUcontext handle)
{
	struct fk_ctx *ctx = fk_ctx_find(handle);

	if (!ctx || ctx->primary)
		return handle ? CUDA_ERROR_INVALID_CONTEXT : CUDA_ERROR_INVALID_VALUE;
	fk_ctx_tear_down(ctx);
	if (fk_thread.depth && fk_thread.stack[fk_thread.depth - 1] == ctx)
		fk_thread.depth--;
	return CUDA_SUCCESS;
}

CUresult fk_ctx_attach(struct fk_call *call, CUcontext *handle, unsigned int flags)
{
	if (!handle || flags)
		return CUDA_ERROR_INVALID_VALUE;
	call->ctx->references++;
	*handle = fk_ctx_handle(call->ctx);
	return CUDA_SUCCESS;
}

CUresult fk_ctx_detach(CUcontext handle)
{
	struct fk_ctx *ctx = fk_ctx_find(handle);

	if (!ctx || ctx->primary)
		return CUDA_ERROR_INVALID_CONTEXT;
	return --ctx->references ? CUDA_SUCCESS : fk_ctx_destroy(handle);
}

CUresult fk_ctx_push(CUcontext handle)
{
	struct fk_ctx *ctx = fk_ctx_find(handle);

	return ctx ? push(ctx) : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult fk_ctx_pop(CUcontext *handle)
{
	if (!fk_thread.depth)
		return CUDA_ERROR_INVALID_CONTEXT;
	fk_thread.depth--;
	if (handle)
		*handle = fk_ctx_handle(fk_thread.stack[fk_thread.depth]);
	return CUDA_SUCCESS;
}

CUresult fk_ctx_set(CUcontext handle)
{
	struct fk_ctx *ctx = fk_ctx_find(handle);

	if (handle && !ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (fk_thread.depth)
		fk_thread.depth--;
	return ctx ? push(ctx) : CUDA_SUCCESS;
}

CUresult fk_ctx_get(struct fk_call *call, CUcontext *handle)
{
	if (!handle)
		return CUDA_ERROR_INVALID_VALUE;
	*handle = call->ctx ? fk_ctx_handle(call->ctx) : NULL;
	return CUDA_SUCCESS;
}

/* The context a call names, or the current one for NULL. */
static CUresult named(struct fk_call *call, CUcontext handle, struct fk_ctx **ctx)
{
	*ctx = handle ? fk_ctx_find(handle) : call->ctx;
	return fk_usable(*ctx);
}

CUresult fk_ctx_device(struct fk_call *call, CUdevice *device, CUcontext handle)
{
	struct fk_ctx *ctx;
	CUresult result = named(call, handle, &ctx);

	if (result == CUDA_SUCCESS && !device)
		result = CUDA_ERROR_INVALID_VALUE;
	if (result == CUDA_SUCCESS)
		*device = ctx->device;
	return result;
}

CUresult fk_ctx_synchronize(struct fk_call *call, CUcontext handle)
{
	struct fk_ctx *ctx;
	CUresult result = named(call, handle, &ctx);

	if (result == CUDA_SUCCESS)
		result = fk_capture_conflict(ctx, NULL);
	if (result != CUDA_SUCCESS)
		return result;
	fk_run_context(ctx);
	return fk_usable(ctx);
}

CUresult fk_ctx_api_version(struct fk_call *call, CUcontext handle, unsigned int *version)
{
	struct fk_ctx *ctx;
	CUresult result = named(call, handle, &ctx);

	if (result != CUDA_SUCCESS)
		return result;
	if (!version)
		return CUDA_ERROR_INVALID_VALUE;
	*version = ctx->api_version;
	return CUDA_SUCCESS;
}

CUresult fk_ctx_id(struct fk_call *call, CUcontext handle, unsigned long long *id)
{
	struct fk_ctx *ctx;
	CUresult result = named(call, handle, &ctx);

	if (result != CUDA_SUCCESS)
		return result;
	if (!id)
		return CUDA_ERROR_INVALID_VALUE;
	*id = ctx->id;
	return CUDA_SUCCESS;
}

CUresult fk_ctx_flags(struct fk_call *call, unsigned int *flags)
{
	if (!flags)
		return CUDA_ERROR_INVALID_VALUE;
	*flags = call->ctx->flags;
	return CUDA_SUCCESS;
}

CUresult fk_ctx_set_flags(struct fk_call *call, unsigned int flags)
{
	if (flags & ~0xffu)
		return CUDA_ERROR_INVALID_VALUE;
	call->ctx->flags = flags;
	return CUDA_SUCCESS;
}

CUresult fk_ctx_limit(struct fk_call *call, size_t *value, CUlimit limit)
{
	if (!value || limit < 0 || limit >= 10)
		return limit >= 10 ? CUDA_ERROR_UNSUPPORTED_LIMIT : CUDA_ERROR_INVALID_VALUE;
	*value = call->ctx->limits[limit];
	return CUDA_SUCCESS;
}

CUresult fk_ctx_set_limit(struct fk_call *call, CUlimit limit, size_t value)
{
	if (limit < 0 || limit >= 10)
		return CUDA_ERROR_UNSUPPORTED_LIMIT;
	call->ctx->limits[limit] = value;
	return CUDA_SUCCESS;
}

CUresult fk_ctx_config(const int *setting, int *value)
{
	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	*value = *setting;
	return CUDA_SUCCESS;
}

CUresult fk_ctx_set_config(int *setting, int value, int last)
{
	if (value < 0 || value > last)
		return CUDA_ERROR_INVALID_VALUE;
	*setting = value;
	return CUDA_SUCCESS;
}

CUresult fk_ctx_priorities(int *least, int *greatest)
{
	if (least)
		*least = FK_PRIORITY_LEAST;
	if (greatest)
		*greatest = FK_PRIORITY_GREATEST;
	return CUDA_SUCCESS;
}
