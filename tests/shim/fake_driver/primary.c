/* Primary contexts: one a device, shared by everybody who retains it. */
#include "api.h"
#include "device.h"

CUresult fk_primary_retain(CUcontext *handle, CUdevice device)
{
	struct fk_device *state = &fk.devices[fk_device_valid(device) ? device : 0];

	if (!handle)
		return CUDA_ERROR_INVALID_VALUE;
	if (!fk_device_valid(device))
		return CUDA_ERROR_INVALID_DEVICE;
	if (!state->primary) {
		state->primary = fk_ctx_new(device, state->primary_flags, 3020);
		if (!state->primary)
			return CUDA_ERROR_OUT_OF_MEMORY;
		state->primary->primary = true;
	} else if (!state->primary->alive) {
		unsigned int kept = state->primary->references; /* retained before a reset, and not released since */

		fk_ctx_revive(state->primary);
		state->primary->flags = state->primary_flags;
		state->primary->references += kept;
	} else {
		state->primary->references++;
	}
	*handle = fk_ctx_handle(state->primary);
	return CUDA_SUCCESS;
}

CUresult fk_primary_release(CUdevice device)
{
	struct fk_ctx *ctx;

	if (!fk_device_valid(device))
		return CUDA_ERROR_INVALID_DEVICE;
	ctx = fk.devices[device].primary;
	if (!ctx || !ctx->references)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (--ctx->references == 0 && ctx->alive)
		fk_ctx_tear_down(ctx);
	return CUDA_SUCCESS;
}

CUresult fk_primary_reset(CUdevice device)
{
	struct fk_ctx *ctx;
	unsigned int references;

	if (!fk_device_valid(device))
		return CUDA_ERROR_INVALID_DEVICE;
	ctx = fk.devices[device].primary;
	if (!ctx || !ctx->alive)
		return CUDA_SUCCESS;
	references = ctx->references; /* a reset releases nobody */
	fk_ctx_tear_down(ctx);
	ctx->references = references;
	return CUDA_SUCCESS;
}

CUresult fk_primary_set_flags(CUdevice device, unsigned int flags)
{
	if (!fk_device_valid(device))
		return CUDA_ERROR_INVALID_DEVICE;
	if (flags & ~0xffu)
		return CUDA_ERROR_INVALID_VALUE;
	fk.devices[device].primary_flags = flags;
	if (fk.devices[device].primary)
		fk.devices[device].primary->flags = flags;
	return CUDA_SUCCESS;
}

CUresult fk_primary_state(CUdevice device, unsigned int *flags, int *active)
{
	if (!fk_device_valid(device))
		return CUDA_ERROR_INVALID_DEVICE;
	if (!flags || !active)
		return CUDA_ERROR_INVALID_VALUE;
	*flags = fk.devices[device].primary_flags;
	*active = fk.devices[device].primary && fk.devices[device].primary->alive;
	return CUDA_SUCCESS;
}
