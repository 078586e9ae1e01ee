/* A great many small live blocks.
 *
 * usage: many [--count 1000000] [--size 256] [--seed N] [--device N] [--slack SIZE]
 *
 * Allocates them all, asks about some, writes and reads some, frees them all in random order. Prints "ok blocks=N".
 * A driver may round every block up: a million take up to 1 GiB of VRAM. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "client.h"

int main(int argc, char **argv)
{
	struct client_options options =
		client_options(argc, argv, "[--count N] [--size SIZE] [--seed N] [--device N] [--slack SIZE]");
	size_t count = options.count ? (size_t)options.count : 1000000;
	size_t size = options.size ? options.size : 256;
	CUdeviceptr *blocks = malloc(count * sizeof *blocks);
	size_t every = count / 1000 + 1;
	struct client_driver driver;
	size_t before, after, total;

	CLIENT_CHECK(blocks, "no memory of our own");
	client_door_dlopen(&driver, RTLD_LOCAL);
	client_start(&driver, options.device);
	CLIENT_DO(driver.cuMemGetInfo_v2(&before, &total));
	for (size_t i = 0; i < count; i++)
		CLIENT_DO(driver.cuMemAlloc_v2(&blocks[i], size));
	for (size_t i = 0; i < count; i += every)
		CLIENT_DO(driver.cuMemsetD8_v2(blocks[i], (unsigned char)i, size));
	for (size_t i = 0; i < count; i += every) {
		unsigned char got = (unsigned char)~i;
		CUdeviceptr start = 0;
		size_t range = 0;

		CLIENT_DO(driver.cuMemcpyDtoH_v2(&got, blocks[i] + size - 1, 1));
		CLIENT_CHECK(got == (unsigned char)i, "block %zu holds another's content", i);
		CLIENT_DO(driver.cuMemGetAddressRange_v2(&start, &range, blocks[i] + size / 2));
		CLIENT_CHECK(start == blocks[i] && range >= size, "block %zu starts at %llx, not at %llx", i, blocks[i],
			     start);
	}
	for (size_t i = count - 1; i > 0; i--) {
		size_t other = client_random(&options.seed) % (i + 1);
		CUdeviceptr block = blocks[i];

		blocks[i] = blocks[other];
		blocks[other] = block;
	}
	for (size_t i = 0; i < count; i++)
		CLIENT_DO(driver.cuMemFree_v2(blocks[i]));
	free(blocks);
	CLIENT_DO(driver.cuMemGetInfo_v2(&after, &total));
	CLIENT_CHECK(after + options.slack >= before, "%zu bytes free before, %zu after", before, after);
	CLIENT_DO(driver.cuDevicePrimaryCtxRelease_v2(options.device));
	printf("ok blocks=%zu\n", count);
	return 0;
}
