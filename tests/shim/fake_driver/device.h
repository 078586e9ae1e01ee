/* Devices and contexts: what is there, what is current, and what goes when a context goes.
 *
 * All guarded by fk.lock. Errors are the documented ones. Contexts own as state.h says. */
#ifndef FK_DEVICE_H
#define FK_DEVICE_H

#include "state.h"

bool fk_device_start(void);
bool fk_device_valid(CUdevice device);

struct fk_ctx *fk_ctx_find(CUcontext handle); /* alive, or NULL */
static inline CUcontext fk_ctx_handle(struct fk_ctx *ctx)
{
	return (CUcontext)(void *)ctx;
}
struct fk_ctx *fk_ctx_new(CUdevice device, unsigned int flags, unsigned int api_version);
void fk_ctx_tear_down(struct fk_ctx *ctx); /* its work runs, then all it owns goes; the shell stays */
void fk_ctx_revive(struct fk_ctx *ctx);    /* a primary context, retained again */

#endif
