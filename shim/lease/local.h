/* The rule for a process that has nobody to ask: what the machine and the process' memory cgroup have left, less a reserve
 * for everybody else, less what is granted and not yet taken (lease/holding.h).
 *
 * Reads a few files of /proc and /sys, at most every 10 ms unless it must refuse: only for requests that overflow. Any
 * thread. */
#ifndef GB_LEASE_LOCAL_H
#define GB_LEASE_LOCAL_H

#include <stdbool.h>
#include <stdint.h>

/* Grants `bytes`, which are then in the holding; or false, and *budget is what could have been granted. */
bool gb_local_acquire(uint64_t bytes, uint64_t *budget);

/* Bytes that could be granted now. */
uint64_t gb_local_budget(void);

/* The machine's RAM in bytes, or 0 if unknown. */
uint64_t gb_local_total(void);

void gb_local_after_fork(void);

#endif
