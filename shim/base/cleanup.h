/* What a scope owns, it gives back on every way out: GB_CLEANUP(f) int fd = ...; calls f(&fd). */
#ifndef GB_BASE_CLEANUP_H
#define GB_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

/* An undo that fails gets a second try, because nobody comes after it. The value is the last try's.
 * The call is written out twice: nothing in it may count. */
#define GB_INSIST(call) ((call) ? (call) : 0)

#define GB_CLEANUP(function) __attribute__((cleanup(function)))

static inline void gb_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void gb_free_memory(void *pointer_address)
{
	free(*(void **)pointer_address);
}

#endif
