#include "lease/lease.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/options.h"
#include "lease/client.h"
#include "lease/holding.h"
#include "lease/local.h"

/* The daemon's word on what could be granted is good for so long, if nothing changes here: as the local rule's reading. */
#define BUDGET_GOOD_MS 10
/* What is held and asked for together is at most this in a message. */
#define ASKED_MAX ((uint64_t)INT64_MAX)

static _Atomic uint64_t budget_bytes;
static _Atomic uint64_t budget_until_ms; /* 0: not known */

static void changed(void)
{
	atomic_store(&budget_until_ms, 0);
	gb_client_update();
}

/* What the user's own option, or the administrator's bound, keeps free; 0: there is none. */
static uint64_t own_reserve(void)
{
	const struct gb_size *option = &gb_options()->host_reserve;
	uint64_t reserve = gb_size_resolve(option, gb_size_needs_whole(option) ? gb_lease_total() : 0, 0);

	return reserve < ASKED_MAX ? reserve : ASKED_MAX;
}

/* Of more the daemon would say that it is no request. */
static bool can_be_asked(uint64_t bytes)
{
	return bytes <= ASKED_MAX - gb_holding_now().held;
}

void gb_lease_start(int page_fd)
{
	gb_client_start(page_fd);
}

static bool acquire_alone(uint64_t bytes, struct gb_lease_refusal *refusal)
{
	uint64_t budget = 0;

	if (gb_local_acquire(bytes, &budget)) {
		changed();
		return true;
	}
	*refusal = (struct gb_lease_refusal){.budget_bytes = budget, .verdict = GB_VERDICT_MACHINE};
	return false;
}

bool gb_lease_acquire(uint64_t bytes, struct gb_lease_refusal *refusal)
{
	struct gb_reply reply;

	if (!can_be_asked(bytes))
		return acquire_alone(bytes, refusal);
	switch (gb_client_acquire(bytes, own_reserve(), &reply)) {
	case GB_CLIENT_GRANTED:
		atomic_store(&budget_until_ms, 0);
		return true;
	case GB_CLIENT_REFUSED:
		*refusal = (struct gb_lease_refusal){.budget_bytes = reply.budget_bytes,
						     .verdict = (enum gb_verdict)reply.verdict,
						     .by_daemon = true};
		return false;
	case GB_CLIENT_NOBODY:
		break;
	}
	return acquire_alone(bytes, refusal);
}

void gb_lease_settle(uint64_t bytes, uint64_t uncharged)
{
	gb_holding_settle(bytes, uncharged);
	changed();
}

void gb_lease_release(uint64_t bytes, uint64_t uncharged)
{
	gb_holding_release(bytes, uncharged);
	changed();
}

void gb_lease_return(uint64_t bytes)
{
	gb_holding_return(bytes);
	changed();
}

uint64_t gb_lease_budget(void)
{
	const uint64_t now_ms = gb_clock_coarse_ms();
	struct gb_reply reply;

	if (now_ms < atomic_load(&budget_until_ms))
		return atomic_load(&budget_bytes);
	if (gb_client_acquire(0, own_reserve(), &reply) == GB_CLIENT_NOBODY)
		return gb_local_budget();
	atomic_store(&budget_bytes, reply.budget_bytes);
	atomic_store(&budget_until_ms, now_ms + BUDGET_GOOD_MS);
	return reply.budget_bytes;
}

uint64_t gb_lease_total(void)
{
	static _Atomic uint64_t known;
	uint64_t total = atomic_load_explicit(&known, memory_order_relaxed);

	if (!total) {
		total = gb_local_total();
		atomic_store_explicit(&known, total, memory_order_relaxed);
	}
	return total;
}

void gb_lease_keep(void)
{
	gb_client_keep();
}

void gb_lease_before_fork(void)
{
	gb_client_before_fork();
}

void gb_lease_after_fork_in_parent(void)
{
	gb_client_after_fork_in_parent();
}

void gb_lease_after_fork_in_child(void)
{
	gb_holding_after_fork();
	gb_client_after_fork_in_child();
	gb_local_after_fork();
	atomic_store(&budget_until_ms, 0);
}
