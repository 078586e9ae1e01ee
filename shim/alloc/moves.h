/* Chunks of split blocks change their place: out of VRAM when a small request finds it full, and back when there is room.
 *
 * A move needs the device idle and nobody submitting: the gate is closed for it, the work in flight is waited for with a
 * deadline, and if that does not come about nothing moves. Never while a stream is being captured. Books are kept here.
 * Any thread; not inside the gate. */
#ifndef GB_ALLOC_MOVES_H
#define GB_ALLOC_MOVES_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/cuda_subset.h"

/* What moves beyond what must, at one time: some milliseconds of a link's time. */
#define GB_MOVE_STEP_BYTES (UINT64_C(128) << 20)

/* Moves the coldest chunks to host memory until `bytes` of VRAM are free that were not, and `extra` more if the machine has
 * the memory for it: so that the next small request finds room without a move. False if less than `bytes` moved. */
bool gb_moves_make_room(CUdevice device, uint64_t bytes, uint64_t extra);

/* VRAM of the device was given back: chunks may return at the next safe point. */
void gb_moves_room_made(CUdevice device);

/* A safe point: a call of the program's that waited for the device, or freed memory. Brings back a bounded number of bytes,
 * if the device is idle anyway. A load if there is nothing to bring back. */
void gb_moves_safe_point(void);

/* `peer` may reach the memory of `device` from now on: so it may reach its split blocks. */
void gb_moves_let_in(CUdevice device, CUdevice peer);
/* The device is in use: what split blocks and handles have in host memory is within its reach, as pinned memory is. */
void gb_moves_meet(CUdevice device);

void gb_moves_after_fork(void);

#endif
