/* The spine: one way in for every allocation, one way out for every release. */
#ifndef GB_ALLOC_ALLOCATE_H
#define GB_ALLOC_ALLOCATE_H

#include "tier/tier.h"

/* Serves the request from the first tier that can: placement -> account -> grant -> tier -> ledger, unwound in reverse where
 * a step fails. On success *dptr (and call->pitch) is set; on failure nothing is held and *dptr is untouched.
 * CUDA_ERROR_OUT_OF_MEMORY (2), exactly, when no tier has room; another error of the driver's is passed on as it is. */
CUresult gb_allocate(struct gb_call *call, CUdeviceptr *dptr);

/* The program's own managed memory: the real call, and its bytes on the books. */
CUresult gb_allocate_managed(CUdeviceptr *dptr, size_t size, unsigned int flags);

/* cuMemFree, for anything. Of a fallback block: after all work of its context, or once no stream is being captured. */
CUresult gb_release(CUdeviceptr dptr);

/* cuMemFreeAsync, for anything: behind what `stream` was given so far. */
CUresult gb_release_async(CUdeviceptr dptr, CUstream stream);

#endif
