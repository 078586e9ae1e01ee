/* The host memory that this process has been granted, by the daemon or by its own rule: the figures that every message
 * carries, and that the local rule counts with.
 *
 * Three atomic counters, each changed on its own: who reads between two changes of one event sees a moment that never was,
 * but never a share above the whole. With nothing in flight they are exact, to the byte. Any thread. */
#ifndef GB_LEASE_HOLDING_H
#define GB_LEASE_HOLDING_H

#include <stdint.h>

struct gb_holding {
	uint64_t held;      /* bytes granted and not given back */
	uint64_t pending;   /* of those: not taken yet, hence in no figure of the kernel's */
	uint64_t uncharged; /* of those: pages of the driver's, which no memory cgroup is charged for */
};

struct gb_holding gb_holding_now(void);

/* Bytes were granted. In two steps where they count as pending before it is decided: pend() answers what others had pending;
 * then hold(), or unpend() where it came to nothing. */
void gb_holding_grant(uint64_t bytes);
uint64_t gb_holding_pend(uint64_t bytes);
void gb_holding_hold(uint64_t bytes);
void gb_holding_unpend(uint64_t bytes);

/* The pages of granted bytes are taken, of which so many are uncharged. */
void gb_holding_settle(uint64_t bytes, uint64_t uncharged);
/* Settled bytes are given back. */
void gb_holding_release(uint64_t bytes, uint64_t uncharged);
/* Granted bytes were not taken, and will not be. */
void gb_holding_return(uint64_t bytes);

/* In a forked child: nothing. */
void gb_holding_after_fork(void);

#endif
