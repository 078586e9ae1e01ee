/* The blocks of the split tier, and moving their chunks between VRAM and host memory.
 *
 * A block's record lives from its allocation to its free, in a set that movers walk. Whoever frees a block or moves a chunk
 * does so inside the gate or behind it closed (alloc/gate.h), so a mover meets no free and a free no move: fields change
 * under that rule alone. The set's own lock guards its list; a leaf. */
#ifndef GB_TIER_SPLIT_H
#define GB_TIER_SPLIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/block.h"
#include "policy/split_plan.h"

struct gb_split {
	CUdeviceptr base;
	CUcontext context;
	struct gb_split *older, *newer; /* in the set */
	uint64_t mapped_bytes, chunk_bytes;
	struct gb_share share;
	uint32_t chunks;
	uint32_t peers; /* devices beside its own that reach all of it (bit: ordinal) */
	uint32_t users; /* devices in use: the host memory of it is theirs too, as all pinned memory is */
	uint32_t place; /* in the set */
	uint8_t device;
	bool unmapped; /* a free got that far */
	uint8_t pattern;
	uint64_t in_vram[]; /* a bit a chunk */
};

/* Adds the record, and gives it its place. CUDA_ERROR_OUT_OF_MEMORY where there is no room. */
CUresult gb_split_set_add(struct gb_split *split);
void gb_split_set_remove(struct gb_split *split);
/* The record at a place (block->progress). */
struct gb_split *gb_split_set_at(uint32_t place);
void gb_split_set_after_fork(void);

/* Of a device's split blocks, the bytes that lie in VRAM, and in host memory: loads, for hints. */
uint64_t gb_split_device_vram(CUdevice device);
uint64_t gb_split_device_host(CUdevice device);

/* Walks the set, with the gate closed: the block that was allocated next after `split`, or next before it. From NULL: the
 * oldest, or the newest. NULL at the end. */
struct gb_split *gb_split_newer(const struct gb_split *split);
struct gb_split *gb_split_older(const struct gb_split *split);

/* What has moved, from where to where is the caller's to know. */
struct gb_moved {
	uint64_t bytes;
	uint32_t chunks;
};

/* With the gate closed, and nothing in flight on the block: moves up to `count` chunks to VRAM or to host memory, in the
 * block's own order; its context is made current by the caller. What moved is in *moved, success or not: a chunk has
 * moved whole or not at all. CUDA_ERROR_OUT_OF_MEMORY where the destination has no room. */
CUresult gb_split_move(struct gb_split *split, uint32_t count, bool to_vram, struct gb_moved *moved);

/* False where the device's self-test saw a move fail, or lose bytes. */
bool gb_split_moves_work(CUdevice device);

/* Device memory is reached by its device, and by peers that were let in. Host memory is reached by every device in use, as
 * pinned memory is: a copy may be made in a context of any of them. Both as bits by ordinal. */
struct gb_reach {
	uint32_t peers; /* of one device */
	uint32_t users;
};

struct gb_reach gb_split_reach_wanted(CUdevice device);
void gb_split_add_peer(CUdevice device, CUdevice peer);
/* False if the device was known to be in use. */
bool gb_split_add_user(CUdevice device);

/* Gives the devices that are to reach the block their access; what was allocated before them needs it, with the gate
 * closed. */
CUresult gb_split_grant_access(struct gb_split *split);

/* The devices beside its own that reach a chunk of the block. */
static inline uint32_t gb_split_reaches(const struct gb_split *split, bool is_vram)
{
	return is_vram ? split->peers : split->peers | split->users;
}

static inline uint64_t gb_split_chunk_size(const struct gb_split *split, uint32_t index)
{
	uint64_t left = split->mapped_bytes - index * split->chunk_bytes;

	return left < split->chunk_bytes ? left : split->chunk_bytes;
}

/* Adjusts the record's share, and the device's, by one chunk of that many bytes. */
void gb_split_count_move(struct gb_split *split, uint64_t bytes, bool to_vram);

#endif
