/* How long a kernel that reads a range once would take: the time it spends on the bandwidth of VRAM and of the link.
 *
 * Arithmetic alone: no memory is touched, nothing is queued, no clock is read; the same calls give the same figures.
 * A kernel reads its range in order, in pieces of 256 KiB, of which the window's bytes are in flight at most. A piece is
 * issued as soon as the window has room, and leaves it when its server is done with it. VRAM, the link, and the
 * migration of managed pages are three servers, each with its bandwidth, each first in first out. The kernel ends when
 * its last piece is there, and the next begins after that. Latency, caches and copies in the same moment are left out.
 *
 * The three functions are no part of CUDA. They are exported for tests, by these names, and take fk.lock themselves.
 * README.md has the variables (FAKECUDA_MODEL_...) and where their defaults are from. */
#ifndef FK_MODEL_H
#define FK_MODEL_H

#include <stddef.h>

#include "cuda_api.h"

#define FK_MODEL_PIECE (256ull << 10)
#define FK_MODEL_PAGE (2ull << 20) /* of managed memory that migrates: the driver's largest unit */
#define FK_MODEL_WINDOW (32ull << 20)
#define FK_MODEL_WINDOW_MAX (1ull << 30)

enum fk_model_server { FK_MODEL_DEVICE, FK_MODEL_LINK, FK_MODEL_FAULT, FK_MODEL_SERVERS };

/* All kernels since the last reset; they ran one after another. */
struct fakecuda_model {
	uint64_t kernels;
	uint64_t bytes[FK_MODEL_SERVERS]; /* that each server moved; a migrated page counts whole */
	double busy_ns[FK_MODEL_SERVERS]; /* how long it took each, waiting left out */
	double ns; /* the kernels' time */
	uint64_t pages_hit, pages_missed, pages_evicted; /* managed pages, counted once a kernel */
};

/* One kernel that reads [base, base + size) in the calling thread's context. CUDA_ERROR_INVALID_VALUE where a byte of it
 * is nothing that a kernel may read: then nothing is counted. CUDA_ERROR_OUT_OF_MEMORY: no room for the books. */
CUresult fakecuda_model_read(CUdeviceptr base, size_t size);

CUresult fakecuda_model_result(struct fakecuda_model *out);

/* The figures back to 0. Managed pages stay where they are. */
CUresult fakecuda_model_reset(void);

#endif
