/* How one allocation is cut into chunks, and which of them lie in VRAM. Pure. */
#ifndef GB_POLICY_SPLIT_PLAN_H
#define GB_POLICY_SPLIT_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/options.h"

struct gb_split_plan {
	uint64_t mapped_bytes;  /* the size in whole granules; 0: no plan (too large, or no granule) */
	uint64_t chunk_bytes;   /* whole granules; the last chunk may be shorter */
	uint32_t chunks;        /* at least 1 */
	uint32_t device_chunks; /* of them in VRAM */
	enum gb_pattern pattern;
};

/* What a plan is made from, in bytes. */
struct gb_split_terms {
	uint64_t size;        /* as the program asked; above 0 */
	uint64_t granularity; /* of the device */
	uint64_t chunk;       /* as the user asked; 0: GB_CHUNK_FRONT, or one granule where chunks are interleaved */
	uint64_t vram;        /* that its chunks may take at most */
	enum gb_pattern pattern;
};

/* 64 MiB, so that what moves is worth the call. A kernel keeps tens of MiB in flight at most, so a stripe of that size
 * would be read alone, one memory at a time: interleaved chunks are as small as the device allows. */
#define GB_CHUNK_FRONT (UINT64_C(64) << 20)
/* What devices have as their granule: good enough to decide with, before one is asked. */
#define GB_GRANULE_USUAL (UINT64_C(2) << 20)
/* More make every allocation slow: larger ones are cut coarser. */
#define GB_CHUNKS_MAX UINT32_C(16384)
/* One handle of host memory is at most this large (1 GiB): larger pins have been seen to fail, or to block others. */
#define GB_CHUNK_MAX (UINT64_C(1) << 30)

/* As much VRAM as the terms allow, in whole chunks. */
struct gb_split_plan gb_split_plan(const struct gb_split_terms *terms);

/* Whether chunk `index` lies in VRAM, when it is made. */
bool gb_split_plan_in_vram(const struct gb_split_plan *plan, uint32_t index);

/* VRAM that a split block leaves free where the user set no reserve: 1/32 of what the process may use, at most 512 MiB.
 * Whoever was full to the last byte could not load a kernel any more. */
uint64_t gb_split_reserve_default(uint64_t vram_total);

/* The bytes of chunk `index`. */
uint64_t gb_split_plan_chunk(const struct gb_split_plan *plan, uint32_t index);

/* The bytes of VRAM, and of host memory, that the plan takes. They add up to mapped_bytes. */
uint64_t gb_split_plan_vram(const struct gb_split_plan *plan);
uint64_t gb_split_plan_host(const struct gb_split_plan *plan);

/* The chunk that a block is cut into, unless GB_CHUNKS_MAX or the block's size make it another. */
uint64_t gb_split_chunk(uint64_t granularity, uint64_t wanted, enum gb_pattern pattern);

/* Of the chunks that are in VRAM (or, with of_vram false, are not), those whose move disturbs the pattern least: spread
 * evenly where chunks are interleaved, else at the seam between VRAM and host memory. Writes up to `count` indices, in
 * ascending order, and returns how many. `in_vram`: a bit a chunk. */
uint32_t gb_split_pick(const uint64_t *in_vram, uint32_t chunks, enum gb_pattern pattern, bool of_vram, uint32_t count,
		       uint32_t *picked);

/* Bits in `in_vram` that are set. */
uint32_t gb_split_count(const uint64_t *in_vram, uint32_t chunks);

static inline bool gb_split_bit(const uint64_t *in_vram, uint32_t index)
{
	return in_vram[index / 64] >> (index % 64) & 1;
}

#endif
