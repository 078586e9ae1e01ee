/* Whose turn it is to talk to the daemon: one thread's at a time.
 *
 * A lock in all but two things: it is held while its owner waits for an answer, which takes GB_WIRE_DEADLINE_MS at most, and
 * so nobody waits for it without a deadline. Its owner cannot be cancelled meanwhile, and calls neither the driver nor
 * the log. What it guards is lease/client.c's. */
#ifndef GB_LEASE_TURN_H
#define GB_LEASE_TURN_H

#include <stdbool.h>
#include <stdint.h>

/* Takes it if it is free. */
bool gb_turn_try(void);
/* Takes it, or false if that did not come about by the time `deadline_ns` (gb_clock_ns). */
bool gb_turn_take(uint64_t deadline_ns);
void gb_turn_give_back(void);

/* In a forked child: free. */
void gb_turn_after_fork(void);

#endif
