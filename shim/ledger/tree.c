#include "ledger/tree.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "ledger/treap.h"

struct node {
	struct gb_treap_node link; /* first; its key is the block's base */
	struct gb_block block;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the tree; a leaf */
static struct gb_treap tree;
static _Atomic size_t count;

static struct node *take_out(CUdeviceptr base)
{
	struct gb_treap_node *link = gb_treap_remove(&tree, base);

	if (link)
		atomic_fetch_sub_explicit(&count, 1, memory_order_relaxed);
	return (struct node *)link;
}

int gb_tree_insert(const struct gb_block *block, struct gb_block *stale)
{
	struct node *node = malloc(sizeof *node);

	if (!node)
		return -ENOMEM;
	*node = (struct node){.link.key = block->base, .block = *block};
	stale->epoch = 0;
	pthread_mutex_lock(&lock);
	struct node *replaced = take_out(block->base);
	gb_treap_insert(&tree, &node->link);
	atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
	pthread_mutex_unlock(&lock);
	if (replaced)
		*stale = replaced->block;
	free(replaced);
	return 0;
}

bool gb_tree_remove(CUdeviceptr base, struct gb_block *block)
{
	pthread_mutex_lock(&lock);
	struct node *node = take_out(base);
	pthread_mutex_unlock(&lock);
	if (!node)
		return false;
	*block = node->block;
	free(node);
	return true;
}

bool gb_tree_find(CUdeviceptr address, struct gb_block *block)
{
	pthread_mutex_lock(&lock);
	const struct node *node = (struct node *)gb_treap_floor(&tree, address);
	bool found = node && address - node->block.base < node->block.size;
	if (found)
		*block = node->block;
	pthread_mutex_unlock(&lock);
	return found;
}

size_t gb_tree_take_if(gb_ledger_predicate wanted, const void *context, struct gb_block *into, size_t room)
{
	size_t taken = 0;
	CUdeviceptr next = 0;

	pthread_mutex_lock(&lock);
	/* In the order of addresses; the tree changes underneath, so each step starts from the root. */
	while (taken < room) {
		struct node *node = (struct node *)gb_treap_ceiling(&tree, next);
		if (!node)
			break;
		next = node->block.base + 1;
		if (wanted(&node->block, context)) {
			into[taken++] = node->block;
			free(take_out(node->block.base));
		}
	}
	pthread_mutex_unlock(&lock);
	return taken;
}

size_t gb_tree_count(void)
{
	return atomic_load_explicit(&count, memory_order_relaxed);
}

/* Each under its own base, entered, and none reaching into the next. */
static bool blocks_are_valid(void)
{
	CUdeviceptr end = 0;

	for (const struct node *node = (struct node *)gb_treap_ceiling(&tree, 0); node;
	     node = (struct node *)gb_treap_ceiling(&tree, node->block.base + 1)) {
		if (node->link.key != node->block.base || node->block.base < end || !node->block.epoch)
			return false;
		end = node->block.base + node->block.size;
		if (end < node->block.base)
			return false;
	}
	return true;
}

bool gb_tree_is_valid(void)
{
	size_t seen = 0;

	pthread_mutex_lock(&lock);
	bool valid = gb_treap_is_valid(&tree, &seen) && seen == atomic_load(&count) && blocks_are_valid();
	pthread_mutex_unlock(&lock);
	return valid;
}

void gb_tree_after_fork(void)
{
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	tree = (struct gb_treap){0};
	atomic_store(&count, 0);
}
