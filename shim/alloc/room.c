#include "alloc/room.h"

#include "alloc/books.h"
#include "alloc/deferred.h"
#include "alloc/devices.h"
#include "alloc/moves.h"

bool gb_room_grant_host(uint64_t bytes)
{
	gb_deferred_reap(false);
	return gb_books_grant(bytes) || (gb_deferred_reap(true) && gb_books_grant(bytes));
}

bool gb_room_make(CUdevice device, uint64_t bytes)
{
	struct gb_budget budget = gb_device_budget_now(device);
	uint64_t room = gb_budget_room(&budget);
	uint64_t missing = room < bytes ? bytes - room : bytes;
	uint64_t extra = budget.split_reserve < GB_MOVE_STEP_BYTES ? budget.split_reserve : GB_MOVE_STEP_BYTES;

	return gb_moves_make_room(device, missing, extra);
}
