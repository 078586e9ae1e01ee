/* Contexts and devices that end while they hold memory, and what goes on after them.
 *
 * usage: contexts [--vram SIZE] [--times N] [--seed N] [--slack SIZE]
 *
 * On every device in turn: a context destroyed with live blocks while another keeps its own; the primary context reset
 * with live blocks; the primary context released to nothing with live blocks. Each time blocks of together --times
 * (default 1.5) the VRAM are taken, and afterwards everything is free again and can be used again. Prints
 * "ok devices=N". */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

enum { BLOCKS = 6 };

static struct client_driver driver;
static struct client_options options;

struct blocks {
	CUdeviceptr at[BLOCKS];
	size_t size[BLOCKS];
	unsigned char value[BLOCKS];
};

static size_t free_now(void)
{
	size_t free_bytes, total_bytes;

	CLIENT_DO(driver.cuMemGetInfo_v2(&free_bytes, &total_bytes));
	CLIENT_CHECK(free_bytes <= total_bytes, "free %zu > total %zu", free_bytes, total_bytes);
	return free_bytes;
}

static void check_free(const char *when, size_t before)
{
	size_t now = free_now();

	CLIENT_CHECK(now + options.slack >= before, "%s: %zu bytes free, %zu before", when, now, before);
}

/* Blocks of together `bytes`, half of them on the context's default stream, each filled. */
static void take(struct blocks *b, uint64_t bytes, unsigned char first)
{
	for (int i = 0; i < BLOCKS; i++) {
		b->size[i] = bytes / BLOCKS + (size_t)i;
		b->value[i] = (unsigned char)(first + i);
		if (i % 2)
			CLIENT_DO(driver.cuMemAllocAsync(&b->at[i], b->size[i], NULL));
		else
			CLIENT_DO(driver.cuMemAlloc_v2(&b->at[i], b->size[i]));
		CLIENT_DO(driver.cuMemsetD8_v2(b->at[i], b->value[i], b->size[i]));
	}
	CLIENT_DO(driver.cuCtxSynchronize());
}

static void check(const struct blocks *b, int device)
{
	unsigned char got[4096];

	for (int i = 0; i < BLOCKS; i++) {
		int ordinal = -1;

		for (size_t at = 0; at + sizeof got <= b->size[i]; at += b->size[i] / 7) {
			CLIENT_DO(driver.cuMemcpyDtoH_v2(got, b->at[i] + at, sizeof got));
			CLIENT_CHECK(got[0] == b->value[i] && memcmp(got, got + 1, sizeof got - 1) == 0,
				     "block %d lost its content", i);
		}
		CLIENT_DO(driver.cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, b->at[i]));
		CLIENT_CHECK(ordinal == device, "a block of device %d says %d", device, ordinal);
	}
}

static void give_back(const struct blocks *b)
{
	for (int i = 0; i < BLOCKS; i++)
		CLIENT_DO(i == 1 ? driver.cuMemFreeAsync(b->at[i], NULL) : driver.cuMemFree_v2(b->at[i]));
	CLIENT_DO(driver.cuCtxSynchronize());
}

/* One context of two is destroyed with everything it holds. The blocks on a stream are the pool's, which is the
 * device's and outlives the context: they are freed. */
static void destroy_one_of_two(CUdevice device, uint64_t bytes)
{
	CUcontext first, second;
	struct blocks dying, staying;
	size_t before;

	CLIENT_DO(driver.cuCtxCreate_v2(&first, 0, device));
	before = free_now();
	take(&dying, bytes / 2, 10);
	CLIENT_DO(driver.cuCtxCreate_v2(&second, 0, device));
	take(&staying, bytes / 2, 40);
	CLIENT_DO(driver.cuCtxSetCurrent(first));
	check(&dying, device);
	for (int i = 1; i < BLOCKS; i += 2)
		CLIENT_DO(driver.cuMemFreeAsync(dying.at[i], NULL));
	CLIENT_DO(driver.cuCtxSynchronize());
	CLIENT_DO(driver.cuCtxDestroy_v2(first));
	CLIENT_DO(driver.cuCtxSetCurrent(second));
	check(&staying, device);
	take(&dying, bytes / 2, 70); /* in the other context now */
	check(&dying, device);
	check(&staying, device);
	give_back(&dying);
	give_back(&staying);
	check_free("after a context was destroyed", before);
	CLIENT_DO(driver.cuCtxDestroy_v2(second));
}

/* The primary context ends with live blocks: by reset, and by the last release. */
static void end_primary(CUdevice device, uint64_t bytes, bool reset)
{
	const char *when = reset ? "after the primary context was reset" : "after the primary context was released";
	CUcontext context;
	struct blocks b;
	size_t before;

	CLIENT_DO(driver.cuDevicePrimaryCtxRetain(&context, device));
	CLIENT_DO(driver.cuCtxSetCurrent(context));
	before = free_now();
	take(&b, bytes, 100);
	check(&b, device);
	for (int i = 1; i < BLOCKS; i += 2)
		CLIENT_DO(driver.cuMemFreeAsync(b.at[i], NULL));
	CLIENT_DO(driver.cuCtxSynchronize());
	if (reset) {
		CUresult result;

		CLIENT_DO(driver.cuDevicePrimaryCtxReset_v2(device));
		result = driver.cuDevicePrimaryCtxRelease_v2(
			device); /* drivers differ about who still holds a reset context */
		CLIENT_CHECK(result == CUDA_SUCCESS || result == CUDA_ERROR_INVALID_CONTEXT,
			     "released after a reset: %s", client_error(result));
	} else {
		CLIENT_DO(driver.cuDevicePrimaryCtxRelease_v2(device));
	}
	CLIENT_DO(driver.cuDevicePrimaryCtxRetain(&context, device));
	CLIENT_DO(driver.cuCtxSetCurrent(context));
	check_free(when, before);
	take(&b, bytes, 150);
	check(&b, device);
	give_back(&b);
	check_free(when, before);
	CLIENT_DO(driver.cuDevicePrimaryCtxRelease_v2(device));
	CLIENT_DO(driver.cuCtxSetCurrent(NULL));
}

int main(int argc, char **argv)
{
	int devices = 0;

	options = client_options(argc, argv, "[--vram SIZE] [--times N] [--seed N] [--slack SIZE]");
	client_door_dlopen(&driver, RTLD_LOCAL);
	CLIENT_DO(driver.cuInit(0));
	CLIENT_DO(driver.cuDeviceGetCount(&devices));
	for (int i = 0; i < devices; i++) {
		struct client_options own = options;
		CUdevice device;
		uint64_t bytes;

		CLIENT_DO(driver.cuDeviceGet(&device, i));
		if (!own.vram)
			CLIENT_DO(driver.cuDeviceTotalMem_v2(&own.vram, device));
		bytes = client_bytes(&driver, &own, 1.5);
		destroy_one_of_two(device, bytes);
		end_primary(device, bytes, true);
		end_primary(device, bytes, false);
	}
	printf("ok devices=%d\n", devices);
	return 0;
}
