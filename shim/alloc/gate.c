#include "alloc/gate.h"

#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "base/futex.h"

/* Threads are spread over several counters, each on a cache line of its own, so that passing costs an uncontended add. */
enum { SLOTS = 64 };

static struct {
	_Alignas(64) _Atomic uint32_t inside;
} slots[SLOTS];

static _Atomic uint32_t closed;     /* 1 while a move runs; who waits, waits for it to become 0 */
static _Atomic uint32_t left_count; /* grows when someone leaves while it is closed: the closer waits on it */
static _Atomic unsigned threads;

static __thread struct {
	int depth; /* passes of this thread, one in another; above 0 too while it holds the gate closed */
	unsigned slot;
	bool has_slot;
} mine;

static unsigned my_slot(void)
{
	if (!mine.has_slot) {
		mine.slot = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) % SLOTS;
		mine.has_slot = true;
	}
	return mine.slot;
}

static void step_out(unsigned slot)
{
	atomic_fetch_sub(&slots[slot].inside, 1);
	if (__builtin_expect(atomic_load(&closed) != 0, 0)) {
		atomic_fetch_add(&left_count, 1);
		gb_futex_wake_all(&left_count);
	}
}

/* Who comes in counts itself first and looks at `closed` then; who closes sets `closed` first and looks at the counts then.
 * Both are sequentially consistent, so at least one of the two sees the other. */
void gb_gate_enter(void)
{
	if (mine.depth++ > 0)
		return;
	unsigned slot = my_slot();
	atomic_fetch_add(&slots[slot].inside, 1);
	while (__builtin_expect(atomic_load(&closed) != 0, 0)) {
		step_out(slot);
		gb_futex_wait(&closed, 1, NULL);
		atomic_fetch_add(&slots[slot].inside, 1);
	}
}

void gb_gate_leave(void)
{
	if (--mine.depth == 0)
		step_out(mine.slot);
}

static bool is_empty(void)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		if (atomic_load(&slots[i].inside))
			return false;
	}
	return true;
}

bool gb_gate_close(uint64_t deadline_ns)
{
	const uint64_t end = gb_clock_ns() + deadline_ns;
	uint32_t open = 0;

	if (mine.depth > 0 || !atomic_compare_exchange_strong(&closed, &open, 1))
		return false;
	mine.depth = 1;
	for (;;) {
		uint32_t seen = atomic_load(&left_count);
		if (is_empty())
			return true;
		uint64_t now = gb_clock_ns();
		if (now >= end)
			break;
		const struct timespec timeout = gb_timespec(end - now);
		gb_futex_wait(&left_count, seen, &timeout);
	}
	gb_gate_open();
	return false;
}

void gb_gate_open(void)
{
	mine.depth = 0;
	atomic_store(&closed, 0);
	gb_futex_wake_all(&closed);
}

void gb_gate_after_fork(void)
{
	for (unsigned i = 0; i < SLOTS; i++)
		atomic_store(&slots[i].inside, 0);
	atomic_store(&closed, 0);
	mine.depth = 0;
}
