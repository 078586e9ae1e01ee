#include "tier/chunk.h"

#include <stdatomic.h>

#include "abi/greenboost_abi.h"
#include "base/cleanup.h"
#include "driver/driver.h"

enum { PEERS_MAX = GB_DEVICES_MAX };

static _Atomic uint64_t granularities[GB_DEVICES_MAX]; /* 0: not asked yet; ABSENT: none */
#define ABSENT UINT64_MAX

CUmemAllocationProp gb_chunk_properties(const CUmemLocation *location)
{
	return (CUmemAllocationProp){.type = CU_MEM_ALLOCATION_TYPE_PINNED, .location = *location};
}

static uint64_t location_granularity(const CUmemLocation *location)
{
	CUmemAllocationProp properties = gb_chunk_properties(location);
	size_t bytes = 0;

	return gb_driver()->cuMemGetAllocationGranularity(&bytes, &properties, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED)
		       ? 0
		       : bytes;
}

uint64_t gb_chunk_granularity(CUdevice device)
{
	uint64_t known = atomic_load_explicit(&granularities[device], memory_order_relaxed);
	int supported = 0;

	if (known)
		return known == ABSENT ? 0 : known;
	/* A failure may be passing: it is not remembered. */
	if (gb_driver()->cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED,
					      device))
		return 0;
	if (supported)
		known = location_granularity(&(CUmemLocation){CU_MEM_LOCATION_TYPE_DEVICE, device});
	atomic_store_explicit(&granularities[device], supported ? known : ABSENT, memory_order_relaxed);
	return known;
}

/* Whether the driver gives memory there, in granules of the device's. */
static bool gives(const CUmemLocation *location, uint64_t granularity)
{
	CUmemAllocationProp properties = gb_chunk_properties(location);
	CUmemGenericAllocationHandle handle;
	uint64_t own = location_granularity(location);

	if (!own || granularity % own || gb_driver()->cuMemCreate(&handle, granularity, &properties, 0))
		return false;
	return GB_INSIST(gb_driver()->cuMemRelease(handle)) == CUDA_SUCCESS;
}

/* What was found: 0 not looked for, -1 none, -2 HOST, otherwise the node + 1. Not found is looked for again: the failure may
 * have been passing. */
static _Atomic int locations[GB_DEVICES_MAX];
enum { NOT_LOOKED_FOR = 0, PLAIN_HOST = -2 };

static int find_location(CUdevice device)
{
	const uint64_t granularity = gb_chunk_granularity(device);
	int node = -1;

	if (!granularity)
		return NOT_LOOKED_FOR;
	/* A node without memory gives none, and a driver that does not know the attribute has an error for it. */
	if (!gb_driver()->cuDeviceGetAttribute(&node, CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID, device) && node >= 0 &&
	    gives(&(CUmemLocation){CU_MEM_LOCATION_TYPE_HOST_NUMA, node}, granularity))
		return node + 1;
	/* "HOST_NUMA ... id 0 on a system without NUMA" (cuda.h, CUmemLocation); HOST is the younger of the two. */
	if (gives(&(CUmemLocation){CU_MEM_LOCATION_TYPE_HOST, 0}, granularity))
		return PLAIN_HOST;
	return gives(&(CUmemLocation){CU_MEM_LOCATION_TYPE_HOST_NUMA, 0}, granularity) ? 1 : NOT_LOOKED_FOR;
}

bool gb_chunk_host_location(CUdevice device, CUmemLocation *location)
{
	int known = atomic_load_explicit(&locations[device], memory_order_relaxed);

	if (known == NOT_LOOKED_FOR) {
		known = find_location(device);
		atomic_store_explicit(&locations[device], known, memory_order_relaxed);
	}
	if (known == NOT_LOOKED_FOR)
		return false;
	*location = known == PLAIN_HOST ? (CUmemLocation){CU_MEM_LOCATION_TYPE_HOST, 0}
					: (CUmemLocation){CU_MEM_LOCATION_TYPE_HOST_NUMA, known - 1};
	return true;
}

CUresult gb_chunk_map(CUdeviceptr at, size_t size, const CUmemLocation *location)
{
	const struct gb_driver *driver = gb_driver();
	CUmemAllocationProp properties = gb_chunk_properties(location);
	CUmemGenericAllocationHandle handle;
	CUresult result = driver->cuMemCreate(&handle, size, &properties, 0);

	if (result)
		return result;
	result = driver->cuMemMap(at, size, 0, handle, 0);
	CUresult released = GB_INSIST(driver->cuMemRelease(handle));
	if (!result && released)
		GB_INSIST(driver->cuMemUnmap(at, size));
	return result ? result : released;
}

CUresult gb_chunk_set_access(CUdeviceptr at, size_t size, CUdevice device, uint32_t peers)
{
	CUmemAccessDesc access[PEERS_MAX];
	size_t count = 0;

	for (CUdevice id = 0; id < PEERS_MAX; id++) {
		if (id == device || (peers >> id & 1))
			access[count++] = (CUmemAccessDesc){{CU_MEM_LOCATION_TYPE_DEVICE, id},
							    CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
	}
	return gb_driver()->cuMemSetAccess(at, size, access, count);
}
