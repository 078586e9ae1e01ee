/* What a block of the overflow clients holds: known for every byte, different in every block. Pure.
 *
 * [0, tail): the period, again and again; [tail, size): one byte. Over that a stamp of four bytes every
 * CONTENT_STAMP_EVERY. Over that, from the middle on, a patch: the beginning of the block before it. */
#ifndef CONTENT_H
#define CONTENT_H

#include "client.h"

enum {
	CONTENT_PERIOD = (1 << 20) + 4091, /* bytes; odd, so that exchanged chunks show */
	CONTENT_STAMP_EVERY = 256 << 10
};

enum kind { MALLOC, PITCH, ASYNC, ASYNC_PTSZ, POOL, POOL_PTSZ, KINDS };

struct block {
	CUdeviceptr at;
	size_t size;
	uint64_t seed;
	enum kind kind;
};

size_t content_tail(const struct block *b);
size_t content_patch(const struct block *b, const struct block *before);
unsigned int content_stamp(const struct block *b, size_t offset);
/* The block's period, CONTENT_PERIOD bytes. */
void content_period(const struct block *b, unsigned char *to);
/* Bytes [offset, offset + size) of the block, without the patch. `period` is the block's own. */
void content_expect(const struct block *b, const unsigned char *period, size_t offset, size_t size, unsigned char *to);

#endif
