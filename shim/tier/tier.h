/* What every tier can do: one small table of operations each.
 *
 * A tier takes memory and gives it back. It keeps no books: admission, accounting and the ledger are the caller's. No lock
 * is held here, and none may be held by the caller. The context that the program made current is current. */
#ifndef GB_TIER_TIER_H
#define GB_TIER_TIER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/block.h"
#include "policy/split_plan.h"

enum gb_call_kind { GB_CALL_PLAIN, GB_CALL_PITCH, GB_CALL_ASYNC, GB_CALL_POOL };

/* What the program asked for, in the form in which the real call wants it. */
struct gb_call {
	enum gb_call_kind kind;
	size_t size;                        /* bytes; PITCH: pitch x height as it would lie in a fallback tier */
	size_t width, height;               /* PITCH: bytes a row, rows */
	size_t pitch;                       /* PITCH: out, bytes from row to row; preset for the fallback tiers */
	unsigned int element_size;          /* PITCH */
	CUstream stream;                    /* ASYNC, POOL */
	CUmemoryPool pool;                  /* POOL */
	const struct gb_split_plan *plan;   /* for the split tier */
	uint64_t vram_had; /* split tier, out: where the driver was short of VRAM, what of it could be had */
};

struct gb_tier_ops {
	const char *name;

	/* NULL if it works on this device, else why not: by its attributes, then by doing (allocate, set by the device, copy
	 * back across whatever boundary the tier has inside, free). Costs milliseconds; callers remember the answer. */
	const char *(*why_not)(CUdevice device);

	/* Takes block->size bytes, all of them, for block->device, and sets block->base and block->progress. On failure nothing is
	 * held: CUDA_ERROR_OUT_OF_MEMORY lets the caller try the next tier, anything else is the program's answer.
	 * On success all of its host pages are taken, not only promised. */
	CUresult (*alloc)(struct gb_block *block, struct gb_call *call);

	/* Gives it back; work that uses it must be complete. On failure block->progress says what is left, and the call may
	 * be repeated. */
	CUresult (*free)(struct gb_block *block);

	/* The block's context is gone, and the driver's part with it: drops what the process still holds. */
	void (*abandon)(struct gb_block *block);

	/* Where its bytes lie now. */
	struct gb_share (*share)(const struct gb_block *block);
};

/* The operations of a tier; NULL for one that does not allocate (pageable has its place kept, UNIFIED belongs to the
 * program). */
const struct gb_tier_ops *gb_tier(enum gb_tier tier);

/* Whether the tier works on the device: tested once per device and process, by the first caller. At log level info all
 * tiers are then tested, so that the user sees the whole ladder. */
bool gb_tier_works(enum gb_tier tier, CUdevice device);

/* Whether the device can set [base, base+size) and what it set can be read back, in one copy over all of it. Uses a stream
 * of its own and waits for that alone; safe while other streams are being captured. */
bool gb_tier_exercise(CUdeviceptr base, size_t size);
/* Its second half: whether what it set is still there. */
bool gb_tier_verify(CUdeviceptr base, size_t size);

/* A stream that waits for nobody else's. cleanup function: gb_tier_stream_end. */
CUresult gb_tier_stream(CUstream *stream);
void gb_tier_stream_end(CUstream *stream);

/* In this scope, calls that would disturb a capture on another stream are allowed to this thread (cuda.h,
 * cuThreadExchangeStreamCaptureMode: that is what libraries use it for). */
#define GB_TIER_RELAXED()                                                                               \
	GB_CLEANUP(gb_tier_exchange_mode) CUstreamCaptureMode gb_mode = CU_STREAM_CAPTURE_MODE_RELAXED; \
	gb_tier_exchange_mode(&gb_mode)
void gb_tier_exchange_mode(CUstreamCaptureMode *mode);

/* The shares of a block that lies in one place. */
struct gb_share gb_tier_share_vram(const struct gb_block *block);
struct gb_share gb_tier_share_host(const struct gb_block *block);

/* Writes a zero to every page of fresh memory that the CPU can reach. Always a success. */
CUresult gb_tier_touch(CUdeviceptr base, size_t size);

extern const struct gb_tier_ops gb_tier_device;
extern const struct gb_tier_ops gb_tier_split;
extern const struct gb_tier_ops gb_tier_host_mapped;
extern const struct gb_tier_ops gb_tier_managed;

#endif
