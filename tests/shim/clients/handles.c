/* Many threads manage virtual memory themselves: create, map, use, query, unmap and release at random.
 *
 * usage: handles [--vram SIZE] [--seed N] [--device N] [--threads 8] [--count ROUNDS] [--slack SIZE]
 *
 * Each thread maps runs of handles into a range of its own, fills them with bytes of its own, and compares all of a run
 * before it unmaps it in one call. Some handles are released as soon as they are mapped; of some another reference is
 * taken, which whichever thread comes by releases. Prints "ok checksum=HEX", the same for the same --seed, --threads and
 * --count. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

enum { RUNS = 4, RUN_MAX = 4, SHELF = 32 };
#define PIECE ((size_t)2 << 20)
#define RANGE (RUNS * RUN_MAX * PIECE)

struct run {
	CUdeviceptr at;
	size_t count; /* pieces; 0: nothing is mapped */
	CUmemGenericAllocationHandle handle[RUN_MAX]; /* 0: released already */
	unsigned char value;
};

struct worker {
	pthread_t thread;
	const struct client_driver *driver;
	CUcontext context;
	uint64_t state; /* of the random numbers */
	long rounds;
	uint64_t sum;
	int device;
	unsigned char *buffer; /* of a run */
	CUdeviceptr range;
	struct run run[RUNS];
};

/* References on their way from one thread to another. */
static struct {
	pthread_mutex_t lock;
	CUmemGenericAllocationHandle handle[SHELF];
	int count;
} shelf = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool put(CUmemGenericAllocationHandle handle)
{
	pthread_mutex_lock(&shelf.lock);
	bool fits = shelf.count < SHELF;
	if (fits)
		shelf.handle[shelf.count++] = handle;
	pthread_mutex_unlock(&shelf.lock);
	return fits;
}

static CUmemGenericAllocationHandle take_any(void)
{
	pthread_mutex_lock(&shelf.lock);
	CUmemGenericAllocationHandle handle = shelf.count ? shelf.handle[--shelf.count] : 0;
	pthread_mutex_unlock(&shelf.lock);
	return handle;
}

static void release_any(const struct worker *w)
{
	CUmemGenericAllocationHandle handle = take_any();

	if (handle)
		CLIENT_DO(w->driver->cuMemRelease(handle));
}

static void take(struct worker *w, struct run *r)
{
	const struct client_driver *d = w->driver;
	const CUmemAllocationProp prop = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
					  .location = {CU_MEM_LOCATION_TYPE_DEVICE, w->device}};
	const CUmemAccessDesc access = {prop.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
	bool release_at_once = client_random(&w->state) % 2;

	r->count = 1 + client_random(&w->state) % RUN_MAX;
	r->value = (unsigned char)client_random(&w->state);
	for (size_t i = 0; i < r->count; i++)
		CLIENT_DO(d->cuMemCreate(&r->handle[i], PIECE, &prop, 0));
	for (size_t i = 0; i < r->count; i++) {
		CLIENT_DO(d->cuMemMap(r->at + i * PIECE, PIECE, 0, r->handle[i], 0));
		if (release_at_once) {
			CLIENT_DO(d->cuMemRelease(r->handle[i]));
			r->handle[i] = 0;
		}
	}
	CLIENT_DO(d->cuMemSetAccess(r->at, r->count * PIECE, &access, 1));
	CLIENT_DO(d->cuMemsetD8_v2(r->at, r->value, r->count * PIECE));
}

static void drop(struct worker *w, struct run *r)
{
	size_t size = r->count * PIECE;
	bool unmap_first = client_random(&w->state) % 2;

	CLIENT_DO(w->driver->cuMemcpyDtoH_v2(w->buffer, r->at, size));
	CLIENT_CHECK(w->buffer[0] == r->value && memcmp(w->buffer, w->buffer + 1, size - 1) == 0,
		     "%zu bytes at %llx hold what another thread wrote", size, r->at);
	w->sum = client_checksum(w->sum, w->buffer, size);
	if (unmap_first)
		CLIENT_DO(w->driver->cuMemUnmap(r->at, size));
	for (size_t i = 0; i < r->count; i++) {
		if (r->handle[i])
			CLIENT_DO(w->driver->cuMemRelease(r->handle[i]));
		r->handle[i] = 0;
	}
	if (!unmap_first)
		CLIENT_DO(w->driver->cuMemUnmap(r->at, size));
	r->count = 0;
}

static void query(struct worker *w, const struct run *r)
{
	const struct client_driver *d = w->driver;
	CUdeviceptr at = r->at + client_random(&w->state) % (r->count * PIECE);
	CUmemGenericAllocationHandle handle;
	CUmemAllocationProp prop;
	unsigned int type = 0;
	int ordinal = -1;

	CLIENT_DO(d->cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, at));
	CLIENT_CHECK(type == CU_MEMORYTYPE_DEVICE, "memory type %u", type);
	CLIENT_DO(d->cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, at));
	CLIENT_CHECK(ordinal == w->device, "device %d", ordinal);
	CLIENT_DO(d->cuMemRetainAllocationHandle(&handle, (void *)(uintptr_t)at));
	CLIENT_DO(d->cuMemGetAllocationPropertiesFromHandle(&prop, handle));
	CLIENT_CHECK(prop.location.type == CU_MEM_LOCATION_TYPE_DEVICE && prop.location.id == w->device,
		     "location %d of type %u", prop.location.id, prop.location.type);
	if (!put(handle))
		CLIENT_DO(d->cuMemRelease(handle));
}

static void *work(void *data)
{
	struct worker *w = data;

	CLIENT_DO(w->driver->cuCtxSetCurrent(w->context));
	CLIENT_DO(w->driver->cuMemAddressReserve(&w->range, RANGE, 0, 0, 0));
	for (size_t i = 0; i < RUNS; i++)
		w->run[i].at = w->range + i * RUN_MAX * PIECE;
	for (long i = 0; i < w->rounds; i++) {
		struct run *r = &w->run[client_random(&w->state) % RUNS];

		if (!r->count)
			take(w, r);
		else if (client_random(&w->state) % 2)
			drop(w, r);
		else
			query(w, r);
		if (i % 3 == 0)
			release_any(w);
	}
	for (struct run *r = w->run; r < w->run + RUNS; r++)
		if (r->count)
			drop(w, r);
	CLIENT_DO(w->driver->cuMemAddressFree(w->range, RANGE));
	return NULL;
}

static void begin(struct worker *w, const struct client_driver *driver, const struct client_options *options,
		  int number)
{
	*w = (struct worker){.driver = driver, .device = options->device};
	CLIENT_DO(driver->cuDevicePrimaryCtxRetain(&w->context, options->device));
	w->state = options->seed * 1000003 + (uint64_t)number;
	w->rounds = options->count ? options->count : 200;
	w->buffer = malloc(RUN_MAX * PIECE);
	CLIENT_CHECK(w->buffer, "no memory of our own");
}

int main(int argc, char **argv)
{
	struct client_options options = client_options(
		argc, argv, "[--vram SIZE] [--seed N] [--device N] [--threads N] [--count ROUNDS] [--slack SIZE]");
	struct client_driver driver;
	struct worker *workers = calloc((size_t)options.threads, sizeof *workers);
	size_t before, after, total;
	uint64_t sum = 0;

	CLIENT_CHECK(workers, "no memory of our own");
	client_door_dlopen(&driver, RTLD_LOCAL);
	client_start(&driver, options.device);
	CLIENT_DO(driver.cuMemGetInfo_v2(&before, &total));
	for (int i = 0; i < options.threads; i++)
		begin(&workers[i], &driver, &options, i);
	for (int i = 0; i < options.threads; i++)
		CLIENT_CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0, "no thread");
	for (int i = 0; i < options.threads; i++) {
		pthread_join(workers[i].thread, NULL);
		sum = client_checksum(sum, &workers[i].sum, sizeof workers[i].sum);
		CLIENT_DO(driver.cuDevicePrimaryCtxRelease_v2(options.device));
		free(workers[i].buffer);
	}
	while (shelf.count)
		release_any(&workers[0]);
	free(workers);
	CLIENT_DO(driver.cuMemGetInfo_v2(&after, &total));
	CLIENT_CHECK(after + options.slack >= before, "%zu bytes free before, %zu after", before, after);
	CLIENT_DO(driver.cuDevicePrimaryCtxRelease_v2(options.device));
	printf("ok checksum=%016llx\n", (unsigned long long)sum);
	return 0;
}
