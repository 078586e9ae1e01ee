/* A chunk: memory of one place, a handle of the driver's virtual memory management (cuda.h, "Virtual Memory Management").
 *
 * Handles are released as soon as they are mapped: the mapping keeps the memory (cuMemRelease), so nothing is stored for a
 * chunk but where it lies. Sizes and addresses are whole granules. Any thread; no lock. */
#ifndef GB_TIER_CHUNK_H
#define GB_TIER_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/cuda_subset.h"

/* The granule of this device's memory and of host memory beside it, in bytes; 0 where there is no virtual memory
 * management. Asked once. */
uint64_t gb_chunk_granularity(CUdevice device);

/* Where host memory for this device comes from: its own NUMA node (HOST_NUMA_ID), else HOST. Found by creating one
 * granule, once. False where the driver gives none. */
bool gb_chunk_host_location(CUdevice device, CUmemLocation *location);

/* Creates `size` bytes at the location and maps them at `at`, which is reserved and unmapped. Access is not set yet. On
 * failure nothing is held; CUDA_ERROR_OUT_OF_MEMORY where the location has no room. */
CUresult gb_chunk_map(CUdeviceptr at, size_t size, const CUmemLocation *location);

/* The location's properties as cuMemCreate wants them. */
CUmemAllocationProp gb_chunk_properties(const CUmemLocation *location);

/* Whether the answer says that the driver does not give or map that kind of memory, rather than none now. */
static inline bool gb_chunk_is_refusal(CUresult result)
{
	return result == CUDA_ERROR_INVALID_VALUE || result == CUDA_ERROR_INVALID_DEVICE ||
	       result == CUDA_ERROR_NOT_PERMITTED || result == CUDA_ERROR_NOT_SUPPORTED;
}

/* Read and write access for `device` and for the peers in `peers` (bit: ordinal) to [at, at+size), all of it mapped. */
CUresult gb_chunk_set_access(CUdeviceptr at, size_t size, CUdevice device, uint32_t peers);

#endif
