/* Memory pools and stream-ordered memory.
 *
 * A pool is a count of bytes: `used` are in allocations, `reserved` are taken from the device; what is between the
 * two is idle and goes back to the device at a synchronising call (down to the release threshold), at a trim, or when
 * the device runs short. Addresses come from the device's arena. A freed allocation stays readable until its free has
 * its turn in the stream, as documented. Allocations made while a stream captures belong to the graph, not to a pool.
 * Guarded by fk.lock. */
#ifndef FK_POOL_H
#define FK_POOL_H

#include "block.h"
#include "entry.h"

struct fk_pool {
	struct fk_object object;
	struct fk_pool *next; /* every pool, default ones too */
	int device;
	bool is_default, destroyed;
	uint64_t used, reserved, used_high, reserved_high, threshold, max_bytes, blocks;
	int reuse[3];
	unsigned char access[FK_DEVICES_MAX];
};

struct fk_pool_block {
	struct fk_block block;
	struct fk_pool *pool; /* NULL: a graph's */
	unsigned int graph_references;
	bool freeing;
};

struct fk_pool *fk_pool_new(int device, bool is_default);
void fk_pool_end(struct fk_pool *pool); /* no longer a handle; goes with its last allocation */
void fk_pool_shrink(struct fk_pool *pool, uint64_t keep);
void fk_pool_release_idle(int device);
void fk_pool_synchronised(void); /* a synchronising call ended */
void fk_pool_freed(uint64_t address, uint64_t id);
CUresult fk_pool_free_now(struct fk_block *block); /* cuMemFree of a POOL block: at once, waiting for nothing */

bool fk_pool_graph_alloc(uint64_t address);
void fk_pool_graph_free(uint64_t address);
bool fk_pool_graph_live(uint64_t address);
void fk_pool_graph_retain(uint64_t address);
void fk_pool_graph_release(uint64_t address);

#endif
