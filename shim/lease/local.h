/* Host memory is granted before it is taken: the rule for a process that has nobody to ask.
 *
 * The grant is from what the machine and the process' memory cgroup have left, less a reserve for everybody else. A grant
 * is pending until gb_local_settle(): by then its pages are taken, and the kernel's own figures include them. Reads a few
 * files of /proc and /sys, at most every 10 ms unless it must refuse: only for requests that overflow. Any thread. */
#ifndef GB_LEASE_LOCAL_H
#define GB_LEASE_LOCAL_H

#include <stdbool.h>
#include <stdint.h>

/* Grants `bytes`, to be settled; or false, and *budget is what could have been granted. */
bool gb_local_acquire(uint64_t bytes, uint64_t *budget);

/* The grant's pages are taken, or will not be. */
void gb_local_settle(uint64_t bytes);

/* Host memory that the driver took for itself, which the process' memory cgroup is not charged for (mapped chunks; the pages
 * are the kernel module's). It counts against the group's headroom all the same: granted bytes were taken so, or given back. */
void gb_local_took_uncharged(uint64_t bytes);
void gb_local_gave_back_uncharged(uint64_t bytes);

/* Bytes that could be granted now. */
uint64_t gb_local_budget(void);

/* The machine's RAM in bytes, or 0 if unknown. */
uint64_t gb_local_total(void);

void gb_local_after_fork(void);

#endif
