/* Memory that a graph allocates: an address while the graph lives, device memory only between its two nodes. */
#include <stdlib.h>

#include "pool.h"

static struct fk_pool_block *graph_block(uint64_t address)
{
	struct fk_block *block = fk_block_starting(address);

	return block && block->kind == FK_KIND_POOL ? (struct fk_pool_block *)(void *)block : NULL;
}

bool fk_pool_graph_alloc(uint64_t address)
{
	struct fk_pool_block *block = graph_block(address);

	if (!block || block->block.live || !fk_device_charge(block->block.device, block->block.charge))
		return false;
	block->block.live = true;
	fk_hold(FK_FIGURE_graph_bytes, block->block.charge);
	return true;
}

static void reap(struct fk_pool_block *block)
{
	if (block->graph_references || block->block.live)
		return;
	fk_block_remove(&block->block);
	fk_arena_give(&fk.devices[block->block.device].arena, fk_block_address(&block->block), block->block.charge);
	free(block);
}

void fk_pool_graph_free(uint64_t address)
{
	struct fk_pool_block *block = graph_block(address);

	if (!block || !block->block.live)
		return;
	block->block.live = false;
	fk_device_discharge(block->block.device, block->block.charge);
	fk_drop(FK_FIGURE_graph_bytes, block->block.charge);
	reap(block);
}

bool fk_pool_graph_live(uint64_t address)
{
	struct fk_pool_block *block = graph_block(address);

	return block && block->block.live;
}

void fk_pool_graph_retain(uint64_t address)
{
	struct fk_pool_block *block = graph_block(address);

	if (block)
		block->graph_references++;
}

void fk_pool_graph_release(uint64_t address)
{
	struct fk_pool_block *block = graph_block(address);

	if (block) {
		block->graph_references--;
		reap(block);
	}
}
