/* Sizes as people write them: 8GiB, 1500M, 0.5T, 75%. Pure; no allocation.
 *
 * Grammar: blanks, digits, optionally '.' and up to 9 digits, blanks, a unit, blanks. Units, in any case: none and B are
 * bytes; K M G T and KiB MiB GiB TiB are powers of 1024; KB MB GB TB powers of 1000; % is a share of a whole that is known
 * only later, above 0 and at most 100. Fractions of a byte are dropped. */
#ifndef GB_BASE_SIZE_H
#define GB_BASE_SIZE_H

#include <stdbool.h>
#include <stdint.h>

/* A share is in units of 1e-11 of the whole, so that "%" with 9 decimals is exact. */
#define GB_SHARE_WHOLE UINT64_C(100000000000)

struct gb_size {
	bool is_set;
	bool is_share;
	uint64_t value; /* bytes, or the share */
	/* What it may be at most, or has to be at least, whether it is set or not: bytes and a share, both of which count. */
	enum gb_bound { GB_BOUND_NONE, GB_BOUND_AT_MOST, GB_BOUND_AT_LEAST } bound;
	uint64_t bound_bytes;
	uint64_t bound_share; /* 0: none */
};

/* 0 and *size, without a bound, or -EINVAL (not a size) or -ERANGE (2^64 bytes or more, or a share outside 0 to 100 %) with
 * *size untouched. */
int gb_size_parse(const char *text, struct gb_size *size);

/* Bounds a size by another, which is set; what bounds it already in that direction still does. */
void gb_size_bound(struct gb_size *size, enum gb_bound bound, const struct gb_size *by);

/* Whether gb_size_resolve() needs to know the whole. */
static inline bool gb_size_needs_whole(const struct gb_size *size)
{
	return (size->is_set && size->is_share) || size->bound_share;
}

/* Whether it, or a bound, says more than nothing. */
static inline bool gb_size_says(const struct gb_size *size)
{
	return size->is_set || size->bound != GB_BOUND_NONE;
}

/* The size in bytes, where a share is one of `whole` bytes, rounded down; `unset` if it is not set; and then within its
 * bound. */
uint64_t gb_size_resolve(const struct gb_size *size, uint64_t whole, uint64_t unset);

#endif
