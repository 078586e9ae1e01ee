/* Allocation and freeing while a stream is being captured, and the captured graph over memory past the end of VRAM.
 *
 * usage: capture [--vram SIZE] [--times N] [--device N] [--slack SIZE]
 *
 * Takes two blocks of together --times (default 1.5) the VRAM, then:
 * relaxed: captures memset and copy between them; inside the capture allocates a small block, uses it, asks for too
 *     much (an exbibyte), and frees a block allocated before. Replays the graph three times over changing content.
 * global:  a cuMemAlloc inside the capture must be refused and must not hang; afterwards all goes on as before.
 * async:   cuMemAllocAsync and cuMemFreeAsync on the captured stream are nodes of the graph, where the driver can.
 * Prints a line for each with the driver's own answers, the same with enough VRAM and without, then "ok checksum=HEX".
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "client.h"

enum { PROBE = 1 << 20, SMALL = 64 << 10 };

static struct client_driver driver;
static CUstream stream;
static CUdeviceptr block[2];
static size_t block_size;
static uint64_t sum;

static void add_to_sum(CUdeviceptr at, size_t size)
{
	unsigned char *got = malloc(size);

	CLIENT_CHECK(got, "no memory of our own");
	CLIENT_DO(driver.cuMemcpyDtoH_v2(got, at, size));
	sum = client_checksum(sum, got, size);
	free(got);
}

static void check_byte(CUdeviceptr at, unsigned char value, const char *what)
{
	unsigned char got = (unsigned char)~value;

	CLIENT_DO(driver.cuMemcpyDtoH_v2(&got, at, 1));
	CLIENT_CHECK(got == value, "%s: %02x and not %02x", what, got, value);
}

static void replay(CUgraph graph, bool content)
{
	CUgraphExec exec;

	CLIENT_DO(driver.cuGraphInstantiateWithFlags(&exec, graph, 0));
	for (unsigned char round = 1; round <= 3; round++) {
		CLIENT_DO(driver.cuMemsetD8Async(block[0], round, block_size, stream));
		CLIENT_DO(driver.cuGraphLaunch(exec, stream));
		CLIENT_DO(driver.cuStreamSynchronize(stream));
		if (content) {
			check_byte(block[1], 0xa5, "what the graph's memset wrote");
			check_byte(block[1] + block_size - 1, round, "what the graph copied");
			add_to_sum(block[1] + block_size / 2 - PROBE / 2, PROBE);
		}
	}
	CLIENT_DO(driver.cuGraphExecDestroy(exec));
	CLIENT_DO(driver.cuGraphDestroy(graph));
}

static void relaxed(void)
{
	CUdeviceptr small = 0;
	CUdeviceptr huge = 0;
	CUdeviceptr old;
	CUresult allocated, refused, freed;
	CUgraph graph;

	CLIENT_DO(driver.cuMemAlloc_v2(&old, SMALL));
	CLIENT_DO(driver.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
	CLIENT_DO(driver.cuMemsetD8Async(block[1], 0xa5, block_size, stream));
	CLIENT_DO(driver.cuMemcpyDtoDAsync_v2(block[1] + block_size / 2, block[0] + block_size / 2,
					      block_size - block_size / 2, stream));
	allocated = driver.cuMemAlloc_v2(&small, SMALL);
	if (allocated == CUDA_SUCCESS)
		CLIENT_DO(driver.cuMemsetD8Async(small, 0x3c, SMALL, stream));
	refused = driver.cuMemAlloc_v2(&huge, (size_t)1 << 60);
	freed = driver.cuMemFree_v2(old);
	CLIENT_DO(driver.cuStreamEndCapture(stream, &graph));
	replay(graph, true);
	if (allocated == CUDA_SUCCESS) {
		check_byte(small + SMALL - 1, 0x3c, "a block allocated during capture");
		CLIENT_DO(driver.cuMemFree_v2(small));
	}
	if (freed != CUDA_SUCCESS)
		CLIENT_DO(driver.cuMemFree_v2(old));
	printf("relaxed: allocate %d, too much %d, free %d\n", (int)allocated, (int)refused, (int)freed);
}

static void global(void)
{
	CUdeviceptr at = 0;
	CUresult allocated, ended;
	CUgraph graph = NULL;

	CLIENT_DO(driver.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
	CLIENT_DO(driver.cuMemsetD8Async(block[1], 0xa5, block_size, stream));
	allocated = driver.cuMemAlloc_v2(&at, SMALL);
	ended = driver.cuStreamEndCapture(stream, &graph);
	if (ended == CUDA_SUCCESS)
		CLIENT_DO(driver.cuGraphDestroy(graph));
	if (allocated == CUDA_SUCCESS)
		CLIENT_DO(driver.cuMemFree_v2(at));
	CLIENT_DO(driver.cuMemAlloc_v2(&at, SMALL));
	CLIENT_DO(driver.cuMemsetD8Async(at, 0x77, SMALL, stream));
	CLIENT_DO(driver.cuStreamSynchronize(stream));
	check_byte(at, 0x77, "a block allocated after a capture that failed");
	CLIENT_DO(driver.cuMemFree_v2(at));
	printf("global: allocate %d, end %d\n", (int)allocated, (int)ended);
}

static void async(void)
{
	CUdeviceptr at = 0;
	CUresult allocated, freed = CUDA_SUCCESS, ended;
	CUgraph graph = NULL;

	CLIENT_DO(driver.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
	allocated = driver.cuMemAllocAsync(&at, SMALL, stream);
	if (allocated == CUDA_SUCCESS) {
		CLIENT_DO(driver.cuMemsetD8Async(at, 0x11, SMALL, stream));
		CLIENT_DO(driver.cuMemcpyDtoDAsync_v2(block[1], at, SMALL, stream));
		freed = driver.cuMemFreeAsync(at, stream);
	}
	ended = driver.cuStreamEndCapture(stream, &graph);
	if (ended == CUDA_SUCCESS && allocated == CUDA_SUCCESS) {
		replay(graph, false);
		check_byte(block[1] + SMALL - 1, 0x11, "what a block inside the graph held");
	} else if (ended == CUDA_SUCCESS) {
		CLIENT_DO(driver.cuGraphDestroy(graph));
	}
	printf("async: allocate %d, free %d, end %d\n", (int)allocated, (int)freed, (int)ended);
}

/* What graphs allocated stays the device's until it is trimmed; a driver without that call keeps one small block. */
static size_t kept_by_graphs(int device)
{
	void *libcuda = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
	CUresult (*trim)(CUdevice) = libcuda ? (CUresult (*)(CUdevice))dlsym(libcuda, "cuDeviceGraphMemTrim") : NULL;

	return trim && trim(device) == CUDA_SUCCESS ? 0 : SMALL;
}

int main(int argc, char **argv)
{
	struct client_options options =
		client_options(argc, argv, "[--vram SIZE] [--times N] [--device N] [--slack SIZE]");
	size_t before, after, total, kept;

	client_door_dlopen(&driver, RTLD_LOCAL);
	client_start(&driver, options.device);
	CLIENT_DO(driver.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	CLIENT_DO(driver.cuMemGetInfo_v2(&before, &total));
	block_size = client_bytes(&driver, &options, 1.5) / 2;
	for (int i = 0; i < 2; i++)
		CLIENT_DO(driver.cuMemAlloc_v2(&block[i], block_size));
	relaxed();
	global();
	async();
	for (int i = 0; i < 2; i++)
		CLIENT_DO(driver.cuMemFree_v2(block[i]));
	CLIENT_DO(driver.cuStreamDestroy_v2(stream));
	kept = kept_by_graphs(options.device);
	CLIENT_DO(driver.cuMemGetInfo_v2(&after, &total));
	after += kept;
	CLIENT_CHECK(after + options.slack >= before, "%zu bytes free before, %zu after", before, after);
	CLIENT_DO(driver.cuDevicePrimaryCtxRelease_v2(options.device));
	printf("ok checksum=%016llx\n", (unsigned long long)sum);
	return 0;
}
