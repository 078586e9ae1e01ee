/* Hands out pieces of one address range: best fit, coalescing, O(log n).
 *
 * Two kinds of range use it: device memory, whose addresses are a PROT_NONE reservation with a separate, lazily touched
 * backing of the same size; and the memory file behind host VMM handles. The arena owns its mappings for the process's
 * life. Not thread-safe: the driver's lock. Errors: false when nothing fits or memory for bookkeeping is missing. */
#ifndef FK_ARENA_H
#define FK_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#include "tree.h"

struct fk_arena {
	uint64_t base, size;
	unsigned char *backing; /* byte i of the range is kept at backing[i]; NULL before the first use */
	int file;  /* behind the backing, or -1 */
	struct fk_tree by_address, by_size;
};

bool fk_arena_open_device(struct fk_arena *arena, uint64_t size);
bool fk_arena_open_file(struct fk_arena *arena, uint64_t size); /* base 0: "addresses" are offsets in the file */
bool fk_arena_take(struct fk_arena *arena, uint64_t size, uint64_t alignment, uint64_t *address);
void fk_arena_give(struct fk_arena *arena, uint64_t address, uint64_t size); /* its pages go back to the system */

static inline unsigned char *fk_arena_bytes(const struct fk_arena *arena, uint64_t address)
{
	return arena->backing + (address - arena->base);
}

#endif
