/* Prototypes of the driver that null_driver.c and null_driver_rest.c make up together. */
#ifndef NULL_DRIVER_H
#define NULL_DRIVER_H

#include <stdbool.h>

#include "abi/cuda_subset.h"

#define GB_CUDA_HOOK(symbol, name, version, stream, parameters, arguments) CUresult symbol parameters;
#define GB_NVML_HOOK(symbol, parameters, arguments)
#include "hooks.def"
#undef GB_CUDA_HOOK
#undef GB_NVML_HOOK

#define GB_CUDA_CALL(symbol, parameters) CUresult symbol parameters;
#define GB_NVML_CALL(symbol, parameters)
#include "driver.def"
#undef GB_CUDA_CALL
#undef GB_NVML_CALL

/* What a program calls and the shim does not. */
CUresult cuInit(unsigned int flags);
CUresult cuDriverGetVersion(int *version);
CUresult cuDeviceGet(CUdevice *device, int ordinal);
CUresult cuCtxCreate_v2(CUcontext *context, unsigned int flags, CUdevice device);
CUresult cuCtxSetCurrent(CUcontext context);
CUresult cuCtxGetId(CUcontext context, unsigned long long *id);
CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice device);

/* The hooked function of that name as of that version, or NULL; thread-safe. */
void *null_driver_find(const char *name, int version, bool per_thread);

#endif
