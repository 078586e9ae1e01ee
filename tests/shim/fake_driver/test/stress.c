/* Eight threads use the simulated driver at once, each checking its own results: for the thread and address sanitizers.
 * Prints "ok" and leaves nothing behind. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prototypes.h"

#define THREADS 8
#define ROUNDS 60
#define WORDS 4096u

#define CHECK(call)                                                                                       \
	do {                                                                                              \
		CUresult check_result = (call);                                                           \
		if (check_result != CUDA_SUCCESS) {                                                       \
			fprintf(stderr, "%s:%d: %s: %d\n", __FILE__, __LINE__, #call, (int)check_result); \
			exit(1);                                                                          \
		}                                                                                         \
	} while (0)
#define REQUIRE(condition)                                                                      \
	do {                                                                                    \
		if (!(condition)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			exit(1);                                                                \
		}                                                                               \
	} while (0)

static CUcontext shared;

static void count(void *data)
{
	++*(unsigned int *)data;
}

static void use_device_memory(CUstream stream, unsigned int value)
{
	unsigned int *pinned, called = 0;
	CUdeviceptr plain, pooled;

	CHECK(cuMemHostAlloc((void **)&pinned, WORDS * 4, 0));
	CHECK(cuMemAlloc_v2(&plain, WORDS * 4));
	CHECK(cuMemAllocAsync(&pooled, WORDS * 4, stream));
	CHECK(cuMemsetD32Async(pooled, value, WORDS, stream));
	CHECK(cuMemcpyDtoDAsync_v2(plain, pooled, WORDS * 4, stream));
	CHECK(cuMemFreeAsync(pooled, stream));
	CHECK(cuMemcpyDtoHAsync_v2(pinned, plain, WORDS * 4, stream));
	CHECK(cuLaunchHostFunc(stream, count, &called));
	CHECK(cuStreamSynchronize(stream));
	REQUIRE(called == 1 && pinned[0] == value && pinned[WORDS - 1] == value);
	CHECK(cuMemFree_v2(plain));
	CHECK(cuMemFreeHost(pinned));
}

static void use_registered_memory(CUstream stream, unsigned int value)
{
	unsigned int *memory = aligned_alloc(4096, WORDS * 4);
	CUdeviceptr address;
	CUevent event;

	CHECK(cuMemHostRegister_v2(memory, WORDS * 4, 0));
	CHECK(cuMemHostGetDevicePointer_v2(&address, memory, 0));
	CHECK(cuMemsetD32Async(address, value, WORDS, stream));
	CHECK(cuEventCreate(&event, 0));
	CHECK(cuEventRecord(event, stream));
	while (cuEventQuery(event) == CUDA_ERROR_NOT_READY)
		;
	REQUIRE(memory[WORDS / 2] == value);
	CHECK(cuEventDestroy_v2(event));
	CHECK(cuMemHostUnregister(memory));
	free(memory);
}

static void use_mapped_memory(CUstream stream, unsigned int value)
{
	CUmemAllocationProp properties = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
					  .location = {CU_MEM_LOCATION_TYPE_HOST_NUMA, 0}};
	CUmemAccessDesc access[] = {{{CU_MEM_LOCATION_TYPE_DEVICE, 0}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE},
				    {{CU_MEM_LOCATION_TYPE_HOST_NUMA, 0}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE}};
	size_t size = 2u << 20;
	CUmemGenericAllocationHandle handle;
	CUdeviceptr address;

	CHECK(cuMemAddressReserve(&address, size, 0, 0, 0));
	CHECK(cuMemCreate(&handle, size, &properties, 0));
	CHECK(cuMemMap(address, size, 0, handle, 0));
	CHECK(cuMemRelease(handle));
	CHECK(cuMemSetAccess(address, size, access, 2));
	CHECK(cuMemsetD32Async(address, value, WORDS, stream));
	CHECK(cuStreamSynchronize(stream)); /* not the context: another thread may be capturing */
	REQUIRE(*(volatile unsigned int *)(uintptr_t)address == value);
	CHECK(cuMemUnmap(address, size));
	CHECK(cuMemAddressFree(address, size));
}

static void use_graph(CUstream stream, unsigned int value)
{
	CUdeviceptr memory, answer;
	unsigned int got = 0;
	CUgraphExec exec;
	CUgraph graph;

	CHECK(cuMemAlloc_v2(&answer, 4));
	CHECK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
	CHECK(cuMemAllocAsync(&memory, 64, stream));
	CHECK(cuMemsetD32Async(memory, value, 16, stream));
	CHECK(cuMemcpyDtoDAsync_v2(answer, memory + 60, 4, stream));
	CHECK(cuMemFreeAsync(memory, stream));
	CHECK(cuStreamEndCapture(stream, &graph));
	CHECK(cuGraphInstantiateWithFlags(&exec, graph, 0));
	CHECK(cuGraphLaunch(exec, stream));
	CHECK(cuGraphLaunch(exec, stream));
	CHECK(cuStreamSynchronize(stream));
	CHECK(cuMemcpyDtoH_v2(&got, answer, 4));
	REQUIRE(got == value);
	CHECK(cuGraphExecDestroy(exec));
	CHECK(cuGraphDestroy(graph));
	CHECK(cuMemFree_v2(answer));
}

static void *work(void *number)
{
	unsigned int me = (unsigned int)(uintptr_t)number;
	CUstream stream;

	CHECK(cuCtxSetCurrent(shared));
	CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	for (unsigned int round = 0; round < ROUNDS; round++) {
		use_device_memory(stream, me << 16 | round);
		use_registered_memory(stream, me << 17 | round);
		use_mapped_memory(stream, me << 18 | round);
		use_graph(stream, me << 19 | round);
	}
	CHECK(cuStreamDestroy_v2(stream));
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];

	CHECK(cuInit(0));
	CHECK(cuDevicePrimaryCtxRetain(&shared, 0));
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, work, (void *)(i + 1));
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK(cuDevicePrimaryCtxRelease_v2(0));
	puts("ok");
	return 0;
}
