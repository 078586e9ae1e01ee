#include "alloc/access.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "driver/driver.h"
#include "ledger/handle_table.h"
#include "tier/chunk.h"
#include "tier/split.h"

/* How many mappings of ours fill the range, one behind the other; 0 if they do not, or if none is of host memory. */
static size_t count_mappings(CUdeviceptr address, uint64_t size)
{
	const CUdeviceptr end = address + size;
	struct gb_mapped mapped;
	bool any_host = false;
	size_t number = 0;

	for (CUdeviceptr at = address; at < end; at += mapped.size, number++) {
		if (!gb_handles_next_mapping(at, &mapped) || mapped.address != at || mapped.size > end - at)
			return 0;
		any_host |= mapped.on_host;
	}
	return any_host ? number : 0;
}

/* The access that a location has to a mapping; none where the driver does not say. */
static CUmemAccess_flags present_flags(CUdeviceptr address, const CUmemLocation *location)
{
	unsigned long long flags;

	return gb_driver()->cuMemGetAccess(&flags, location, address) ? CU_MEM_ACCESS_FLAGS_PROT_NONE
								      : (CUmemAccess_flags)flags;
}

struct change {
	const CUmemAccessDesc *access;
	size_t count;
	size_t done;           /* mappings */
	CUmemAccessDesc *before; /* `count` for each mapping */
};

static bool set_one(struct change *change, const struct gb_mapped *mapped)
{
	CUmemAccessDesc *before = change->before + change->done * change->count;

	for (size_t i = 0; i < change->count; i++)
		before[i] = (CUmemAccessDesc){change->access[i].location,
					      present_flags(mapped->address, &change->access[i].location)};
	if (gb_driver()->cuMemSetAccess(mapped->address, mapped->size, change->access, change->count))
		return false;
	change->done++;
	return true;
}

/* cuda.h does not say what a refused call has done to its range: it is taken to have done nothing. */
static void undo(const struct change *change, CUdeviceptr address)
{
	struct gb_mapped mapped;

	for (size_t i = 0; i < change->done && gb_handles_next_mapping(address, &mapped); i++) {
		const CUmemAccessDesc *before = change->before + i * change->count;
		CUresult undone =
			GB_INSIST(gb_driver()->cuMemSetAccess(mapped.address, mapped.size, before, change->count));
		if (undone)
			gb_log(GB_LOG_WARN, "access", "%llu bytes at %#llx keep an access: the driver answered %d",
			       (unsigned long long)mapped.size, mapped.address, undone);
		address = mapped.address + mapped.size;
	}
}

static bool set_one_by_one(CUdeviceptr address, size_t size, const CUmemAccessDesc *access, size_t count)
{
	const size_t number = count_mappings(address, size);
	GB_CLEANUP(gb_free_memory) CUmemAccessDesc *before = number ? calloc(number, count * sizeof *before) : NULL;
	struct change change = {.access = access, .count = count, .before = before};
	struct gb_mapped mapped;

	if (!before)
		return false;
	for (CUdeviceptr at = address; change.done < number; at = mapped.address + mapped.size) {
		if (gb_handles_next_mapping(at, &mapped) && set_one(&change, &mapped))
			continue;
		undo(&change, address);
		return false;
	}
	return true;
}

/* Gives the devices in `users` what the mapping's own device may do there, where they may do nothing. If the program unmaps it
 * meanwhile, the driver refuses; if it mapped something else there too, one more device of its own reaches that. */
static void let_in(const struct gb_mapped *mapped, uint32_t users)
{
	const CUmemLocation own = {CU_MEM_LOCATION_TYPE_DEVICE, mapped->device};
	const CUmemAccess_flags flags = present_flags(mapped->address, &own);
	CUmemAccessDesc access[GB_DEVICES_MAX];
	size_t count = 0;

	for (CUdevice id = 0; flags && id < GB_DEVICES_MAX; id++) {
		const CUmemLocation user = {CU_MEM_LOCATION_TYPE_DEVICE, id};
		if ((users >> id & 1) && !present_flags(mapped->address, &user))
			access[count++] = (CUmemAccessDesc){user, flags};
	}
	CUresult result =
		count ? gb_driver()->cuMemSetAccess(mapped->address, mapped->size, access, count) : CUDA_SUCCESS;
	if (result)
		gb_log(GB_LOG_INFO, "access", "not every device reaches %llu bytes at %#llx: the driver answered %d",
		       (unsigned long long)mapped->size, mapped->address, result);
}

/* Host memory is within the reach of every device in use, as pinned memory is (tier/split.h): a copy between devices that
 * would go through VRAM's own device may be made by the other one here. But for those that `except` says. */
static void let_users_in(CUdeviceptr first, CUdeviceptr last, uint32_t except)
{
	const uint32_t users = gb_split_reach_wanted(0).users;
	struct gb_mapped mapped;

	/* One device alone has what the program gave it. */
	if (!gb_handles_have_host() || !(users & (users - 1)))
		return;
	while (gb_handles_next_mapping(first, &mapped) && mapped.address <= last) {
		if (mapped.on_host)
			let_in(&mapped, users & ~except);
		first = mapped.address + mapped.size;
	}
}

void gb_access_meet(void)
{
	let_users_in(0, UINT64_MAX, 0);
}

/* The devices that the program decided about itself (bit: ordinal). */
static uint32_t named(const CUmemAccessDesc *access, size_t count)
{
	uint32_t devices = 0;

	for (size_t i = 0; i < count; i++) {
		if (access[i].location.type == CU_MEM_LOCATION_TYPE_DEVICE && access[i].location.id >= 0 &&
		    access[i].location.id < GB_DEVICES_MAX)
			devices |= UINT32_C(1) << access[i].location.id;
	}
	return devices;
}

CUresult gb_access_set(CUdeviceptr address, size_t size, const CUmemAccessDesc *access, size_t count)
{
	CUresult result = gb_driver()->cuMemSetAccess(address, size, access, count);

	if (!gb_handles_have_host() || !access || !count || !size)
		return result;
	if (gb_chunk_is_refusal(result) && set_one_by_one(address, size, access, count))
		result = CUDA_SUCCESS;
	if (result == CUDA_SUCCESS)
		let_users_in(address, address + size - 1, named(access, count));
	return result;
}
