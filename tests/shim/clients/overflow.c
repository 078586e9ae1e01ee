#include "overflow.h"

#include "content.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	WINDOW = 4 << 20, /* read back at a time */
	SMALL_BLOCKS = 16,
	BLOCKS_MAX = 256
};

static const char *const kind_names[KINDS] = {"malloc", "pitch", "async", "async_ptsz", "pool", "pool_ptsz"};

struct job {
	const struct client_driver *driver;
	struct client_options options;
	CUstream stream; /* of ASYNC and POOL; the _ptsz kinds use the default stream of this thread */
	CUmemoryPool pool;   /* the device's default one; NULL where no kind asked for has to do with pools */
	unsigned int kinds;  /* bit k: kind k is asked for */
	size_t blocks;
	struct block block[BLOCKS_MAX];
	unsigned char *got, *expected; /* WINDOW each */
};

/* ---- filling: async for a block of a stream, plain for the others ---- */

static void fill_byte(struct job *j, const struct block *b, size_t offset, unsigned char value, size_t size)
{
	if (!size)
		return;
	if (b->kind == ASYNC || b->kind == POOL)
		CLIENT_DO(j->driver->cuMemsetD8Async(b->at + offset, value, size, j->stream));
	else if (b->kind == ASYNC_PTSZ || b->kind == POOL_PTSZ)
		CLIENT_DO(j->driver->cuMemsetD8Async_ptsz(b->at + offset, value, size, NULL));
	else
		CLIENT_DO(j->driver->cuMemsetD8_v2(b->at + offset, value, size));
}

static void fill_copy(struct job *j, const struct block *b, size_t offset, CUdeviceptr from, size_t size)
{
	if (!size)
		return;
	if (b->kind == ASYNC || b->kind == POOL)
		CLIENT_DO(j->driver->cuMemcpyDtoDAsync_v2(b->at + offset, from, size, j->stream));
	else if (b->kind == ASYNC_PTSZ || b->kind == POOL_PTSZ)
		CLIENT_DO(j->driver->cuMemcpyDtoDAsync_v2_ptsz(b->at + offset, from, size, NULL));
	else
		CLIENT_DO(j->driver->cuMemcpyDtoD_v2(b->at + offset, from, size));
}

static void synchronize(struct job *j)
{
	CLIENT_DO(j->driver->cuStreamSynchronize(j->stream));
	CLIENT_DO(j->driver->cuStreamSynchronize_ptsz(NULL));
	CLIENT_DO(j->driver->cuCtxSynchronize());
}

static void fill(struct job *j, const struct block *b, unsigned char *period)
{
	size_t tail = content_tail(b);
	size_t done = tail < CONTENT_PERIOD ? tail : CONTENT_PERIOD;

	content_period(b, period);
	CLIENT_DO(j->driver->cuMemcpyHtoD_v2(b->at, period, done));
	for (; done < tail; done *= 2) /* what is there, behind itself: CONTENT_PERIOD, then twice as much, and so on */
		fill_copy(j, b, done, b->at, done < tail - done ? done : tail - done);
	fill_byte(j, b, tail, (unsigned char)b->seed, b->size - tail);
	synchronize(j);
	for (size_t at = 0; at + sizeof(unsigned int) <= b->size; at += CONTENT_STAMP_EVERY)
		CLIENT_DO(j->driver->cuMemsetD32_v2(b->at + at, content_stamp(b, at), 1));
	synchronize(j); /* memsets are queued too, and not in our stream */
}

static void fill_all(struct job *j)
{
	unsigned char *period = malloc(CONTENT_PERIOD);

	CLIENT_CHECK(period, "no memory of our own");
	for (size_t i = 0; i < j->blocks; i++)
		fill(j, &j->block[i], period);
	for (size_t i = 1; i < j->blocks; i++)
		fill_copy(j, &j->block[i], j->block[i].size / 2, j->block[i - 1].at,
			  content_patch(&j->block[i], &j->block[i - 1]));
	synchronize(j);
	free(period);
}

/* Compare one block with what it must hold; `period` and `before` are scratch of CONTENT_PERIOD bytes. */
static uint64_t verify(struct job *j, size_t index, unsigned char *period, unsigned char *before, uint64_t sum)
{
	const struct block *b = &j->block[index];
	const struct block *from = index ? b - 1 : NULL;
	size_t patch = from ? content_patch(b, from) : 0;
	size_t patch_at = b->size / 2;

	content_period(b, period);
	if (from)
		content_period(from, before);
	for (size_t at = 0; at < b->size; at += WINDOW) {
		size_t size = b->size - at < WINDOW ? b->size - at : WINDOW;
		size_t low = patch_at > at ? patch_at : at;
		size_t high = patch_at + patch < at + size ? patch_at + patch : at + size;

		CLIENT_DO(j->driver->cuMemcpyDtoH_v2(j->got, b->at + at, size));
		content_expect(b, period, at, size, j->expected);
		if (low < high)
			content_expect(from, before, low - patch_at, high - low, j->expected + (low - at));
		for (size_t i = 0; memcmp(j->got, j->expected, size) != 0 && i < size; i++)
			CLIENT_CHECK(j->got[i] == j->expected[i],
				     "block %zu (%s, %zu bytes) holds %02x and not %02x at %zu", index,
				     kind_names[b->kind], b->size, j->got[i], j->expected[i], at + i);
		sum = client_checksum(sum, j->got, size);
	}
	return sum;
}

static uint64_t verify_all(struct job *j)
{
	unsigned char *period = malloc(CONTENT_PERIOD);
	unsigned char *before = malloc(CONTENT_PERIOD);
	uint64_t sum = 0;

	CLIENT_CHECK(period && before, "no memory of our own");
	for (size_t i = 0; i < j->blocks; i++)
		sum = verify(j, i, period, before, sum);
	free(period);
	free(before);
	return sum;
}

/* ---- what the driver says ---- */

static size_t check_info(struct job *j)
{
	size_t free_bytes = 1;
	size_t total_bytes = 0;

	CLIENT_DO(j->driver->cuMemGetInfo_v2(&free_bytes, &total_bytes));
	CLIENT_CHECK(free_bytes <= total_bytes, "free %zu > total %zu", free_bytes, total_bytes);
	return free_bytes;
}

static void check_attributes(struct job *j, const struct block *b)
{
	CUpointer_attribute names[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
				       CU_POINTER_ATTRIBUTE_DEVICE_POINTER, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR,
				       CU_POINTER_ATTRIBUTE_RANGE_SIZE};
	unsigned int type = 0;
	int ordinal = -1;
	CUdeviceptr pointer = 0;
	CUdeviceptr start = 0;
	size_t size = 0;
	void *data[] = {&type, &ordinal, &pointer, &start, &size};
	CUdeviceptr inside = b->at + b->size / 2;

	CLIENT_DO(j->driver->cuPointerGetAttributes(5, names, data, inside));
	CLIENT_CHECK(type == CU_MEMORYTYPE_DEVICE, "cuPointerGetAttributes: memory type %u of a %s block", type,
		     kind_names[b->kind]);
	CLIENT_CHECK(ordinal == j->options.device, "cuPointerGetAttributes: device %d", ordinal);
	CLIENT_CHECK(pointer == inside, "cuPointerGetAttributes: another pointer");
	type = 0;
	CLIENT_DO(j->driver->cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, inside));
	CLIENT_CHECK(type == CU_MEMORYTYPE_DEVICE, "cuPointerGetAttribute: memory type %u", type);
	CLIENT_DO(j->driver->cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, inside));
	CLIENT_CHECK(ordinal == j->options.device, "cuPointerGetAttribute: device %d", ordinal);
	/* What a block of a pool starts and ends at is the pool's business; it must hold the block all the same. */
	CLIENT_CHECK(start <= b->at && start + size >= b->at + b->size,
		     "range attributes of a %s block: %llx + %zu for %llx + %zu", kind_names[b->kind], start, size,
		     b->at, b->size);
	CLIENT_CHECK(b->kind > PITCH || start == b->at, "range start of a %s block", kind_names[b->kind]);
}

static void check_range(struct job *j, const struct block *b)
{
	CUdeviceptr start = 0;
	size_t size = 0;
	CUresult result = j->driver->cuMemGetAddressRange_v2(&start, &size, b->at + b->size - 1);

	if (b->kind > PITCH && result != CUDA_SUCCESS)
		return; /* documented for cuMemAlloc and cuMemAllocPitch only */
	CLIENT_CHECK(result == CUDA_SUCCESS, "cuMemGetAddressRange: %s", client_error(result));
	CLIENT_CHECK(start <= b->at && start + size >= b->at + b->size,
		     "cuMemGetAddressRange: %llx + %zu for %llx + %zu", start, size, b->at, b->size);
	CLIENT_CHECK(b->kind > PITCH || start == b->at, "cuMemGetAddressRange: start of a %s block",
		     kind_names[b->kind]);
}

/* What no machine has is refused with exactly 2, and the out-parameter stays as it was. */
static void check_refusal(struct job *j)
{
	CUdeviceptr at = 0x5a5a;
	CUresult result = j->driver->cuMemAlloc_v2(&at, (size_t)1 << 60);

	CLIENT_CHECK(result == CUDA_ERROR_OUT_OF_MEMORY, "cuMemAlloc of an exbibyte: %s (%d)", client_error(result),
		     (int)result);
	CLIENT_CHECK(at == 0x5a5a, "cuMemAlloc failed and wrote its out-parameter");
	result = j->driver->cuMemAlloc_v2(&at, 0);
	CLIENT_CHECK(result == CUDA_ERROR_INVALID_VALUE, "cuMemAlloc of nothing: %s (%d)", client_error(result),
		     (int)result);
	CLIENT_DO(j->driver->cuMemFree_v2(0));
}

/* ---- taking and giving back ---- */

static CUresult allocate_pitch(struct job *j, struct block *b)
{
	size_t width = b->size < 4096 ? b->size : 4001;
	size_t height = (b->size + width - 1) / width;
	size_t pitch = 0;
	CUresult result = j->driver->cuMemAllocPitch_v2(&b->at, &pitch, width, height, 4);

	CLIENT_CHECK(result != CUDA_SUCCESS || (pitch >= width && pitch % 4 == 0), "pitch %zu for rows of %zu", pitch,
		     width);
	return result;
}

static void allocate(struct job *j, struct block *b)
{
	const struct client_driver *d = j->driver;
	CUresult result = CUDA_ERROR_UNKNOWN;

	switch (b->kind) {
	case MALLOC:
		result = d->cuMemAlloc_v2(&b->at, b->size);
		break;
	case PITCH:
		result = allocate_pitch(j, b);
		break;
	case ASYNC:
		result = d->cuMemAllocAsync(&b->at, b->size, j->stream);
		break;
	case ASYNC_PTSZ:
		result = d->cuMemAllocAsync_ptsz(&b->at, b->size, NULL);
		break;
	case POOL:
		result = d->cuMemAllocFromPoolAsync(&b->at, b->size, j->pool, j->stream);
		break;
	case POOL_PTSZ:
		result = d->cuMemAllocFromPoolAsync_ptsz(&b->at, b->size, j->pool, NULL);
		break;
	default:
		break;
	}
	CLIENT_CHECK(result == CUDA_SUCCESS, "%s (%d) asking for %zu bytes, block %zu, by %s", client_error(result),
		     (int)result, b->size, (size_t)(b - j->block), kind_names[b->kind]);
	CLIENT_CHECK(b->at, "success and no address");
}

/* The way it came, but every third block of a stream or pool by cuMemFree, which does not wait for work on those. */
static void give_back(struct job *j, size_t index)
{
	struct block *b = &j->block[index];

	if (b->kind <= PITCH || index % 3 == 2)
		CLIENT_DO(j->driver->cuMemFree_v2(b->at));
	else if (b->kind == ASYNC || b->kind == POOL)
		CLIENT_DO(j->driver->cuMemFreeAsync(b->at, j->stream));
	else
		CLIENT_DO(j->driver->cuMemFreeAsync_ptsz(b->at, NULL));
	b->at = 0;
	check_info(j);
}

/* Sizes: small ones, a few of up to half the VRAM, then one larger than the VRAM, then on to the total. */
static void plan(struct job *j)
{
	uint64_t state = j->options.seed;
	uint64_t vram = client_vram(j->driver, &j->options);
	uint64_t total = client_bytes(j->driver, &j->options, 3);
	uint64_t sum = 0;
	enum kind kinds[KINDS] = {MALLOC, PITCH, ASYNC, ASYNC_PTSZ, POOL, POOL_PTSZ};
	int count = j->options.words ? j->options.words : KINDS;

	j->kinds = j->options.words ? 0 : (1u << KINDS) - 1;
	CLIENT_CHECK(count <= KINDS, "more kinds than there are");
	for (int i = 0; i < j->options.words; i++) {
		for (kinds[i] = MALLOC; kinds[i] < KINDS && strcmp(j->options.word[i], kind_names[kinds[i]]) != 0;
		     kinds[i]++)
			;
		CLIENT_CHECK(kinds[i] < KINDS, "no kind is called %s: " OVERFLOW_USAGE, j->options.word[i]);
		j->kinds |= 1u << kinds[i];
	}
	for (; sum < total && j->blocks < BLOCKS_MAX; j->blocks++) {
		struct block *b = &j->block[j->blocks];
		uint64_t size = vram / 32 + client_random(&state) % (vram / 2);

		if (j->blocks < SMALL_BLOCKS)
			size = 1 + client_random(&state) % 5000;
		if (j->blocks == SMALL_BLOCKS + 2 && total > 2 * vram)
			size = vram + vram / 8 + 12345;
		b->size = size < total - sum ? size : total - sum;
		b->seed = client_random(&state);
		b->kind = kinds[j->blocks % (size_t)count];
		sum += b->size;
	}
}

/* What the pool still holds of what was freed goes back to the card. */
static void trim(struct job *j)
{
	if (j->pool)
		CLIENT_DO(j->driver->cuMemPoolTrimTo(j->pool, 0));
}

/* The first use of a card takes memory of the driver's own: before it is measured. */
static void warm_up(struct job *j)
{
	struct block b = {.size = 1 << 20};

	for (b.kind = MALLOC; b.kind < KINDS; b.kind++) {
		if (!(j->kinds & 1u << b.kind))
			continue;
		allocate(j, &b);
		fill_byte(j, &b, 0, 1, b.size);
		fill_copy(j, &b, 0, b.at + b.size / 2, b.size / 2);
		synchronize(j);
		CLIENT_DO(j->driver->cuMemFree_v2(b.at));
	}
	trim(j);
}

static uint64_t run(struct job *j)
{
	size_t before = check_info(j);
	size_t after;
	uint64_t sum;

	for (size_t i = 0; i < j->blocks; i++) {
		allocate(j, &j->block[i]);
		check_info(j);
	}
	synchronize(j);
	for (size_t i = 0; i < j->blocks; i++) {
		check_attributes(j, &j->block[i]);
		check_range(j, &j->block[i]);
	}
	fill_all(j);
	client_hold(&j->options);
	sum = verify_all(j);
	check_refusal(j);
	for (size_t i = 0; i < j->blocks; i += 2)
		give_back(j, i);
	for (size_t i = j->blocks; i-- > 0;)
		if (j->block[i].at)
			give_back(j, i);
	synchronize(j);
	trim(j);
	after = check_info(j);
	CLIENT_CHECK(after + j->options.slack >= before, "%zu bytes free before, %zu after", before, after);
	return sum;
}

int overflow_main(const struct client_driver *driver, int argc, char **argv)
{
	struct job j = {.driver = driver, .options = client_options(argc, argv, OVERFLOW_USAGE)};
	uint64_t sum;
	uint64_t bytes = 0;

	client_start(driver, j.options.device);
	CLIENT_DO(driver->cuStreamCreate(&j.stream, CU_STREAM_NON_BLOCKING));
	j.got = malloc(WINDOW);
	j.expected = malloc(WINDOW);
	CLIENT_CHECK(j.got && j.expected, "no memory of our own");
	plan(&j);
	if (j.kinds >> ASYNC)
		CLIENT_DO(driver->cuDeviceGetDefaultMemPool(&j.pool, j.options.device));
	warm_up(&j);
	sum = run(&j);
	for (size_t i = 0; i < j.blocks; i++)
		bytes += j.block[i].size;
	CLIENT_DO(driver->cuStreamDestroy_v2(j.stream));
	CLIENT_DO(driver->cuDevicePrimaryCtxRelease_v2(j.options.device));
	free(j.got);
	free(j.expected);
	printf("ok checksum=%016llx bytes=%llu\n", (unsigned long long)sum, (unsigned long long)bytes);
	return 0;
}
