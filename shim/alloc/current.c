#include "alloc/current.h"

#include "abi/greenboost_abi.h"
#include "base/cleanup.h"
#include "driver/driver.h"

bool gb_device_current(CUcontext *context, CUdevice *device)
{
	const struct gb_driver *driver = gb_driver();

	return driver->cuCtxGetCurrent(context) == CUDA_SUCCESS && *context &&
	       driver->cuCtxGetDevice(device) == CUDA_SUCCESS && *device >= 0 && *device < GB_DEVICES_MAX;
}

CUresult gb_context_enter(CUcontext context, bool *pushed)
{
	const struct gb_driver *driver = gb_driver();
	CUcontext current = NULL;

	*pushed = false;
	CUresult result = driver->cuCtxGetCurrent(&current);
	if (result || current == context)
		return result;
	result = driver->cuCtxPushCurrent_v2(context);
	*pushed = result == CUDA_SUCCESS;
	return result;
}

void gb_context_leave(bool *pushed)
{
	CUcontext context;

	if (*pushed)
		GB_INSIST(gb_driver()->cuCtxPopCurrent_v2(&context));
}
