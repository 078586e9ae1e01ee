/* Room for a request: the last steps before it is told "out of memory", shared by all that allocate. */
#ifndef GB_ALLOC_ROOM_H
#define GB_ALLOC_ROOM_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/cuda_subset.h"

/* Grants host memory (gb_books_grant). Before it is asked for, what streams are done with is given back; if it is not
 * enough, what they still use is the last that can be had: the real allocator waits for it as well. */
bool gb_room_grant_host(uint64_t bytes);

/* Moves chunks out of VRAM for a request of `bytes` that did not get it: what it lacks, or all of it if by every account it
 * fits. Whether that came about: then it is worth another try. */
bool gb_room_make(CUdevice device, uint64_t bytes);

#endif
