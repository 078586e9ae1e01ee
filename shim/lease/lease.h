/* Host memory is granted before it is taken: by the daemon, where there is one, else by this process' own rule.
 *
 * A grant is pending until gb_lease_settle(): by then its pages are taken, and the kernel's own figures include them. What the
 * daemon refuses is refused. Asking costs an exchange with the daemon, or reads a few files, and is only for requests that
 * overflow; no more than GB_WIRE_DEADLINE_MS is ever waited. Telling of what was taken or given back costs a message at most,
 * never waits, and says nothing, so the gate may be closed meanwhile. Any thread, but for fork's. */
#ifndef GB_LEASE_LEASE_H
#define GB_LEASE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/greenboost_abi.h"

struct gb_lease_refusal {
	uint64_t budget_bytes; /* what could have been granted */
	enum gb_verdict verdict; /* why */
	bool by_daemon;
};

/* Once, when the process first reaches CUDA; opens nothing yet. `page_fd`: the descriptor of the page of counters, or -1; it
 * stays the caller's. */
void gb_lease_start(int page_fd);

/* Grants `bytes`; or false, and *refusal says why. */
bool gb_lease_acquire(uint64_t bytes, struct gb_lease_refusal *refusal);

/* The pages of granted bytes are taken. Of those, `uncharged` are the driver's own, which the process' memory cgroup is not
 * charged for (mapped chunks; the pages are the kernel module's); they count against the group's headroom all the same. */
void gb_lease_settle(uint64_t bytes, uint64_t uncharged);
/* Bytes that were settled so are given back. */
void gb_lease_release(uint64_t bytes, uint64_t uncharged);
/* A grant came to nothing: it was not settled. */
void gb_lease_return(uint64_t bytes);

/* Bytes that could be granted now. */
uint64_t gb_lease_budget(void);

/* The machine's RAM in bytes, or 0 if unknown. */
uint64_t gb_lease_total(void);

/* For calls in which the program waits for the device anyway: at most once a second, and only if something is held, looks
 * after the connection. Otherwise a few nanoseconds. */
void gb_lease_keep(void);

/* Around fork(): in the child nothing is held, and the parent's connection is the parent's alone. */
void gb_lease_before_fork(void);
void gb_lease_after_fork_in_parent(void);
void gb_lease_after_fork_in_child(void);

#endif
