#include "base/once.h"

#include <pthread.h>
#include <unistd.h>

#include "base/futex.h"

/* The state: 0, DONE, or else the process that is doing it. */
#define DONE UINT32_MAX

static void do_or_wait(struct gb_once *once, void (*act)(void))
{
	const uint32_t self = (uint32_t)getpid();
	uint32_t state;

	while ((state = atomic_load_explicit(&once->state, memory_order_acquire)) != DONE) {
		if (state == self) {
			gb_futex_wait(&once->state, self, NULL);
		} else if (atomic_compare_exchange_strong(&once->state, &state, self)) {
			act();
			atomic_store_explicit(&once->state, DONE, memory_order_release);
			gb_futex_wake_all(&once->state);
		}
	}
}

void gb_once(struct gb_once *once, void (*act)(void))
{
	int cancelled;

	if (atomic_load_explicit(&once->state, memory_order_acquire) == DONE)
		return;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelled);
	do_or_wait(once, act);
	pthread_setcancelstate(cancelled, NULL);
}
