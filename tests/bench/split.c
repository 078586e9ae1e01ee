/* What one large allocation in chunks costs: asked of cuMemAlloc, which the shim splits, or made of the same driver calls by
 * this program itself.
 *
 * usage: split shim|own BLOCK_BYTES CHUNK_BYTES BLOCKS REPETITIONS
 *
 * Prints one JSON object: for every repetition the nanoseconds of allocating and freeing one block (`allocate_free`), and
 * the heap that this process has taken for BLOCKS blocks at once (`heap_bytes`), the driver's own included. */
#include <dlfcn.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "abi/cuda_subset.h"

static struct {
#define GB_CUDA_HOOK(symbol, name, version, stream, parameters, arguments) CUresult(*symbol) parameters;
#define GB_NVML_HOOK(symbol, parameters, arguments)
#include "hooks.def"
#undef GB_CUDA_HOOK
#undef GB_NVML_HOOK
#define GB_CUDA_CALL(symbol, parameters) CUresult(*symbol) parameters;
#define GB_NVML_CALL(symbol, parameters)
#include "driver.def"
#undef GB_CUDA_CALL
#undef GB_NVML_CALL
} driver;

static size_t block_bytes, chunk_bytes;

static void fail(const char *what)
{
	fprintf(stderr, "split: %s\n", what);
	exit(1);
}

static void must(CUresult result, const char *what)
{
	if (result != CUDA_SUCCESS)
		fail(what);
}

static void find_all(void)
{
	void *libcuda = dlopen("libcuda.so.1", RTLD_NOW);

	if (!libcuda)
		fail(dlerror());
#define GB_CUDA_HOOK(symbol, name, version, stream, parameters, arguments) \
	*(void **)&driver.symbol = dlsym(libcuda, #symbol);
#define GB_NVML_HOOK(symbol, parameters, arguments)
#include "hooks.def"
#undef GB_CUDA_HOOK
#undef GB_NVML_HOOK
#define GB_CUDA_CALL(symbol, parameters) *(void **)&driver.symbol = dlsym(libcuda, #symbol);
#define GB_NVML_CALL(symbol, parameters)
#include "driver.def"
#undef GB_CUDA_CALL
#undef GB_NVML_CALL
	CUcontext context;
	CUresult (*init)(unsigned int);
	CUresult (*set_current)(CUcontext);
	*(void **)&init = dlsym(libcuda, "cuInit");
	*(void **)&set_current = dlsym(libcuda, "cuCtxSetCurrent");
	must(init(0), "cuInit");
	must(driver.cuDevicePrimaryCtxRetain(&context, 0), "cuDevicePrimaryCtxRetain");
	must(set_current(context), "cuCtxSetCurrent");
}

static CUdeviceptr take_whole(void)
{
	CUdeviceptr base;

	must(driver.cuMemAlloc_v2(&base, block_bytes), "cuMemAlloc");
	return base;
}

static void give_whole(CUdeviceptr base)
{
	must(driver.cuMemFree_v2(base), "cuMemFree");
}

/* Every other chunk in host memory, as half of it in VRAM comes to. */
static CUdeviceptr take_chunks(void)
{
	const CUmemAccessDesc access = {{CU_MEM_LOCATION_TYPE_DEVICE, 0}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
	CUdeviceptr base;

	must(driver.cuMemAddressReserve(&base, block_bytes, 0, 0, 0), "cuMemAddressReserve");
	for (size_t at = 0; at < block_bytes; at += chunk_bytes) {
		CUmemGenericAllocationHandle handle;
		CUmemAllocationProp prop = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
					    .location = {at / chunk_bytes % 2 ? CU_MEM_LOCATION_TYPE_DEVICE
									      : CU_MEM_LOCATION_TYPE_HOST_NUMA,
							 0}};
		must(driver.cuMemCreate(&handle, chunk_bytes, &prop, 0), "cuMemCreate");
		must(driver.cuMemMap(base + at, chunk_bytes, 0, handle, 0), "cuMemMap");
		must(driver.cuMemRelease(handle), "cuMemRelease");
	}
	must(driver.cuMemSetAccess(base, block_bytes, &access, 1), "cuMemSetAccess");
	return base;
}

static void give_chunks(CUdeviceptr base)
{
	must(driver.cuCtxSynchronize(), "cuCtxSynchronize");
	must(driver.cuMemUnmap(base, block_bytes), "cuMemUnmap");
	must(driver.cuMemAddressFree(base, block_bytes), "cuMemAddressFree");
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
	if (argc != 6)
		fail("usage: split shim|own BLOCK_BYTES CHUNK_BYTES BLOCKS REPETITIONS");
	bool own = !strcmp(argv[1], "own");
	CUdeviceptr (*take)(void) = own ? take_chunks : take_whole;
	void (*give)(CUdeviceptr) = own ? give_chunks : give_whole;
	block_bytes = strtoull(argv[2], NULL, 10);
	chunk_bytes = strtoull(argv[3], NULL, 10);
	int blocks = atoi(argv[4]);
	int repetitions = atoi(argv[5]);
	if (!chunk_bytes || block_bytes % chunk_bytes || blocks < 1 || repetitions < 1)
		fail("whole chunks, and some");
	CUdeviceptr *held = calloc((size_t)blocks, sizeof *held);

	find_all();
	give(take());
	printf("{\"allocate_free\": [");
	for (int n = 0; n < repetitions; n++) {
		uint64_t start = now_ns();
		give(take());
		printf("%s%llu", n ? ", " : "", (unsigned long long)(now_ns() - start));
	}
	size_t before = mallinfo2().uordblks;
	for (int i = 0; held && i < blocks; i++)
		held[i] = take();
	printf("], \"heap_bytes\": %zu}\n", mallinfo2().uordblks - before);
	for (int i = 0; held && i < blocks; i++)
		give(held[i]);
	free(held);
	return 0;
}
