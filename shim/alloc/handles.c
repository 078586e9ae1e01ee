#include "alloc/handles.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "alloc/books.h"
#include "alloc/current.h"
#include "alloc/devices.h"
#include "alloc/give_back.h"
#include "alloc/moves.h"
#include "alloc/peaks.h"
#include "alloc/remember.h"
#include "alloc/room.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "driver/driver.h"
#include "ledger/account.h"
#include "ledger/handle_table.h"
#include "policy/placement.h"
#include "tier/chunk.h"
#include "tier/tier.h"

/* What this thread was refused last, for retry_first. Who is refused one handle of many gives the others back, makes room
 * and begins anew (PyTorch's expandable segments): so all handles of that size are the retry, until the thread maps what
 * it got. */
static __thread struct {
	uint64_t bytes;
	CUdevice device;
} refused;

/* The handle as the books see it: a block of one place. */
static struct gb_block as_block(const struct gb_handle *handle)
{
	return (struct gb_block){.size = handle->size,
				 .tier = handle->on_host ? GB_TIER_SPLIT : GB_TIER_DEVICE,
				 .device = (uint8_t)handle->properties.location.id};
}

static struct gb_share share_of(const struct gb_handle *handle)
{
	return (struct gb_share){.vram = handle->on_host ? 0 : handle->size,
				 .host = handle->on_host ? handle->size : 0};
}

static void close_books(struct gb_handle *gone)
{
	while (gone) {
		struct gb_handle *handle = gone;
		const struct gb_block block = as_block(handle);
		const struct gb_share share = share_of(handle);
		gone = handle->next;
		gb_books_close(&block, &share);
		if (share.vram)
			gb_moves_room_made(block.device);
		free(handle);
	}
}

static CUresult create_at(const CUmemLocation *location, CUmemAllocationHandleType types, uint64_t size,
			  CUmemGenericAllocationHandle *value)
{
	CUmemAllocationProp properties = gb_chunk_properties(location);

	properties.requestedHandleTypes = types;
	return gb_driver()->cuMemCreate(value, size, &properties, 0);
}

/* HOST takes no handle types, HOST_NUMA does, and has a node 0 on systems without NUMA too (cuMemCreate). */
static CUresult create_shareable(const struct gb_handle *handle, const CUmemLocation *location,
				 CUmemGenericAllocationHandle *value)
{
	const CUmemLocation first_node = {CU_MEM_LOCATION_TYPE_HOST_NUMA, 0};
	bool is_node = location->type == CU_MEM_LOCATION_TYPE_HOST_NUMA;
	CUresult result = create_at(is_node ? location : &first_node, handle->properties.requestedHandleTypes,
				    handle->size, value);

	/* That node 0 has no room is no answer for all of the machine. */
	return result == CUDA_ERROR_OUT_OF_MEMORY && !is_node ? CUDA_ERROR_NOT_SUPPORTED : result;
}

/* PyTorch asks for a file descriptor with every handle and exports hardly one: where the driver cannot share host memory it is
 * served all the same, and its export refused. Who asks for anything else may want to find out what there is (PyTorch too, of
 * FABRIC), and must not be told wrong. */
static CUresult create_on_host(struct gb_handle *handle, CUmemGenericAllocationHandle *value)
{
	const CUmemAllocationHandleType types = handle->properties.requestedHandleTypes;
	CUresult result = CUDA_ERROR_NOT_SUPPORTED;
	CUmemLocation location;

	if (!gb_chunk_host_location(handle->properties.location.id, &location))
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (types != CU_MEM_HANDLE_TYPE_NONE)
		result = create_shareable(handle, &location, value);
	if (gb_chunk_is_refusal(result) &&
	    (types == CU_MEM_HANDLE_TYPE_NONE || types == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR))
		result = create_at(&location, CU_MEM_HANDLE_TYPE_NONE, handle->size, value);
	/* Of compressible and RDMA-capable memory cuda.h says that asking is a hint, and that the handle's properties tell
	 * what came of it (CUmemAllocationProp). */
	handle->properties.allocFlags.compressionType = 0;
	handle->properties.allocFlags.gpuDirectRDMACapable = 0;
	return gb_chunk_is_refusal(result) ? CUDA_ERROR_OUT_OF_MEMORY : result;
}

/* Takes the memory, in the place that *handle says, and puts it on the books. */
static CUresult take(struct gb_handle *handle, const CUmemAllocationProp *asked, uint64_t limit)
{
	const struct gb_block block = as_block(handle);
	const struct gb_share share = share_of(handle);
	CUmemGenericAllocationHandle value;
	CUresult result = CUDA_ERROR_OUT_OF_MEMORY;

	if (!gb_books_reserve(&block, &share, limit))
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (share.host && !gb_room_grant_host(share.host))
		goto cancel;
	result = handle->on_host ? create_on_host(handle, &value)
				 : gb_driver()->cuMemCreate(&value, handle->size, asked, 0);
	if (result)
		goto return_grant;
	gb_books_settle((enum gb_tier)block.tier, share.host);
	gb_account_commit(block.device, (enum gb_tier)block.tier, block.size);
	handle->link.key = value;
	return CUDA_SUCCESS;
return_grant:
	gb_books_return_grant(share.host);
cancel:
	gb_books_cancel(&block, &share);
	return result;
}

static CUresult take_vram(struct gb_handle *handle, const CUmemAllocationProp *asked,
			  const struct gb_placement *placement, uint64_t limit)
{
	CUresult result = take(handle, asked, limit);

	if (result == CUDA_ERROR_OUT_OF_MEMORY && placement->makes_room &&
	    gb_room_make(asked->location.id, handle->size))
		result = take(handle, asked, limit);
	return result;
}

struct visit {
	CUcontext primary; /* NULL: none was needed */
	CUdevice device;
	bool pushed;
};

static void end_visit(struct visit *visit)
{
	gb_context_leave(&visit->pushed);
	if (visit->primary)
		GB_INSIST(gb_driver()->cuDevicePrimaryCtxRelease_v2(visit->device));
}

/* Makes a context of the device current, if none is. */
static bool begin_visit(struct visit *visit)
{
	CUcontext context;
	CUdevice current;

	if (gb_device_current(&context, &current) && current == visit->device)
		return true;
	if (gb_driver()->cuDevicePrimaryCtxRetain(&context, visit->device))
		return false;
	visit->primary = context;
	return gb_context_enter(context, &visit->pushed) == CUDA_SUCCESS;
}

/* Whether the device reads and writes handles of host memory among its own: what the split tier's self-test finds out. It
 * needs a context, which cuMemCreate does not. */
static bool host_works(CUdevice device)
{
	static _Atomic bool known[GB_DEVICES_MAX];
	GB_CLEANUP(end_visit) struct visit visit = {.device = device};

	if (atomic_load_explicit(&known[device], memory_order_relaxed))
		return true;
	bool works = begin_visit(&visit) && gb_device_has_tier(device, GB_TIER_SPLIT);
	if (works)
		atomic_store_explicit(&known[device], true, memory_order_relaxed);
	return works;
}

/* Memory that is to be used in some way of VRAM's own (`usage`: tiles of sparse arrays, decompression) is VRAM, or none. */
static bool may_lie_on_host(const struct gb_handle *handle)
{
	const CUdevice device = handle->properties.location.id;
	const uint64_t granularity = gb_chunk_granularity(device);

	return !handle->properties.allocFlags.usage && !handle->properties.win32HandleMetaData && granularity &&
	       handle->size % granularity == 0 && host_works(device);
}

static CUresult take_in_order(const struct gb_placement *placement, struct gb_handle *handle,
			      const CUmemAllocationProp *asked, uint64_t limit)
{
	CUresult result = CUDA_ERROR_OUT_OF_MEMORY;

	for (unsigned i = 0; i < placement->count && result == CUDA_ERROR_OUT_OF_MEMORY; i++) {
		handle->on_host = placement->order[i] == GB_TIER_SPLIT;
		if (placement->order[i] == GB_TIER_DEVICE)
			result = take_vram(handle, asked, placement, limit);
		else if (handle->on_host && may_lie_on_host(handle))
			result = take(handle, asked, limit);
	}
	if (result != CUDA_ERROR_OUT_OF_MEMORY || gb_chunk_granularity(asked->location.id))
		return result;
	/* No such device, or none that manages virtual memory: the driver says which. */
	handle->on_host = false;
	return take(handle, asked, UINT64_MAX);
}

/* A handle is whole granules of one place, whatever its size, and cannot move. */
static struct gb_rules rules_for_handle(CUdevice device, uint64_t size)
{
	struct gb_rules rules = *gb_device_rules(device);

	rules.pattern = GB_PATTERN_FRONT;
	rules.chunk = size;
	rules.movable = false;
	return rules;
}

static void tell(const struct gb_handle *handle, CUresult result, const struct gb_placement *placement)
{
	CUdevice device = handle->properties.location.id;
	unsigned long long size = handle->size;

	if (result == CUDA_SUCCESS && handle->on_host)
		gb_log(GB_LOG_DEBUG, "handle", "device=%d bytes=%llu place=host", device, size);
	else if (result == CUDA_ERROR_OUT_OF_MEMORY)
		gb_log(placement->refuses_once ? GB_LOG_DEBUG : GB_LOG_INFO, "handle", "device=%d bytes=%llu refused%s",
		       device, size, placement->refuses_once ? " once (GREENBOOST_RETRY_FIRST)" : "");
}

static CUresult create(struct gb_handle *handle, const CUmemAllocationProp *asked)
{
	const CUdevice device = asked->location.id;
	struct gb_demand demand = {.bytes = handle->size,
				   .is_retry = refused.bytes == handle->size && refused.device == device};
	struct gb_rules rules = rules_for_handle(device, handle->size);
	struct gb_budget budget = gb_device_budget(device, demand.bytes, &rules);
	struct gb_placement placement;
	gb_place(&demand, &budget, &rules, &placement);

	gb_moves_meet(device);
	gb_books_begin();
	CUresult result = take_in_order(&placement, handle, asked, budget.limit);
	if (result) {
		refused.bytes = placement.refuses_once ? handle->size : 0;
		refused.device = device;
	}
	tell(handle, result, &placement);
	if (result == CUDA_ERROR_OUT_OF_MEMORY) {
		gb_books_tell_refusal();
		gb_account_count_refusal((unsigned)device);
	}
	if (result == CUDA_SUCCESS && handle->on_host) {
		gb_remember_growth();
		gb_peaks_grew();
	}
	return result;
}

CUresult gb_handle_create(CUmemGenericAllocationHandle *value, size_t size, const CUmemAllocationProp *asked)
{
	struct gb_handle *handle = malloc(sizeof *handle);

	if (!handle)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*handle = (struct gb_handle){.properties = *asked, .size = size};
	CUresult result = create(handle, asked);
	if (result) {
		free(handle);
		return result;
	}
	*value = handle->link.key;
	close_books(gb_handles_enter(handle));
	return CUDA_SUCCESS;
}

CUresult gb_handle_release(CUmemGenericAllocationHandle value)
{
	struct gb_handle *handle = gb_handles_releasing(value);
	CUresult result = gb_driver()->cuMemRelease(value);

	if (handle)
		close_books(gb_handles_released(handle, gb_free_is_final(result)));
	gb_moves_safe_point();
	return result;
}

CUresult gb_handle_retain(CUmemGenericAllocationHandle *value, void *address)
{
	CUresult result = gb_driver()->cuMemRetainAllocationHandle(value, address);

	/* The mapping there keeps the record meanwhile: who unmaps it now takes the address from under its own call. */
	if (result == CUDA_SUCCESS)
		gb_handles_retained(*value);
	return result;
}

CUresult gb_handle_map(CUdeviceptr address, size_t size, size_t offset, CUmemGenericAllocationHandle value,
		       unsigned long long flags)
{
	struct gb_mapping *mapping = malloc(sizeof *mapping);

	if (!mapping)
		return CUDA_ERROR_OUT_OF_MEMORY;
	CUresult result = gb_driver()->cuMemMap(address, size, offset, value, flags);
	if (result) {
		free(mapping);
		return result;
	}
	/* Entered after it was made: nobody can unmap it before this call has told that it is there, and the reference that
	 * the program maps by keeps the handle's record until then. */
	*mapping = (struct gb_mapping){.link.key = address, .size = size};
	close_books(gb_handles_mapped(mapping, value));
	refused.bytes = 0;
	return CUDA_SUCCESS;
}

CUresult gb_handle_unmap(CUdeviceptr address, size_t size)
{
	struct gb_mapping *mappings = gb_handles_unmapping(address, size);
	CUresult result = gb_driver()->cuMemUnmap(address, size);

	/* INVALID_VALUE is no end here: the range may hold more than what was ours. */
	close_books(gb_handles_unmapped(mappings, result == CUDA_SUCCESS || result == CUDA_ERROR_DEINITIALIZED));
	gb_moves_safe_point();
	return result;
}

CUresult gb_handle_properties(CUmemAllocationProp *told, CUmemGenericAllocationHandle value)
{
	struct gb_handle handle;
	CUresult result = gb_driver()->cuMemGetAllocationPropertiesFromHandle(told, value);

	if (result == CUDA_SUCCESS && gb_handles_find(value, &handle) && handle.on_host)
		*told = handle.properties;
	return result;
}

CUresult gb_handle_export(void *shareable, CUmemGenericAllocationHandle value, CUmemAllocationHandleType type,
			  unsigned long long flags)
{
	struct gb_handle handle;
	CUresult result = gb_driver()->cuMemExportToShareableHandle(shareable, value, type, flags);

	if (result && gb_handles_find(value, &handle) && handle.on_host)
		gb_log(GB_LOG_WARN, "handle",
		       "%llu bytes lie in host memory, which the driver does not share (error %d); GREENBOOST_FALLBACK=off keeps handles in VRAM",
		       (unsigned long long)handle.size, result);
	return result;
}

CUresult gb_handle_import(CUmemGenericAllocationHandle *value, void *shareable, CUmemAllocationHandleType type)
{
	CUresult result = gb_driver()->cuMemImportFromShareableHandle(value, shareable, type);

	/* Memory of this process' own may come back under the handle it has (cuMemImportFromShareableHandle does not promise
	 * another): then it is one more reference. */
	if (result == CUDA_SUCCESS)
		gb_handles_retained(*value);
	return result;
}
