/* How a hook begins: whether it is ours to do anything, and whether we are already inside one.
 *
 * A call that reaches a hook from within a hook comes from the driver's own code or from ours, and is passed on. With
 * GREENBOOST_DISABLE every call is passed on. */
#ifndef GB_ENTRY_ENTRY_H
#define GB_ENTRY_ENTRY_H

#include <stdbool.h>

#include "base/cleanup.h"
#include "driver/driver.h"
#include "entry/prototypes.h"

/* Whether every call is passed on: the user wants it so, or there is no glibc. */
bool gb_entry_is_disabled(void);

/* False: pass the call on. True: gb_entry_close() must follow. */
bool gb_entry_open(void);
void gb_entry_close(const int *unused);

/* The first line of a hook's body: passes the call on if it is not ours, and marks this thread as inside until return. */
#define GB_ENTER(symbol, arguments)                         \
	const struct gb_driver *driver = gb_driver();       \
	if (!gb_entry_open())                               \
		return driver->symbol arguments;            \
	GB_CLEANUP(gb_entry_close) const int gb_inside = 0; \
	(void)gb_inside

/* A legacy-stream hook's stream 0 is the legacy default stream, a _ptsz hook's is the thread's own: from here on it is
 * named, and one body serves both (cuda.h, CU_STREAM_PER_THREAD). */
static inline CUstream gb_per_thread(CUstream stream)
{
	return stream ? stream : CU_STREAM_PER_THREAD;
}

#endif
