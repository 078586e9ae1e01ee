/* A set ordered by a 64-bit key, of nodes that lie inside what they stand for: a treap. Every step is logarithmic.
 *
 * No lock and no memory of its own, so nothing fails: the caller brings both. A zeroed struct gb_treap is empty. */
#ifndef GB_LEDGER_TREAP_H
#define GB_LEDGER_TREAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gb_treap_node {
	uint64_t key;
	struct gb_treap_node *left, *right; /* of smaller keys, of larger ones */
};

struct gb_treap {
	struct gb_treap_node *root;
};

/* No node with its key may be there. */
void gb_treap_insert(struct gb_treap *treap, struct gb_treap_node *node);
/* The node with that key, taken out or left where it is; NULL if there is none. */
struct gb_treap_node *gb_treap_remove(struct gb_treap *treap, uint64_t key);
struct gb_treap_node *gb_treap_find(const struct gb_treap *treap, uint64_t key);
/* The node with the largest key not above `key`, or the smallest not below it; NULL if there is none. */
struct gb_treap_node *gb_treap_floor(const struct gb_treap *treap, uint64_t key);
struct gb_treap_node *gb_treap_ceiling(const struct gb_treap *treap, uint64_t key);

/* Whether it is ordered and heap-shaped: for tests; walks everything. *count: the nodes. */
bool gb_treap_is_valid(const struct gb_treap *treap, size_t *count);

#endif
