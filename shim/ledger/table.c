#include "ledger/table.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

_Static_assert(sizeof(struct gb_block) == 40, "table.h says how large a slot is");

enum { SHARD_BITS = 6, SHARDS = 1 << SHARD_BITS, SLOTS_FIRST = 64 };

struct shard {
	_Alignas(64) pthread_mutex_t lock; /* guards this shard; a leaf */
	struct gb_block *slots;            /* an empty slot has epoch 0 */
	size_t capacity;                   /* a power of two, or 0 */
	size_t used;
};

static struct shard shards[SHARDS] = {[0 ... SHARDS - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};

/* Fibonacci hashing: the product's upper bits depend on all of the address' bits. */
static uint64_t hash(CUdeviceptr base)
{
	return base * UINT64_C(0x9E3779B97F4A7C15);
}

static struct shard *shard_of(CUdeviceptr base)
{
	return &shards[hash(base) >> (64 - SHARD_BITS)];
}

static size_t home(const struct shard *shard, CUdeviceptr base)
{
	return (size_t)(hash(base) >> 20) & (shard->capacity - 1);
}

/* The slot that holds `base`, or the empty one where it would go. The table is never full. */
static size_t probe(const struct shard *shard, CUdeviceptr base)
{
	size_t at = home(shard, base);

	while (shard->slots[at].epoch && shard->slots[at].base != base)
		at = (at + 1) & (shard->capacity - 1);
	return at;
}

static int grow(struct shard *shard)
{
	struct shard larger = {.capacity = shard->capacity ? shard->capacity * 2 : SLOTS_FIRST};

	larger.slots = calloc(larger.capacity, sizeof *larger.slots);
	if (!larger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < shard->capacity; i++) {
		if (shard->slots[i].epoch)
			larger.slots[probe(&larger, shard->slots[i].base)] = shard->slots[i];
	}
	free(shard->slots);
	shard->slots = larger.slots;
	shard->capacity = larger.capacity;
	return 0;
}

/* Empties slot `hole` and moves back what comes after it in the run and may move. */
static void close_gap(struct shard *shard, size_t hole)
{
	const size_t mask = shard->capacity - 1;

	for (size_t at = (hole + 1) & mask; shard->slots[at].epoch; at = (at + 1) & mask) {
		size_t wants = home(shard, shard->slots[at].base);
		if (((at - wants) & mask) >= ((at - hole) & mask)) {
			shard->slots[hole] = shard->slots[at];
			hole = at;
		}
	}
	shard->slots[hole] = (struct gb_block){0};
	shard->used--;
}

int gb_table_insert(const struct gb_block *block, struct gb_block *stale)
{
	struct shard *shard = shard_of(block->base);
	int result = 0;

	pthread_mutex_lock(&shard->lock);
	if (4 * (shard->used + 1) > 3 * shard->capacity)
		result = grow(shard);
	if (!result) {
		struct gb_block *slot = &shard->slots[probe(shard, block->base)];
		*stale = *slot;
		shard->used += slot->epoch == 0;
		*slot = *block;
	}
	pthread_mutex_unlock(&shard->lock);
	return result;
}

bool gb_table_remove(CUdeviceptr base, struct gb_block *block)
{
	struct shard *shard = shard_of(base);
	bool found = false;

	pthread_mutex_lock(&shard->lock);
	if (shard->used) {
		size_t at = probe(shard, base);
		found = shard->slots[at].epoch != 0;
		if (found) {
			*block = shard->slots[at];
			close_gap(shard, at);
		}
	}
	pthread_mutex_unlock(&shard->lock);
	return found;
}

size_t gb_table_take_if(gb_ledger_predicate wanted, const void *context, struct gb_block *into, size_t room)
{
	size_t taken = 0;

	for (size_t i = 0; i < SHARDS; i++) {
		struct shard *shard = &shards[i];
		pthread_mutex_lock(&shard->lock);
		for (size_t at = 0; at < shard->capacity && taken < room;) {
			/* After a removal another block may have moved into this slot: look at it again. One that moved
			 * in from behind the table's end was passed over at most once and is met there again. */
			if (shard->slots[at].epoch && wanted(&shard->slots[at], context)) {
				into[taken++] = shard->slots[at];
				close_gap(shard, at);
			} else {
				at++;
			}
		}
		pthread_mutex_unlock(&shard->lock);
	}
	return taken;
}

size_t gb_table_count(void)
{
	size_t count = 0;

	for (size_t i = 0; i < SHARDS; i++) {
		pthread_mutex_lock(&shards[i].lock);
		count += shards[i].used;
		pthread_mutex_unlock(&shards[i].lock);
	}
	return count;
}

static bool shard_is_valid(const struct shard *shard)
{
	size_t used = 0;

	for (size_t at = 0; at < shard->capacity; at++) {
		const struct gb_block *block = &shard->slots[at];
		if (!block->epoch)
			continue;
		used++;
		if (shard_of(block->base) != shard || probe(shard, block->base) != at)
			return false;
	}
	return used == shard->used && (shard->capacity == 0 || 4 * used <= 3 * shard->capacity);
}

bool gb_table_is_valid(void)
{
	bool valid = true;

	for (size_t i = 0; i < SHARDS; i++) {
		pthread_mutex_lock(&shards[i].lock);
		valid &= shard_is_valid(&shards[i]);
		pthread_mutex_unlock(&shards[i].lock);
	}
	return valid;
}

void gb_table_after_fork(void)
{
	/* The parent's tables stay allocated: freeing them is not safe when another thread was in the middle of one. */
	for (size_t i = 0; i < SHARDS; i++)
		shards[i] = (struct shard){.lock = PTHREAD_MUTEX_INITIALIZER};
}
