/* What is done once in a process; who comes while it is being done waits for it. Any thread, but not from within.
 *
 * As pthread_once, which before glibc 2.34 not every process has. Cancellation waits until it is done. A child that was
 * forked in the middle does it anew. */
#ifndef GB_BASE_ONCE_H
#define GB_BASE_ONCE_H

#include <stdatomic.h>
#include <stdint.h>

struct gb_once {
	_Atomic(uint32_t) state; /* 0: not done yet */
};

void gb_once(struct gb_once *once, void (*act)(void));

#endif
