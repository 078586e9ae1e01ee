/* The end of contexts. */
#include "alloc/contexts.h"
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
