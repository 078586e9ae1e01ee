/* Which streams are being captured into a graph. While one is, nothing of ours may synchronise: that would invalidate it.
 *
 * The driver has no such question for a whole process, so the hooks of cuStreamBeginCapture and EndCapture keep a list.
 * A capture can also end otherwise (its stream is destroyed); so the driver is asked about each stream on the list. */
#ifndef GB_ALLOC_CAPTURE_H
#define GB_ALLOC_CAPTURE_H

#include <stdbool.h>

#include "abi/cuda_subset.h"

void gb_capture_began(CUstream stream);
void gb_capture_ended(CUstream stream);

/* Whether any stream is being captured. Free of cost while none ever was. */
bool gb_capture_active(void);

/* Whether this stream is being captured: what is asked of it then becomes part of a graph, and is the driver's alone. */
bool gb_capture_includes(CUstream stream);

void gb_capture_after_fork(void);

#endif
