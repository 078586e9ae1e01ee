/* Moving chunks: a copy elsewhere, then the new memory in the old one's place.
 *
 * Until the copy is complete nothing has changed. Then, chunk by chunk, the old memory is kept by a handle while the new is
 * mapped over its addresses, so that each failure can put it back: the bytes are in one of the two at any time. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "driver/driver.h"
#include "tier/chunk.h"
#include "tier/split.h"
#include "tier/tier.h"

/* New memory for some chunks of a block, side by side in a range of its own while it is filled. */
struct batch {
	struct gb_split *split;
	uint32_t count;
	uint32_t created; /* handles held, the first ones */
	uint64_t mapped;  /* bytes of the range, from its start */
	uint64_t range_bytes;
	CUdeviceptr range; /* 0: none */
	uint32_t *picked;
	CUmemGenericAllocationHandle *handles;
};

static uint64_t chunk_bytes(const struct batch *batch, uint32_t i)
{
	return gb_split_chunk_size(batch->split, batch->picked[i]);
}

static CUdeviceptr chunk_address(const struct batch *batch, uint32_t i)
{
	return batch->split->base + batch->picked[i] * batch->split->chunk_bytes;
}

static void batch_end(struct batch *batch)
{
	const struct gb_driver *driver = gb_driver();

	if (batch->mapped)
		GB_INSIST(driver->cuMemUnmap(batch->range, batch->mapped));
	if (batch->range)
		GB_INSIST(driver->cuMemAddressFree(batch->range, batch->range_bytes));
	for (uint32_t i = 0; i < batch->created; i++)
		GB_INSIST(driver->cuMemRelease(batch->handles[i]));
	free(batch->handles);
	free(batch->picked);
}

static CUresult create(struct batch *batch, const CUmemLocation *location)
{
	const struct gb_driver *driver = gb_driver();
	CUmemAllocationProp properties = gb_chunk_properties(location);

	CUresult result = driver->cuMemAddressReserve(&batch->range, batch->range_bytes, 0, 0, 0);
	if (result) {
		batch->range = 0;
		return result;
	}
	for (uint32_t i = 0; i < batch->count; i++) {
		result = driver->cuMemCreate(&batch->handles[i], chunk_bytes(batch, i), &properties, 0);
		if (result)
			return result;
		batch->created++;
		result = driver->cuMemMap(batch->range + batch->mapped, chunk_bytes(batch, i), 0, batch->handles[i], 0);
		if (result)
			return result;
		batch->mapped += chunk_bytes(batch, i);
	}
	return gb_chunk_set_access(batch->range, batch->mapped, batch->split->device, 0);
}

static CUresult copy(const struct batch *batch)
{
	const struct gb_driver *driver = gb_driver();
	GB_CLEANUP(gb_tier_stream_end) CUstream stream = NULL;
	CUresult result = gb_tier_stream(&stream);
	uint64_t at = 0;

	for (uint32_t i = 0; i < batch->count && !result; i++) {
		result = driver->cuMemcpyDtoDAsync_v2(batch->range + at, chunk_address(batch, i), chunk_bytes(batch, i),
						      stream);
		at += chunk_bytes(batch, i);
	}
	/* What was queued before a failure still uses the memory. */
	CUresult waited = stream ? GB_INSIST(driver->cuStreamSynchronize(stream)) : CUDA_SUCCESS;
	return result ? result : waited;
}

static CUresult map_over(const struct batch *batch, uint32_t i, CUmemGenericAllocationHandle handle, bool is_vram)
{
	uint32_t peers = gb_split_reaches(batch->split, is_vram);
	const struct gb_driver *driver = gb_driver();
	CUdeviceptr at = chunk_address(batch, i);
	size_t bytes = chunk_bytes(batch, i);
	CUresult result = driver->cuMemMap(at, bytes, 0, handle, 0);

	if (result)
		return result;
	result = gb_chunk_set_access(at, bytes, batch->split->device, peers);
	if (result)
		GB_INSIST(driver->cuMemUnmap(at, bytes));
	return result;
}

/* The new memory in the old one's place; on failure the old is back. */
static CUresult swap(const struct batch *batch, uint32_t i, bool to_vram)
{
	const struct gb_driver *driver = gb_driver();
	CUdeviceptr at = chunk_address(batch, i);
	CUmemGenericAllocationHandle old;
	CUresult result = driver->cuMemRetainAllocationHandle(&old, (void *)(uintptr_t)at);

	if (result)
		return result;
	result = driver->cuMemUnmap(at, chunk_bytes(batch, i));
	if (!result) {
		result = map_over(batch, i, batch->handles[i], to_vram);
		CUresult undone = result ? GB_INSIST(map_over(batch, i, old, !to_vram)) : CUDA_SUCCESS;
		if (undone)
			gb_log(GB_LOG_ERROR, "split",
			       "a chunk at %#llx could not be mapped again: the driver answered %d",
			       (unsigned long long)at, undone);
	}
	GB_INSIST(driver->cuMemRelease(old));
	return result;
}

static CUresult fill_and_swap(struct batch *batch, const CUmemLocation *location, bool to_vram, struct gb_moved *moved)
{
	CUresult result = create(batch, location);

	if (!result)
		result = copy(batch);
	for (uint32_t i = 0; i < batch->count && !result; i++) {
		result = swap(batch, i, to_vram);
		if (result)
			break;
		batch->split->in_vram[batch->picked[i] / 64] ^= UINT64_C(1) << (batch->picked[i] % 64);
		gb_split_count_move(batch->split, chunk_bytes(batch, i), to_vram);
		moved->bytes += chunk_bytes(batch, i);
		moved->chunks++;
	}
	return result;
}

CUresult gb_split_move(struct gb_split *split, uint32_t count, bool to_vram, struct gb_moved *moved)
{
	CUmemLocation location = {CU_MEM_LOCATION_TYPE_DEVICE, split->device};
	GB_TIER_RELAXED();
	GB_CLEANUP(batch_end) struct batch batch = {.split = split};

	*moved = (struct gb_moved){0};
	if (!to_vram && !gb_chunk_host_location(split->device, &location))
		return CUDA_ERROR_NOT_SUPPORTED;
	batch.picked = malloc(count * sizeof *batch.picked);
	batch.handles = malloc(count * sizeof *batch.handles);
	if (!batch.picked || !batch.handles)
		return CUDA_ERROR_OUT_OF_MEMORY;
	batch.count = gb_split_pick(split->in_vram, split->chunks, (enum gb_pattern)split->pattern, !to_vram, count,
				    batch.picked);
	for (uint32_t i = 0; i < batch.count; i++)
		batch.range_bytes += chunk_bytes(&batch, i);
	return batch.count ? fill_and_swap(&batch, &location, to_vram, moved) : CUDA_SUCCESS;
}
