/* Keeps the program's submissions and our moves of its memory out of each other's way.
 *
 * Every call that gives the device work, or maps or unmaps blocks of ours, passes through the gate: an atomic add on the
 * way in and one on the way out. A move closes the gate: it waits until nobody is inside, and who comes then waits until it
 * is open again. With the gate closed, and the contexts idle, chunks can change their place.
 *
 * Passes nest: a thread that is inside, or that closed the gate, goes through. Closing is bounded by a deadline, so that
 * two threads that wait for each other through the device (collective kernels, host functions) lose a move and no more.
 * Any thread. Not for signal handlers. */
#ifndef GB_ALLOC_GATE_H
#define GB_ALLOC_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

void gb_gate_enter(void);
void gb_gate_leave(void);

/* Whether nobody else is inside from here on, until gb_gate_open(). False, and the gate open, if that did not come about
 * within `deadline_ns`, if another thread has closed it, or if this thread is inside itself. */
bool gb_gate_close(uint64_t deadline_ns);
void gb_gate_open(void);

/* For GB_CLEANUP: leaves what was entered. */
static inline void gb_gate_pass_end(const int *unused)
{
	(void)unused;
	gb_gate_leave();
}

/* This scope is inside. */
#define GB_GATE_PASS()                                         \
	gb_gate_enter();                                       \
	GB_CLEANUP(gb_gate_pass_end) const int gb_passing = 0; \
	(void)gb_passing

/* In a forked child: open, and nobody inside. */
void gb_gate_after_fork(void);

#endif
