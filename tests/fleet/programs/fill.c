/* A CUDA program that takes memory in blocks of 8 MiB until it is refused, or has LIMIT_MIB, and says how much it got.
 *
 * usage: fill LIMIT_MIB [FILE LIMIT_MIB]...    it keeps what it has until FILE is there, waiting for the GPU now and then,
 *     and goes on */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BLOCK_MIB 8

static void *cuda;

static void *call(const char *name)
{
	void *found = dlsym(cuda, name);

	if (!found) {
		fprintf(stderr, "%s\n", dlerror());
		exit(2);
	}
	return found;
}

static void must(int result)
{
	if (result)
		exit(3);
}

int main(int argc, char **argv)
{
	void *context;
	long got_mib = 0;

	cuda = dlopen("libcuda.so.1", RTLD_NOW);
	if (!cuda) {
		fprintf(stderr, "%s\n", dlerror());
		return 2;
	}
	must(((int (*)(unsigned))call("cuInit"))(0));
	must(((int (*)(void **, int))call("cuDevicePrimaryCtxRetain"))(&context, 0));
	must(((int (*)(void *))call("cuCtxSetCurrent"))(context));
	int (*allocate)(uint64_t *, size_t) = (int (*)(uint64_t *, size_t))call("cuMemAlloc_v2");
	int (*set)(uint64_t, unsigned char, size_t) = (int (*)(uint64_t, unsigned char, size_t))call("cuMemsetD8_v2");
	int (*synchronize)(void) = (int (*)(void))call("cuCtxSynchronize");
	for (int i = 1; i < argc; i += 2) {
		uint64_t address;

		while (got_mib < atol(argv[i]) && !allocate(&address, BLOCK_MIB << 20)) {
			must(set(address, (unsigned char)got_mib, BLOCK_MIB << 20));
			got_mib += BLOCK_MIB;
		}
		printf("got %ld MiB\n", got_mib);
		fflush(stdout);
		while (i + 1 < argc && access(argv[i + 1], F_OK)) {
			must(synchronize());
			usleep(20000);
		}
	}
	return 0;
}
