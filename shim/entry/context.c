/* The end of contexts, and what one device lets another reach. */
#include "alloc/contexts.h"
#include "alloc/current.h"
#include "alloc/moves.h"
#include "abi/greenboost_abi.h"
#include "entry/entry.h"

CUresult cuCtxDestroy(CUcontext context)
{
	GB_ENTER(cuCtxDestroy, (context));
	return gb_context_destroy(driver->cuCtxDestroy, context);
}

CUresult cuCtxDestroy_v2(CUcontext context)
{
	GB_ENTER(cuCtxDestroy_v2, (context));
	return gb_context_destroy(driver->cuCtxDestroy_v2, context);
}

CUresult cuCtxDetach(CUcontext context)
{
	GB_ENTER(cuCtxDetach, (context));
	return gb_context_destroy(driver->cuCtxDetach, context);
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device)
{
	GB_ENTER(cuDevicePrimaryCtxRelease, (device));
	return gb_primary_context_end(driver->cuDevicePrimaryCtxRelease, device);
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
	GB_ENTER(cuDevicePrimaryCtxRelease_v2, (device));
	return gb_primary_context_end(driver->cuDevicePrimaryCtxRelease_v2, device);
}

CUresult cuDevicePrimaryCtxReset(CUdevice device)
{
	GB_ENTER(cuDevicePrimaryCtxReset, (device));
	return gb_primary_context_end(driver->cuDevicePrimaryCtxReset, device);
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice device)
{
	GB_ENTER(cuDevicePrimaryCtxReset_v2, (device));
	return gb_primary_context_end(driver->cuDevicePrimaryCtxReset_v2, device);
}

/* From here on the current context's device reaches the memory of the peer's. */
CUresult cuCtxEnablePeerAccess(CUcontext peer, unsigned int flags)
{
	GB_ENTER(cuCtxEnablePeerAccess, (peer, flags));
	CUresult result = driver->cuCtxEnablePeerAccess(peer, flags);
	CUdevice device = -1, owner = -1;
	bool pushed;

	if (result || driver->cuCtxGetDevice(&device) || gb_context_enter(peer, &pushed))
		return result;
	driver->cuCtxGetDevice(&owner);
	gb_context_leave(&pushed);
	if (owner != device && owner >= 0 && owner < GB_DEVICES_MAX && device >= 0 && device < GB_DEVICES_MAX)
		gb_moves_let_in(owner, device);
	return result;
}
