/* Stream-ordered memory past the end of VRAM: work queued before a free is done before the memory goes.
 *
 * usage: stream_order [--vram SIZE] [--times N] [--count ROUNDS] [--device N] [--slack SIZE]
 *
 * Each round (default 20), with blocks of a third of --times (default 1.5) the VRAM:
 * reuse:   allocate, fill, copy out, cuMemFreeAsync, allocate anew and fill with something else, all queued at once.
 * across:  allocated on one stream, used on another after an event, freed on that.
 * waiting: allocated with cuMemAlloc, freed with cuMemFree while the copy out of it is queued: that waits.
 * cross:   allocated with cuMemAllocAsync and freed with cuMemFree, which does not wait for such memory: after its work.
 * mixed:   allocated with cuMemAlloc, freed with cuMemFreeAsync while the copy out of it is queued.
 * per thread: as reuse, on the per-thread default stream.
 * The simulated driver's FAKECUDA_DEFER keeps work back so that order shows. Prints "ok rounds=N". */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

static struct client_driver driver;
static CUstream streams[2];
static CUdeviceptr out; /* half a block: what is copied out */
static size_t size, out_size;

static void check_out(unsigned char value, const char *what)
{
	static unsigned char got[1 << 16];

	for (size_t at = 0; at < out_size; at += sizeof got) {
		size_t piece = out_size - at < sizeof got ? out_size - at : sizeof got;

		CLIENT_DO(driver.cuMemcpyDtoH_v2(got, out + at, piece));
		CLIENT_CHECK(got[0] == value && memcmp(got, got + 1, piece - 1) == 0,
			     "%s: byte %zu is %02x and not %02x", what, at, got[0], value);
	}
}

static void check_bytes(CUdeviceptr at, unsigned char value, const char *what)
{
	unsigned char got[2];

	CLIENT_DO(driver.cuMemcpyDtoH_v2(&got[0], at, 1));
	CLIENT_DO(driver.cuMemcpyDtoH_v2(&got[1], at + size - 1, 1));
	CLIENT_CHECK(got[0] == value && got[1] == value, "%s: %02x, %02x and not %02x", what, got[0], got[1], value);
}

static void reuse(unsigned char value)
{
	CUdeviceptr first, second, third;

	CLIENT_DO(driver.cuMemAllocAsync(&first, size, streams[0]));
	CLIENT_DO(driver.cuMemsetD8Async(first, value, size, streams[0]));
	CLIENT_DO(driver.cuMemcpyDtoDAsync_v2(out, first + size - out_size, out_size, streams[0]));
	CLIENT_DO(driver.cuMemFreeAsync(first, streams[0]));
	CLIENT_DO(driver.cuMemAllocAsync(&second, size, streams[0]));
	CLIENT_DO(driver.cuMemAllocAsync(&third, size, streams[0]));
	CLIENT_DO(driver.cuMemsetD8Async(second, (unsigned char)~value, size, streams[0]));
	CLIENT_DO(driver.cuMemsetD8Async(third, 0x5a, size, streams[0]));
	CLIENT_DO(driver.cuStreamSynchronize(streams[0]));
	check_out(value, "reuse");
	check_bytes(second, (unsigned char)~value, "the second block");
	check_bytes(third, 0x5a, "the third block");
	CLIENT_DO(driver.cuMemFreeAsync(second, streams[0]));
	CLIENT_DO(driver.cuMemFreeAsync(third, streams[0]));
}

static void reuse_per_thread(unsigned char value)
{
	CUdeviceptr first, second;

	CLIENT_DO(driver.cuMemAllocAsync_ptsz(&first, size, NULL));
	CLIENT_DO(driver.cuMemsetD8Async_ptsz(first, value, size, NULL));
	CLIENT_DO(driver.cuMemcpyDtoDAsync_v2_ptsz(out, first, out_size, NULL));
	CLIENT_DO(driver.cuMemFreeAsync_ptsz(first, NULL));
	CLIENT_DO(driver.cuMemAllocAsync_ptsz(&second, size, NULL));
	CLIENT_DO(driver.cuMemsetD8Async_ptsz(second, (unsigned char)~value, size, NULL));
	CLIENT_DO(driver.cuStreamSynchronize_ptsz(NULL));
	check_out(value, "reuse on the per-thread stream");
	check_bytes(second, (unsigned char)~value, "the second block of the per-thread stream");
	CLIENT_DO(driver.cuMemFreeAsync_ptsz(second, NULL));
}

static void across(unsigned char value)
{
	CUdeviceptr at;
	CUevent event;

	CLIENT_DO(driver.cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
	CLIENT_DO(driver.cuMemAllocAsync(&at, size, streams[0]));
	CLIENT_DO(driver.cuMemsetD8Async(at, value, size, streams[0]));
	CLIENT_DO(driver.cuEventRecord(event, streams[0]));
	CLIENT_DO(driver.cuStreamWaitEvent(streams[1], event, 0));
	CLIENT_DO(driver.cuMemcpyDtoDAsync_v2(out, at, out_size, streams[1]));
	CLIENT_DO(driver.cuMemFreeAsync(at, streams[1]));
	CLIENT_DO(driver.cuStreamSynchronize(streams[1]));
	CLIENT_DO(driver.cuEventDestroy_v2(event));
	check_out(value, "across streams");
}

static void waiting(unsigned char value)
{
	CUdeviceptr at;

	CLIENT_DO(driver.cuMemAlloc_v2(&at, size));
	CLIENT_DO(driver.cuMemsetD8Async(at, value, size, streams[0]));
	CLIENT_DO(driver.cuMemcpyDtoDAsync_v2(out, at + 3, out_size, streams[0]));
	CLIENT_DO(driver.cuMemFree_v2(at));
	CLIENT_DO(driver.cuStreamSynchronize(streams[0]));
	check_out(value, "freed with cuMemFree");
}

static void cross(unsigned char value)
{
	CUdeviceptr at;

	CLIENT_DO(driver.cuMemAllocAsync(&at, size, streams[0]));
	CLIENT_DO(driver.cuMemsetD8Async(at, value, size, streams[0]));
	CLIENT_DO(driver.cuMemcpyDtoDAsync_v2(out, at + 1, out_size, streams[0]));
	CLIENT_DO(driver.cuStreamSynchronize(streams[0]));
	CLIENT_DO(driver.cuMemFree_v2(at));
	check_out(value, "of a pool, freed with cuMemFree");
}

static void mixed(unsigned char value)
{
	CUdeviceptr at;

	CLIENT_DO(driver.cuMemAlloc_v2(&at, size));
	CLIENT_DO(driver.cuMemsetD8Async(at, value, size, streams[0]));
	CLIENT_DO(driver.cuMemcpyDtoDAsync_v2(out, at + 2, out_size, streams[0]));
	CLIENT_DO(driver.cuMemFreeAsync(at, streams[0]));
	CLIENT_DO(driver.cuStreamSynchronize(streams[0]));
	check_out(value, "freed with cuMemFreeAsync");
}

int main(int argc, char **argv)
{
	struct client_options options =
		client_options(argc, argv, "[--vram SIZE] [--times N] [--count ROUNDS] [--device N] [--slack SIZE]");
	long rounds = options.count ? options.count : 20;
	size_t before, after, total;
	CUmemoryPool pool;

	client_door_dlopen(&driver, RTLD_LOCAL);
	client_start(&driver, options.device);
	for (int i = 0; i < 2; i++)
		CLIENT_DO(driver.cuStreamCreate(&streams[i], CU_STREAM_NON_BLOCKING));
	CLIENT_DO(driver.cuMemGetInfo_v2(&before, &total));
	size = client_bytes(&driver, &options, 1.5) / 3;
	out_size = size / 2;
	CLIENT_DO(driver.cuMemAlloc_v2(&out, out_size));
	for (long i = 0; i < rounds; i++) {
		unsigned char value = (unsigned char)(i * 5);

		reuse(value);
		across((unsigned char)(value + 1));
		cross((unsigned char)(value + 2));
		mixed((unsigned char)(value + 3));
		waiting((unsigned char)(value + 4));
		reuse_per_thread((unsigned char)(value + 5));
	}
	CLIENT_DO(driver.cuMemFree_v2(out));
	for (int i = 0; i < 2; i++)
		CLIENT_DO(driver.cuStreamDestroy_v2(streams[i]));
	CLIENT_DO(driver.cuCtxSynchronize());
	CLIENT_DO(driver.cuDeviceGetDefaultMemPool(&pool, options.device));
	CLIENT_DO(driver.cuMemPoolTrimTo(pool, 0));
	CLIENT_DO(driver.cuMemGetInfo_v2(&after, &total));
	CLIENT_CHECK(after + options.slack >= before, "%zu bytes free before, %zu after", before, after);
	CLIENT_DO(driver.cuDevicePrimaryCtxRelease_v2(options.device));
	printf("ok rounds=%ld\n", rounds);
	return 0;
}
