/* Which context is current, and making another so for a while. Any thread: it is the thread's own affair. */
#ifndef GB_ALLOC_CURRENT_H
#define GB_ALLOC_CURRENT_H

#include <stdbool.h>

#include "abi/cuda_subset.h"

/* The current context and its device. False where there is none, or the device's ordinal is GB_DEVICES_MAX or more:
 * the call is then the driver's alone. */
bool gb_device_current(CUcontext *context, CUdevice *device);

/* Makes `context` current if it is not; *pushed says whether gb_context_leave() has something to undo. */
CUresult gb_context_enter(CUcontext context, bool *pushed);
void gb_context_leave(bool *pushed);

#endif
