#include "lease/holding.h"

#include <stdatomic.h>

static _Atomic uint64_t held;
static _Atomic uint64_t pending;
static _Atomic uint64_t uncharged;

/* A block may be gone on one thread before the other that made it has written it down: a counter is then below zero for a
 * moment, or a part above the whole. */
static uint64_t reading(_Atomic uint64_t *counter, uint64_t most)
{
	uint64_t value = atomic_load(counter);

	if (value > INT64_MAX)
		return 0;
	return value < most ? value : most;
}

struct gb_holding gb_holding_now(void)
{
	struct gb_holding now = {.held = reading(&held, INT64_MAX)};

	now.pending = reading(&pending, now.held);
	now.uncharged = reading(&uncharged, now.held);
	return now;
}

void gb_holding_grant(uint64_t bytes)
{
	gb_holding_hold(bytes);
	gb_holding_pend(bytes);
}

uint64_t gb_holding_pend(uint64_t bytes)
{
	return atomic_fetch_add(&pending, bytes);
}

void gb_holding_hold(uint64_t bytes)
{
	atomic_fetch_add(&held, bytes);
}

void gb_holding_unpend(uint64_t bytes)
{
	atomic_fetch_sub(&pending, bytes);
}

/* Too much rather than too little in between: what is uncharged counts before it is no longer pending. */
void gb_holding_settle(uint64_t bytes, uint64_t uncharged_bytes)
{
	atomic_fetch_add(&uncharged, uncharged_bytes);
	atomic_fetch_sub(&pending, bytes);
}

void gb_holding_release(uint64_t bytes, uint64_t uncharged_bytes)
{
	atomic_fetch_sub(&held, bytes);
	atomic_fetch_sub(&uncharged, uncharged_bytes);
}

void gb_holding_return(uint64_t bytes)
{
	atomic_fetch_sub(&held, bytes);
	atomic_fetch_sub(&pending, bytes);
}

void gb_holding_after_fork(void)
{
	atomic_store(&held, 0);
	atomic_store(&pending, 0);
	atomic_store(&uncharged, 0);
}
