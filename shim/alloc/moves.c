#include "alloc/moves.h"

#include <pthread.h>
#include <stdatomic.h>

#include "alloc/access.h"
#include "alloc/books.h"
#include "alloc/capture.h"
#include "alloc/current.h"
#include "alloc/devices.h"
#include "alloc/gate.h"
#include "alloc/idle.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "ledger/account.h"
#include "policy/returning.h"
#include "tier/split.h"

/* Work in flight may take long: before that, the request goes elsewhere. Nobody else waits meanwhile. */
#define IDLE_DEADLINE_NS GB_NS_PER_S
/* With the gate closed others wait too: only for what was submitted while it closed. */
#define CLOSED_DEADLINE_NS (100 * GB_NS_PER_MS)
/* Bringing chunks back is worth no waiting. */
#define RETURN_DEADLINE_NS GB_NS_PER_MS
/* Granting a peer access comes once, and must come about. */
#define LET_IN_DEADLINE_NS (10 * GB_NS_PER_S)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards `returning`; a leaf */
static struct gb_returning returning[GB_DEVICES_MAX];
static _Atomic uint32_t wanted; /* devices that have room for chunks again (bit: ordinal) */

/* Closes the gate and finds the device idle behind it; false, and the gate open, if not. */
static bool stop_the_world(uint64_t close_ns, uint64_t idle_ns)
{
	if (gb_capture_active() || !gb_gate_close(close_ns))
		return false;
	/* A capture may have begun just before it closed; none can begin now. */
	if (!gb_capture_active() && gb_idle_wait(idle_ns))
		return true;
	gb_gate_open();
	return false;
}

/* One step of a walk over a device's blocks: at most *left bytes of this one. Returns the bytes it did, or would do. */
typedef uint64_t step_function(struct gb_split *split, uint64_t left);

static uint32_t chunks_for(const struct gb_split *split, uint64_t bytes)
{
	return (uint32_t)((bytes + split->chunk_bytes - 1) / split->chunk_bytes);
}

/* In whole chunks, and no more than lie in VRAM. */
static uint64_t demotion_bytes(struct gb_split *split, uint64_t left)
{
	uint64_t bytes = chunks_for(split, left) * split->chunk_bytes;

	return bytes < split->share.vram ? bytes : split->share.vram;
}

/* The copy and the mapping belong to a context: the block's own. */
static struct gb_moved move(struct gb_split *split, uint64_t bytes, bool to_vram)
{
	GB_CLEANUP(gb_context_leave) bool pushed = false;
	struct gb_moved moved = {0};

	if (!gb_context_enter(split->context, &pushed))
		gb_split_move(split, chunks_for(split, bytes), to_vram, &moved);
	return moved;
}

static uint64_t demote(struct gb_split *split, uint64_t left)
{
	struct gb_moved moved = move(split, left, false);

	gb_account_moved_out(split->device, moved.bytes, moved.chunks);
	return moved.bytes;
}

static void tell(CUdevice device, uint64_t bytes, const char *where)
{
	if (bytes)
		gb_log(GB_LOG_DEBUG, "moves", "device=%d bytes=%llu to=%s", device, (unsigned long long)bytes, where);
}

/* Oldest first, until `bytes` are done. */
static uint64_t walk(CUdevice device, uint64_t bytes, step_function *step)
{
	uint64_t done = 0;

	for (struct gb_split *split = gb_split_newer(NULL); split && done < bytes; split = gb_split_newer(split)) {
		if (split->device == device && split->share.vram)
			done += step(split, bytes - done);
	}
	return done;
}

/* What is granted is what moves at most: chunks are whole, so it may be more than was asked for. */
static uint64_t demote_granted(CUdevice device, uint64_t bytes, uint64_t granted)
{
	if (!stop_the_world(CLOSED_DEADLINE_NS, CLOSED_DEADLINE_NS))
		return 0;
	uint64_t would = walk(device, bytes, demotion_bytes);
	uint64_t moved = would <= granted ? walk(device, bytes, demote) : 0;
	/* Before another thread can free what now lies in host memory. */
	gb_books_settle(GB_TIER_SPLIT, moved);
	gb_gate_open();
	return moved;
}

/* What moving `bytes` would take, in whole chunks; 0 if that much does not lie in VRAM, or the gate does not close. */
static uint64_t demotion_cost(CUdevice device, uint64_t bytes)
{
	if (!gb_gate_close(CLOSED_DEADLINE_NS))
		return 0;
	uint64_t cost = walk(device, bytes, demotion_bytes);
	gb_gate_open();
	return cost >= bytes ? cost : 0;
}

/* A grant reads files, so it comes before the gate closes for the move. */
static uint64_t grant_and_demote(CUdevice device, uint64_t bytes)
{
	uint64_t granted = demotion_cost(device, bytes);

	if (!granted || !gb_books_grant(granted))
		return 0;
	uint64_t moved = demote_granted(device, bytes, granted);
	gb_books_return_grant(granted - moved);
	return moved;
}

bool gb_moves_make_room(CUdevice device, uint64_t bytes, uint64_t extra)
{
	if (!gb_device_moves(device) || gb_capture_active() || !gb_idle_wait(IDLE_DEADLINE_NS))
		return false;
	uint64_t moved = extra ? grant_and_demote(device, bytes + extra) : 0;
	if (!moved)
		moved = grant_and_demote(device, bytes);
	if (!moved)
		return false;
	tell(device, moved, "host");
	pthread_mutex_lock(&lock);
	gb_returning_moved_out(&returning[device]);
	pthread_mutex_unlock(&lock);
	return moved >= bytes;
}

void gb_moves_room_made(CUdevice device)
{
	if (gb_split_device_host(device) && gb_device_moves(device))
		atomic_fetch_or_explicit(&wanted, UINT32_C(1) << device, memory_order_relaxed);
}

/* VRAM above what is kept free, within this block's device's budget. Behind the gate: the context is entered for the
 * driver's figure. */
static uint64_t room_for_return(struct gb_split *split, uint64_t *reserve)
{
	GB_CLEANUP(gb_context_leave) bool pushed = false;

	if (gb_context_enter(split->context, &pushed))
		return 0;
	struct gb_budget budget = gb_device_budget_now(split->device);
	*reserve = budget.split_reserve;
	return gb_budget_room(&budget);
}

static uint64_t bring_back(struct gb_split *split, uint64_t step)
{
	uint64_t reserve = 0;
	uint64_t room = room_for_return(split, &reserve);
	uint64_t bytes = gb_returning_bytes(room, reserve, split->share.host, split->chunk_bytes, step);

	if (!bytes || !gb_account_reserve(split->device, GB_TIER_DEVICE, bytes, gb_device_limit(split->device)))
		return 0;
	struct gb_moved moved = move(split, bytes, true);
	gb_account_moved_in(split->device, bytes, moved.bytes, moved.chunks);
	return moved.bytes;
}

/* Newest first; returns the bytes. */
static uint64_t bring_back_some(CUdevice device)
{
	uint64_t moved = 0;

	for (struct gb_split *split = gb_split_older(NULL); split && moved < GB_MOVE_STEP_BYTES;
	     split = gb_split_older(split)) {
		if (split->device == device && split->share.host)
			moved += bring_back(split, GB_MOVE_STEP_BYTES - moved);
	}
	return moved;
}

static void return_to(CUdevice device)
{
	pthread_mutex_lock(&lock);
	bool due = gb_returning_is_due(&returning[device]);
	pthread_mutex_unlock(&lock);
	if (!due || !stop_the_world(RETURN_DEADLINE_NS, RETURN_DEADLINE_NS))
		return;
	uint64_t moved = bring_back_some(device);
	gb_gate_open();
	gb_books_give_back(GB_TIER_SPLIT, moved);
	tell(device, moved, "vram");
	if (moved) {
		pthread_mutex_lock(&lock);
		gb_returning_came_back(&returning[device]);
		pthread_mutex_unlock(&lock);
	}
	if (!moved || !gb_split_device_host(device))
		atomic_fetch_and_explicit(&wanted, ~(UINT32_C(1) << device), memory_order_relaxed);
}

void gb_moves_safe_point(void)
{
	uint32_t devices = atomic_load_explicit(&wanted, memory_order_relaxed);

	for (CUdevice device = 0; devices && device < GB_DEVICES_MAX; device++) {
		if (devices >> device & 1)
			return_to(device);
	}
}

/* Blocks that were there before somebody came to reach them. */
static void grant_access(void)
{
	if (!gb_split_newer(NULL))
		return;
	CUresult failed = CUDA_ERROR_NOT_READY;
	if (gb_gate_close(LET_IN_DEADLINE_NS)) {
		failed = CUDA_SUCCESS;
		for (struct gb_split *split = gb_split_newer(NULL); split; split = gb_split_newer(split)) {
			CUresult result = gb_split_grant_access(split);
			failed = result ? result : failed;
		}
		gb_gate_open();
	}
	if (failed)
		gb_log(GB_LOG_WARN, "split", "not every device reaches every split block: the driver answered %d",
		       failed);
}

void gb_moves_let_in(CUdevice device, CUdevice peer)
{
	gb_split_add_peer(device, peer);
	grant_access();
}

void gb_moves_meet(CUdevice device)
{
	if (gb_split_add_user(device)) {
		grant_access();
		gb_access_meet();
	}
}

void gb_moves_after_fork(void)
{
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	atomic_store(&wanted, 0);
	for (unsigned i = 0; i < GB_DEVICES_MAX; i++)
		returning[i] = (struct gb_returning){0};
}
