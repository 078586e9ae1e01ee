/* Waiting for a word in memory to change (futex(2)), within this process. errno is kept. Any thread. */
#ifndef GB_BASE_FUTEX_H
#define GB_BASE_FUTEX_H

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Returns when woken, when *word is not `value` (any more), or after `timeout` (NULL: never); or for no reason at all. */
static inline void gb_futex_wait(_Atomic uint32_t *word, uint32_t value, const struct timespec *timeout)
{
	int saved = errno;

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout, NULL, 0);
	errno = saved;
}

static inline void gb_futex_wake(_Atomic uint32_t *word, int threads)
{
	int saved = errno;

	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
	errno = saved;
}

static inline void gb_futex_wake_all(_Atomic uint32_t *word)
{
	gb_futex_wake(word, INT_MAX);
}

#endif
