/* Many threads allocate, use, query and free at random.
 *
 * usage: threads [--vram SIZE] [--times N] [--seed N] [--device N] [--threads 8] [--count ROUNDS] [--slack SIZE]
 *
 * Together they hold at most --times (default 1.5) the VRAM. Each thread fills every block with bytes of its own, and
 * compares the whole block before it frees it: memory given to two at once shows. Prints "ok checksum=HEX", the same
 * for the same --vram, --times, --seed, --threads and --count. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

enum { SLOTS = 24, KINDS = 4 };

struct slot {
	CUdeviceptr at;
	size_t size;
	unsigned char value;
	bool on_stream;
};

struct worker {
	pthread_t thread;
	const struct client_driver *driver;
	CUcontext context;
	CUstream stream;
	uint64_t state; /* of the random numbers */
	uint64_t budget, held;
	long rounds;
	uint64_t sum;
	int device;
	unsigned char *buffer;
	size_t buffer_size;
	struct slot slot[SLOTS];
};

static void take(struct worker *w, struct slot *s)
{
	const struct client_driver *d = w->driver;
	unsigned int kind = (unsigned int)(client_random(&w->state) % KINDS);
	size_t pitch;

	/* Most are small, some are an eighth of what this thread may hold. */
	s->size = 1 + client_random(&w->state) % (client_random(&w->state) % 4 ? 65536 : w->budget / 8);
	s->value = (unsigned char)client_random(&w->state);
	if (w->held + s->size > w->budget)
		return;
	s->on_stream = kind >= 2;
	switch (kind) {
	case 0:
		CLIENT_DO(d->cuMemAlloc_v2(&s->at, s->size));
		break;
	case 1:
		CLIENT_DO(d->cuMemAllocPitch_v2(&s->at, &pitch, s->size < 64 ? s->size : 64, (s->size + 63) / 64, 4));
		break;
	case 2:
		CLIENT_DO(d->cuMemAllocAsync(&s->at, s->size, w->stream));
		break;
	default:
		CLIENT_DO(d->cuMemAllocAsync_ptsz(&s->at, s->size, NULL));
		break;
	}
	w->held += s->size;
	if (kind == 3)
		CLIENT_DO(d->cuStreamSynchronize_ptsz(NULL));
	CLIENT_DO(d->cuMemsetD8Async(s->at, s->value, s->size, w->stream));
	CLIENT_DO(d->cuStreamSynchronize(w->stream));
}

static void drop(struct worker *w, struct slot *s)
{
	uint64_t size = s->size;

	w->sum = client_checksum(w->sum, &size, sizeof size);
	for (size_t at = 0; at < s->size; at += w->buffer_size) {
		size_t piece = s->size - at < w->buffer_size ? s->size - at : w->buffer_size;

		CLIENT_DO(w->driver->cuMemcpyDtoH_v2(w->buffer, s->at + at, piece));
		CLIENT_CHECK(w->buffer[0] == s->value && memcmp(w->buffer, w->buffer + 1, piece - 1) == 0,
			     "a block of %zu bytes at %llx holds what another thread wrote", s->size, s->at);
		w->sum = client_checksum(w->sum, w->buffer, piece);
	}
	if (s->on_stream && client_random(&w->state) % 2)
		CLIENT_DO(w->driver->cuMemFreeAsync(s->at, w->stream));
	else
		CLIENT_DO(w->driver->cuMemFree_v2(s->at));
	w->held -= s->size;
	s->at = 0;
}

static void query(struct worker *w, const struct slot *s)
{
	size_t free_bytes = 1;
	size_t total_bytes = 0;
	unsigned int type = 0;
	int ordinal = -1;

	CLIENT_DO(w->driver->cuMemGetInfo_v2(&free_bytes, &total_bytes));
	CLIENT_CHECK(free_bytes <= total_bytes, "free %zu > total %zu", free_bytes, total_bytes);
	CLIENT_DO(w->driver->cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, s->at + s->size / 2));
	CLIENT_CHECK(type == CU_MEMORYTYPE_DEVICE, "memory type %u", type);
	CLIENT_DO(w->driver->cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, s->at + s->size / 2));
	CLIENT_CHECK(ordinal == w->device, "device %d", ordinal);
}

static void *work(void *data)
{
	struct worker *w = data;

	CLIENT_DO(w->driver->cuCtxSetCurrent(w->context));
	CLIENT_DO(w->driver->cuStreamCreate(&w->stream, CU_STREAM_NON_BLOCKING));
	for (long i = 0; i < w->rounds; i++) {
		struct slot *s = &w->slot[client_random(&w->state) % SLOTS];

		if (!s->at)
			take(w, s);
		else if (client_random(&w->state) % 3)
			drop(w, s);
		else
			query(w, s);
	}
	for (struct slot *s = w->slot; s < w->slot + SLOTS; s++)
		if (s->at)
			drop(w, s);
	CLIENT_DO(w->driver->cuStreamSynchronize(w->stream));
	CLIENT_DO(w->driver->cuStreamDestroy_v2(w->stream));
	return NULL;
}

int main(int argc, char **argv)
{
	struct client_options options = client_options(
		argc, argv,
		"[--vram SIZE] [--times N] [--seed N] [--device N] [--threads N] [--count ROUNDS] [--slack SIZE]");
	struct client_driver driver;
	struct worker *workers = calloc((size_t)options.threads, sizeof *workers);
	size_t before, after, total;
	CUcontext context;
	CUmemoryPool pool;
	uint64_t sum = 0;

	CLIENT_CHECK(workers, "no memory of our own");
	client_door_dlopen(&driver, RTLD_LOCAL);
	context = client_start(&driver, options.device);
	CLIENT_DO(driver.cuMemGetInfo_v2(&before, &total));
	for (int i = 0; i < options.threads; i++) {
		workers[i] = (struct worker){.driver = &driver, .context = context, .device = options.device};
		workers[i].state = options.seed * 1000003 + (uint64_t)i;
		workers[i].budget = client_bytes(&driver, &options, 1.5) / (uint64_t)options.threads;
		workers[i].rounds = options.count ? options.count : 300;
		workers[i].buffer_size = 1 << 20;
		workers[i].buffer = malloc(workers[i].buffer_size);
		CLIENT_CHECK(workers[i].buffer, "no memory of our own");
	}
	for (int i = 0; i < options.threads; i++)
		CLIENT_CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0, "no thread");
	for (int i = 0; i < options.threads; i++) {
		pthread_join(workers[i].thread, NULL);
		sum = client_checksum(sum, &workers[i].sum, sizeof workers[i].sum);
		free(workers[i].buffer);
	}
	free(workers);
	CLIENT_DO(driver.cuCtxSynchronize());
	CLIENT_DO(driver.cuDeviceGetDefaultMemPool(&pool, options.device));
	CLIENT_DO(driver.cuMemPoolTrimTo(pool, 0));
	CLIENT_DO(driver.cuMemGetInfo_v2(&after, &total));
	CLIENT_CHECK(after + options.slack >= before, "%zu bytes free before, %zu after", before, after);
	CLIENT_DO(driver.cuDevicePrimaryCtxRelease_v2(options.device));
	printf("ok checksum=%016llx\n", (unsigned long long)sum);
	return 0;
}
