/* What one call costs, in this process as it is: with whatever is preloaded, on whatever libcuda.so.1 is found.
 *
 * usage: calls LIVE THREADS CALLS REPETITIONS [LARGE]
 *
 * Allocates LIVE blocks, and LARGE (default 0) of 1 GiB, which stay. Then measures, on THREADS threads at once, each call below CALLS times in a row,
 * REPETITIONS times after one that does not count. Prints one JSON object: for every call the nanoseconds of each
 * repetition, as elapsed time x processors used / calls made, that is, what one processor spends on one call.
 *
 *   allocate_free         cuMemAlloc and cuMemFree; each block stays while 64 others come and go
 *   allocate_free_random  the same, but it is one of the LIVE blocks, anywhere, that is replaced
 *   info                  cuMemGetInfo
 *   attributes            cuPointerGetAttributes, the four that PyTorch and NVIDIA's runtime ask for
 *   submit                cuLaunchKernel, of all that submits work the call with the most arguments
 *   look_up               cuGetProcAddress of a name we stand in for, each in its turn
 *   dlsym                 dlsym of a function that has nothing to do with CUDA
 *
 * A single thread is kept on one processor. */
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "abi/cuda_subset.h"

enum { RING = 64, REPETITIONS_MAX = 100 };

static CUresult (*alloc)(CUdeviceptr *, size_t);
static CUresult (*release)(CUdeviceptr);
static CUresult (*get_info)(size_t *, size_t *);
static CUresult (*get_attributes)(unsigned int, CUpointer_attribute *, void **, CUdeviceptr);
static CUresult (*set_current)(CUcontext);
static CUresult (*launch)(CUfunction, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int,
			  unsigned int, unsigned int, CUstream, void **, void **);
static CUresult (*look_up)(const char *, void **, int, cuuint64_t, CUdriverProcAddressQueryResult *);

static const char *const names[] = {
#define GB_CUDA_HOOK(symbol, name, version, stream, parameters, arguments) name,
#define GB_NVML_HOOK(symbol, parameters, arguments)
#include "hooks.def"
#undef GB_CUDA_HOOK
#undef GB_NVML_HOOK
};

static const size_t sizes[8] = {512, 4096, 2000, 65536, 1 << 20, 700, 30000, 2 << 20};
static void *libm;
static CUcontext context;
static CUdeviceptr *live;
static long live_count, calls;
static int threads;
static pthread_barrier_t barrier;

struct worker {
	pthread_t thread;
	int index;
	void (*call)(struct worker *worker);
	CUdeviceptr ring[RING];
	uint64_t state;
	uint64_t started_ns, ended_ns;
};

static void fail(const char *what)
{
	fprintf(stderr, "calls: %s\n", what);
	exit(1);
}

static void must(CUresult result, const char *what)
{
	if (result != CUDA_SUCCESS)
		fail(what);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

/* ---- what is measured: `calls` times each ---- */

static void allocate_free(struct worker *w)
{
	for (long i = 0; i < calls; i++) {
		must(release(w->ring[i % RING]), "cuMemFree");
		must(alloc(&w->ring[i % RING], sizes[i % 8]), "cuMemAlloc");
	}
}

static void allocate_free_random(struct worker *w)
{
	uint64_t own = (uint64_t)(live_count / threads); /* each thread has its own part */
	CUdeviceptr *mine = live + (uint64_t)w->index * own;

	for (long i = 0; own && i < calls; i++) {
		CUdeviceptr *slot = &mine[next_random(&w->state) % own];

		must(release(*slot), "cuMemFree");
		must(alloc(slot, sizes[i % 8]), "cuMemAlloc");
	}
}

static void info(struct worker *w)
{
	size_t free_bytes, total_bytes;

	(void)w;
	for (long i = 0; i < calls; i++)
		must(get_info(&free_bytes, &total_bytes), "cuMemGetInfo");
}

static void attributes(struct worker *w)
{
	CUpointer_attribute names[] = {CU_POINTER_ATTRIBUTE_CONTEXT, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
				       CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, CU_POINTER_ATTRIBUTE_IS_MANAGED};
	CUcontext owner;
	unsigned int type, managed;
	int ordinal;
	void *data[] = {&owner, &type, &ordinal, &managed};

	for (long i = 0; i < calls; i++)
		must(get_attributes(4, names, data, w->ring[i % RING] + 64), "cuPointerGetAttributes");
}

static void submit(struct worker *w)
{
	(void)w;
	for (long i = 0; i < calls; i++)
		must(launch(NULL, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL), "cuLaunchKernel");
}

static void look_up_names(struct worker *w)
{
	void *function;

	(void)w;
	for (long i = 0; i < calls; i++)
		must(look_up(names[(size_t)i % (sizeof names / sizeof *names)], &function, 13000, 0, NULL),
		     "cuGetProcAddress");
}

static void foreign_dlsym(struct worker *w)
{
	(void)w;
	for (long i = 0; i < calls; i++)
		if (!dlsym(libm, "cos"))
			fail("dlsym");
}

static const struct {
	const char *name;
	void (*call)(struct worker *worker);
} measured[] = {
	{"allocate_free", allocate_free},
	{"allocate_free_random", allocate_free_random},
	{"info", info},
	{"attributes", attributes},
	{"submit", submit},
	{"look_up", look_up_names},
	{"dlsym", foreign_dlsym},
};

/* ---- measuring ---- */

static void *work(void *data)
{
	struct worker *w = data;

	must(set_current(context), "cuCtxSetCurrent");
	pthread_barrier_wait(&barrier);
	w->started_ns = now_ns();
	w->call(w);
	w->ended_ns = now_ns();
	return NULL;
}

/* One repetition; answers nanoseconds of one processor per call. */
static double repetition(struct worker *workers, void (*call)(struct worker *worker))
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t first = UINT64_MAX;
	uint64_t last = 0;

	if (threads == 1) {
		first = now_ns();
		call(workers);
		return (double)(now_ns() - first) / (double)calls;
	}
	for (int i = 0; i < threads; i++) {
		workers[i].call = call;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
			fail("no thread");
	}
	/* From the first that starts to the last that ends: with fewer processors than threads some start late. */
	for (int i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		first = workers[i].started_ns < first ? workers[i].started_ns : first;
		last = workers[i].ended_ns > last ? workers[i].ended_ns : last;
	}
	return (double)(last - first) * (double)(threads < processors ? threads : processors) / (double)calls /
	       (double)threads;
}

static void *find(void *libcuda, const char *name)
{
	void *function = dlsym(libcuda, name);

	if (!function)
		fail(name);
	return function;
}

static void start(void)
{
	void *libcuda = dlopen("libcuda.so.1", RTLD_NOW);
	CUresult (*init)(unsigned int);
	CUresult (*retain)(CUcontext *, CUdevice);

	libm = dlopen("libm.so.6", RTLD_NOW);
	if (!libcuda || !libm)
		fail(dlerror());
	init = (CUresult (*)(unsigned int))find(libcuda, "cuInit");
	retain = (CUresult (*)(CUcontext *, CUdevice))find(libcuda, "cuDevicePrimaryCtxRetain");
	alloc = (CUresult (*)(CUdeviceptr *, size_t))find(libcuda, "cuMemAlloc_v2");
	release = (CUresult (*)(CUdeviceptr))find(libcuda, "cuMemFree_v2");
	get_info = (CUresult (*)(size_t *, size_t *))find(libcuda, "cuMemGetInfo_v2");
	get_attributes = (CUresult (*)(unsigned int, CUpointer_attribute *, void **, CUdeviceptr))find(
		libcuda, "cuPointerGetAttributes");
	set_current = (CUresult (*)(CUcontext))find(libcuda, "cuCtxSetCurrent");
	*(void **)&launch = find(libcuda, "cuLaunchKernel");
	*(void **)&look_up = find(libcuda, "cuGetProcAddress_v2");
	must(init(0), "cuInit");
	must(retain(&context, 0), "cuDevicePrimaryCtxRetain");
	must(set_current(context), "cuCtxSetCurrent");
}

/* The last processor that this process may use, for a single thread. */
static void pin(void)
{
	cpu_set_t allowed, one;

	CPU_ZERO(&one);
	if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
		return;
	for (size_t i = CPU_SETSIZE; i-- > 0 && CPU_COUNT(&one) == 0;)
		if (CPU_ISSET(i, &allowed))
			CPU_SET(i, &one);
	sched_setaffinity(0, sizeof one, &one);
}

int main(int argc, char **argv)
{
	struct worker *workers;
	int repetitions;

	if (argc != 5 && argc != 6)
		fail("usage: calls LIVE THREADS CALLS REPETITIONS [LARGE]");
	live_count = atol(argv[1]);
	threads = atoi(argv[2]);
	calls = atol(argv[3]);
	repetitions = atoi(argv[4]);
	if (live_count < 0 || threads < 1 || calls < 1 || repetitions < 1 || repetitions > REPETITIONS_MAX)
		fail("usage: calls LIVE THREADS CALLS REPETITIONS");
	if (threads == 1)
		pin();
	start();
	workers = calloc((size_t)threads, sizeof *workers);
	live = calloc((size_t)live_count + 1, sizeof *live);
	if (!workers || !live || pthread_barrier_init(&barrier, NULL, (unsigned int)threads) != 0)
		fail("no memory");
	for (int i = argc == 6 ? atoi(argv[5]) : 0; i > 0; i--) {
		CUdeviceptr large;
		must(alloc(&large, (size_t)1 << 30), "cuMemAlloc");
	}
	for (long i = 0; i < live_count; i++)
		must(alloc(&live[i], sizes[i % 8]), "cuMemAlloc");
	for (int i = 0; i < threads; i++) {
		workers[i].index = i;
		workers[i].state = 88172645463325252u + (uint64_t)i;
		for (int slot = 0; slot < RING; slot++)
			must(alloc(&workers[i].ring[slot], sizes[slot % 8]), "cuMemAlloc");
	}
	for (size_t i = 0; i < sizeof measured / sizeof *measured; i++) {
		printf("%s\"%s\": [", i ? ", " : "{", measured[i].name);
		repetition(workers, measured[i].call);
		for (int n = 0; n < repetitions; n++)
			printf("%s%.2f", n ? ", " : "", repetition(workers, measured[i].call));
		printf("]");
	}
	puts("}");
	return 0;
}
