/* Whether the device has done all that this process gave it: asked of every context that memory was allocated in.
 *
 * A question with a deadline rather than a synchronisation without one: work that waits for another thread of the program
 * may be waiting for a thread that waits here. Needs cuCtxRecordEvent (CUDA 12.5); without it the answer is no. Any thread. */
#ifndef GB_ALLOC_IDLE_H
#define GB_ALLOC_IDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/cuda_subset.h"

/* Remembers the context; true if it was not known. Called with every allocation; costs a comparison as long as a thread
 * keeps to one. */
bool gb_idle_note(CUcontext context);
/* The context is no more. */
void gb_idle_forget(CUcontext context);

/* Whether everything that was submitted before the call is done, by the deadline. No stream may be capturing: recording
 * the event would invalidate the capture. */
bool gb_idle_wait(uint64_t deadline_ns);

void gb_idle_after_fork(void);

#endif
