#include "tree.h"

#include <stdbool.h>

static bool before(const struct fk_node *node, uint64_t key, uint64_t sub)
{
	return node->key < key || (node->key == key && node->sub < sub);
}

static uint32_t next_priority(void)
{
	static uint32_t state = 2463534242u; /* guarded, like the trees, by the driver's lock */

	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

void fk_tree_insert(struct fk_tree *tree, struct fk_node *node, uint64_t key, uint64_t sub)
{
	struct fk_node **link = &tree->root, **left = &node->left, **right = &node->right, *rest;

	node->key = key;
	node->sub = sub;
	node->priority = next_priority();
	while (*link && (*link)->priority >= node->priority)
		link = before(*link, key, sub) ? &(*link)->right : &(*link)->left;
	rest = *link;
	*link = node;
	while (rest) {
		if (before(rest, key, sub)) {
			*left = rest;
			left = &rest->right;
			rest = rest->right;
		} else {
			*right = rest;
			right = &rest->left;
			rest = rest->left;
		}
	}
	*left = *right = NULL;
}

void fk_tree_remove(struct fk_tree *tree, struct fk_node *node)
{
	struct fk_node **link = &tree->root, *left = node->left, *right = node->right;

	while (*link != node)
		link = before(*link, node->key, node->sub) ? &(*link)->right : &(*link)->left;
	while (left && right) {
		if (left->priority >= right->priority) {
			*link = left;
			link = &left->right;
			left = left->right;
		} else {
			*link = right;
			link = &right->left;
			right = right->left;
		}
	}
	*link = left ? left : right;
}

struct fk_node *fk_tree_floor(const struct fk_tree *tree, uint64_t key)
{
	struct fk_node *node = tree->root, *best = NULL;

	while (node) {
		if (node->key <= key) {
			best = node;
			node = node->right;
		} else {
			node = node->left;
		}
	}
	return best;
}

struct fk_node *fk_tree_ceiling(const struct fk_tree *tree, uint64_t key, uint64_t sub)
{
	struct fk_node *node = tree->root, *best = NULL;

	while (node) {
		if (before(node, key, sub)) {
			node = node->right;
		} else {
			best = node;
			node = node->left;
		}
	}
	return best;
}
