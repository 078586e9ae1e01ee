/* The end of a context takes its memory along: so go the records.
 *
 * Each function makes the real call first and drops records after it: until the call has succeeded the program's blocks are
 * alive. Only records older than the call go: meanwhile another thread may have begun anew in a fresh context. */
#ifndef GB_ALLOC_CONTEXTS_H
#define GB_ALLOC_CONTEXTS_H

#include "abi/cuda_subset.h"

typedef CUresult gb_context_call(CUcontext context);
typedef CUresult gb_device_call(CUdevice device);

/* cuCtxDestroy and cuCtxDetach. Stream-ordered allocations outlive their context (cuda.h, cuCtxDestroy). */
CUresult gb_context_destroy(gb_context_call *call, CUcontext context);

/* cuDevicePrimaryCtxRelease and cuDevicePrimaryCtxReset: the context is gone if the device says it is not active any more. */
CUresult gb_primary_context_end(gb_device_call *call, CUdevice device);

#endif
