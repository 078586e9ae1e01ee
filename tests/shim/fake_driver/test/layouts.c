/* Prints the size and the offsets of every structure that cuda_api.h restates: once from it, and once (-DFK_VENDOR)
 * from the vendor's cuda.h, to be compared. Members are named in the vendor's words; where ours differ a macro says
 * so. */
#include <stddef.h>
#include <stdio.h>

#ifdef FK_VENDOR
#include <cuda.h>
#define OURS(theirs, ours) theirs
#else
#include "../cuda_api.h"
#define OURS(theirs, ours) ours
typedef CUDA_MEMCPY3D CUDA_MEMCPY3D_PEER;
#endif

#define SIZE(type) printf("%s %zu\n", #type, sizeof(type))
#define AT(type, member) printf("%s.%s %zu\n", #type, #member, offsetof(type, member))
#define AT_AS(type, theirs, ours) printf("%s.%s %zu\n", #type, #theirs, offsetof(type, OURS(theirs, ours)))
#define VALUE(name) printf("%s %lld\n", #name, (long long)(name))

static void print_memory(void)
{
	SIZE(CUuuid);
	SIZE(CUipcMemHandle);
	SIZE(CUmemLocation);
	AT(CUmemLocation, id);
	SIZE(CUmemAccessDesc);
	AT(CUmemAccessDesc, flags);
	SIZE(CUmemAllocationProp);
	AT(CUmemAllocationProp, requestedHandleTypes);
	AT(CUmemAllocationProp, location);
	AT(CUmemAllocationProp, allocFlags);
	SIZE(CUmemPoolProps);
	AT(CUmemPoolProps, handleTypes);
	AT(CUmemPoolProps, location);
	AT(CUmemPoolProps, maxSize);
	SIZE(CUDA_POINTER_ATTRIBUTE_P2P_TOKENS);
	SIZE(CUdevprop);
	AT(CUdevprop, textureAlign);
	SIZE(CUgraphEdgeData);
	SIZE(CUDA_HOST_NODE_PARAMS);
	SIZE(CUDA_GRAPH_INSTANTIATE_PARAMS);
	AT(CUDA_GRAPH_INSTANTIATE_PARAMS, hErrNode_out);
	AT(CUDA_GRAPH_INSTANTIATE_PARAMS, result_out);
	SIZE(CUexecAffinityParam);
	SIZE(CUctxCreateParams);
	AT_AS(CUctxCreateParams, numExecAffinityParams, affinity_count);
	AT_AS(CUctxCreateParams, cigParams, cig);
}

static void print_copies(void)
{
	SIZE(CUDA_MEMCPY2D);
	AT(CUDA_MEMCPY2D, srcMemoryType);
	AT(CUDA_MEMCPY2D, srcPitch);
	AT(CUDA_MEMCPY2D, dstMemoryType);
	AT(CUDA_MEMCPY2D, dstDevice);
	AT(CUDA_MEMCPY2D, Height);
	SIZE(CUDA_MEMCPY3D);
	AT(CUDA_MEMCPY3D, srcDevice);
	AT(CUDA_MEMCPY3D, srcPitch);
	AT(CUDA_MEMCPY3D, dstLOD);
	AT(CUDA_MEMCPY3D, dstHeight);
	AT(CUDA_MEMCPY3D, Depth);
	SIZE(CUDA_MEMCPY3D_PEER);
	AT(CUDA_MEMCPY3D_PEER, srcContext);
	AT(CUDA_MEMCPY3D_PEER, dstContext);
	AT(CUDA_MEMCPY3D_PEER, Depth);
}

static void print_values(void)
{
#define FK_ERROR(value, name, text) VALUE(CUDA_##name);
#include "../errors.def"
	VALUE(CU_MEMORYTYPE_UNIFIED);
	VALUE(CU_MEM_LOCATION_TYPE_HOST);
	VALUE(CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT);
	VALUE(CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
	VALUE(CU_MEM_ADVISE_UNSET_ACCESSED_BY);
	VALUE(CU_STREAM_CAPTURE_STATUS_INVALIDATED);
	VALUE(CU_STREAM_CAPTURE_MODE_RELAXED);
	VALUE(CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
	VALUE(CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM);
	VALUE(CU_GRAPH_NODE_TYPE_HOST);
	VALUE(CU_GRAPH_NODE_TYPE_MEM_FREE);
	VALUE(CU_POINTER_ATTRIBUTE_MAPPED);
	VALUE(CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID);
	VALUE(CU_MEMHOSTALLOC_WRITECOMBINED);
	VALUE(CU_EVENT_INTERPROCESS);
}

int main(void)
{
	print_memory();
	print_copies();
	print_values();
	return 0;
}
