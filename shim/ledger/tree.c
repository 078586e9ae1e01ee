#include "ledger/tree.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct node {
	struct gb_block block;
	struct node *left, *right; /* below and above block.base */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the tree; a leaf */
static struct node *root;
static _Atomic size_t count;

/* A treap's shape is that of a random tree, if priorities look random: a strong mix of the address does. */
static uint64_t priority(const struct node *node)
{
	uint64_t x = node->block.base;

	x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
	return x ^ (x >> 31);
}

/* Parts `node` into what lies below `base` and what does not. */
static void split(struct node *node, CUdeviceptr base, struct node **below, struct node **rest)
{
	while (node) {
		if (node->block.base < base) {
			*below = node;
			below = &node->right;
			node = node->right;
		} else {
			*rest = node;
			rest = &node->left;
			node = node->left;
		}
	}
	*below = NULL;
	*rest = NULL;
}

/* One tree of two, where all of `left` lies below all of `right`. */
static struct node *merge(struct node *left, struct node *right)
{
	struct node *merged = NULL;
	struct node **at = &merged;

	while (left && right) {
		if (priority(left) > priority(right)) {
			*at = left;
			at = &left->right;
			left = left->right;
		} else {
			*at = right;
			at = &right->left;
			right = right->left;
		}
	}
	*at = left ? left : right;
	return merged;
}

/* The link that holds the node at `base`, or NULL. */
static struct node **link_of(CUdeviceptr base)
{
	struct node **at = &root;

	while (*at && (*at)->block.base != base)
		at = base < (*at)->block.base ? &(*at)->left : &(*at)->right;
	return *at ? at : NULL;
}

static void link_in(struct node *node)
{
	struct node **at = &root;

	while (*at && priority(*at) > priority(node))
		at = node->block.base < (*at)->block.base ? &(*at)->left : &(*at)->right;
	split(*at, node->block.base, &node->left, &node->right);
	*at = node;
	atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
}

static struct node *unlink_at(struct node **at)
{
	struct node *node = *at;

	*at = merge(node->left, node->right);
	atomic_fetch_sub_explicit(&count, 1, memory_order_relaxed);
	return node;
}

int gb_tree_insert(const struct gb_block *block, struct gb_block *stale)
{
	struct node *node = malloc(sizeof *node);

	if (!node)
		return -ENOMEM;
	*node = (struct node){.block = *block};
	stale->epoch = 0;
	pthread_mutex_lock(&lock);
	struct node **old = link_of(block->base);
	struct node *replaced = old ? unlink_at(old) : NULL;
	link_in(node);
	pthread_mutex_unlock(&lock);
	if (replaced)
		*stale = replaced->block;
	free(replaced);
	return 0;
}

bool gb_tree_remove(CUdeviceptr base, struct gb_block *block)
{
	pthread_mutex_lock(&lock);
	struct node **at = link_of(base);
	struct node *node = at ? unlink_at(at) : NULL;
	pthread_mutex_unlock(&lock);
	if (!node)
		return false;
	*block = node->block;
	free(node);
	return true;
}

bool gb_tree_find(CUdeviceptr address, struct gb_block *block)
{
	const struct node *best = NULL;
	bool found;

	pthread_mutex_lock(&lock);
	for (const struct node *node = root; node;) {
		if (node->block.base <= address) {
			best = node;
			node = node->right;
		} else {
			node = node->left;
		}
	}
	found = best && address - best->block.base < best->block.size;
	if (found)
		*block = best->block;
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
		struct node *best = NULL;
		for (struct node *node = root; node;) {
			if (node->block.base >= next) {
				best = node;
				node = node->left;
			} else {
				node = node->right;
			}
		}
		if (!best)
			break;
		next = best->block.base + 1;
		if (wanted(&best->block, context)) {
			into[taken++] = best->block;
			free(unlink_at(link_of(best->block.base)));
		}
	}
	pthread_mutex_unlock(&lock);
	return taken;
}

size_t gb_tree_count(void)
{
	return atomic_load_explicit(&count, memory_order_relaxed);
}

/* Ordered, heap-shaped, without overlap; adds the nodes to *seen. A treap's depth is logarithmic: recursion is safe. */
static bool is_valid(const struct node *node, CUdeviceptr first, CUdeviceptr last, size_t *seen)
{
	if (!node)
		return true;
	CUdeviceptr end = node->block.base + node->block.size;
	++*seen;
	if (node->block.base < first || end > last || end < node->block.base || !node->block.epoch)
		return false;
	if ((node->left && priority(node->left) > priority(node)) ||
	    (node->right && priority(node->right) > priority(node)))
		return false;
	return is_valid(node->left, first, node->block.base, seen) && is_valid(node->right, end, last, seen);
}

bool gb_tree_is_valid(void)
{
	size_t seen = 0;

	pthread_mutex_lock(&lock);
	bool valid = is_valid(root, 0, UINT64_MAX, &seen) && seen == atomic_load(&count);
	pthread_mutex_unlock(&lock);
	return valid;
}

void gb_tree_after_fork(void)
{
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	root = NULL;
	atomic_store(&count, 0);
}
