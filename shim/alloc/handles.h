/* The spine for programs that manage virtual memory themselves (cuda.h, "Virtual Memory Management"): what a handle is made
 * of, and when its memory is gone.
 *
 * Memory asked for on a device comes from its VRAM, in the driver's own call, as long as that fits; then from host memory,
 * in a handle that the program maps, opens to devices and releases as any other. It is told of such a handle what it asked
 * for. The driver makes each call, and its answer is the hook's; what is kept here are the books (ledger/handle_table.h).
 * Handles that are not made here (imported, of other kinds) are the driver's alone. Any thread. */
#ifndef GB_ALLOC_HANDLES_H
#define GB_ALLOC_HANDLES_H

#include <stddef.h>

#include "abi/cuda_subset.h"

/* cuMemCreate, of pinned memory on a device below GB_DEVICES_MAX. CUDA_ERROR_OUT_OF_MEMORY (2), exactly, where there is no
 * room; another error of the driver's is passed on as it is. */
CUresult gb_handle_create(CUmemGenericAllocationHandle *value, size_t size, const CUmemAllocationProp *asked);
CUresult gb_handle_release(CUmemGenericAllocationHandle value);
CUresult gb_handle_retain(CUmemGenericAllocationHandle *value, void *address);

CUresult gb_handle_map(CUdeviceptr address, size_t size, size_t offset, CUmemGenericAllocationHandle value,
		       unsigned long long flags);
/* One mapping, or several that follow each other: all or none. */
CUresult gb_handle_unmap(CUdeviceptr address, size_t size);

CUresult gb_handle_properties(CUmemAllocationProp *told, CUmemGenericAllocationHandle value);
CUresult gb_handle_export(void *shareable, CUmemGenericAllocationHandle value, CUmemAllocationHandleType type,
			  unsigned long long flags);
CUresult gb_handle_import(CUmemGenericAllocationHandle *value, void *shareable, CUmemAllocationHandleType type);

#endif
