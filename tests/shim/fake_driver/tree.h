/* An ordered tree of nodes that live inside other structures (a treap: no node is allocated here).
 *
 * Keys are pairs (key, sub) so that equal keys may coexist. Expected O(log n) for everything; never recursive.
 * Ownership stays with the caller. Not thread-safe: the driver's lock guards every tree. Nothing fails. */
#ifndef FK_TREE_H
#define FK_TREE_H

#include <stddef.h>
#include <stdint.h>

struct fk_node {
	struct fk_node *left, *right;
	uint64_t key, sub;
	uint32_t priority;
};

struct fk_tree {
	struct fk_node *root;
};

#define FK_CONTAINER(pointer, type, member) ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

void fk_tree_insert(struct fk_tree *tree, struct fk_node *node, uint64_t key, uint64_t sub);
void fk_tree_remove(struct fk_tree *tree, struct fk_node *node);
struct fk_node *fk_tree_floor(const struct fk_tree *tree, uint64_t key);   /* the last with key <= `key`, or NULL */
struct fk_node *fk_tree_ceiling(const struct fk_tree *tree, uint64_t key, uint64_t sub); /* the first >= (key, sub) */

#endif
