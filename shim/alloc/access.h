/* Who may reach what the program has mapped (cuMemSetAccess), where host memory is mapped among VRAM. */
#ifndef GB_ALLOC_ACCESS_H
#define GB_ALLOC_ACCESS_H

#include <stddef.h>

#include "abi/cuda_subset.h"

/* The driver's own call. If it refuses a range that holds host memory of ours, mapping by mapping: all of them, or none, and
 * then the answer is that of the first call. Any thread. */
CUresult gb_access_set(CUdeviceptr address, size_t size, const CUmemAccessDesc *access, size_t count);

/* A device came into use (gb_split_add_user): host memory that is mapped already is within its reach from now on. */
void gb_access_meet(void);

#endif
