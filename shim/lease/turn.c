#include "lease/turn.h"

#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "base/futex.h"

enum { FREE, TAKEN, WAITED_FOR };

static _Atomic uint32_t turn;

bool gb_turn_try(void)
{
	uint32_t expected = FREE;

	return atomic_compare_exchange_strong(&turn, &expected, TAKEN);
}

/* Who waits says so in the word, and leaves it said when it takes the turn: there may be others. */
bool gb_turn_take(uint64_t deadline_ns)
{
	if (gb_turn_try())
		return true;
	while (atomic_exchange(&turn, WAITED_FOR) != FREE) {
		uint64_t now = gb_clock_ns();
		if (now >= deadline_ns)
			return false;
		const struct timespec timeout = gb_timespec(deadline_ns - now);
		gb_futex_wait(&turn, WAITED_FOR, &timeout);
	}
	return true;
}

void gb_turn_give_back(void)
{
	if (atomic_exchange(&turn, FREE) == WAITED_FOR)
		gb_futex_wake(&turn, 1);
}

void gb_turn_after_fork(void)
{
	atomic_store(&turn, FREE);
}
