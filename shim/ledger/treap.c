#include "ledger/treap.h"

/* A treap's shape is that of a random tree, if priorities look random: a strong mix of the key does. */
static uint64_t priority(const struct gb_treap_node *node)
{
	uint64_t x = node->key;

	x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
	return x ^ (x >> 31);
}

/* Parts `node` into what lies below `key` and what does not. */
static void split(struct gb_treap_node *node, uint64_t key, struct gb_treap_node **below, struct gb_treap_node **rest)
{
	while (node) {
		if (node->key < key) {
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
static struct gb_treap_node *merge(struct gb_treap_node *left, struct gb_treap_node *right)
{
	struct gb_treap_node *merged = NULL;
	struct gb_treap_node **at = &merged;

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

void gb_treap_insert(struct gb_treap *treap, struct gb_treap_node *node)
{
	struct gb_treap_node **at = &treap->root;

	while (*at && priority(*at) > priority(node))
		at = node->key < (*at)->key ? &(*at)->left : &(*at)->right;
	split(*at, node->key, &node->left, &node->right);
	*at = node;
}

struct gb_treap_node *gb_treap_remove(struct gb_treap *treap, uint64_t key)
{
	struct gb_treap_node **at = &treap->root;

	while (*at && (*at)->key != key)
		at = key < (*at)->key ? &(*at)->left : &(*at)->right;
	struct gb_treap_node *node = *at;
	if (node)
		*at = merge(node->left, node->right);
	return node;
}

struct gb_treap_node *gb_treap_floor(const struct gb_treap *treap, uint64_t key)
{
	struct gb_treap_node *best = NULL;

	for (struct gb_treap_node *node = treap->root; node;) {
		if (node->key <= key) {
			best = node;
			node = node->right;
		} else {
			node = node->left;
		}
	}
	return best;
}

struct gb_treap_node *gb_treap_ceiling(const struct gb_treap *treap, uint64_t key)
{
	struct gb_treap_node *best = NULL;

	for (struct gb_treap_node *node = treap->root; node;) {
		if (node->key >= key) {
			best = node;
			node = node->left;
		} else {
			node = node->right;
		}
	}
	return best;
}

struct gb_treap_node *gb_treap_find(const struct gb_treap *treap, uint64_t key)
{
	struct gb_treap_node *node = gb_treap_floor(treap, key);

	return node && node->key == key ? node : NULL;
}

/* A treap's depth is logarithmic: recursion is safe. */
static bool is_valid(const struct gb_treap_node *node, uint64_t first, uint64_t last, size_t *count)
{
	if (!node)
		return true;
	++*count;
	if (node->key < first || node->key > last)
		return false;
	if ((node->left && (node->key == first || priority(node->left) > priority(node))) ||
	    (node->right && (node->key == last || priority(node->right) > priority(node))))
		return false;
	return is_valid(node->left, first, node->key - 1, count) && is_valid(node->right, node->key + 1, last, count);
}

bool gb_treap_is_valid(const struct gb_treap *treap, size_t *count)
{
	*count = 0;
	return is_valid(treap->root, 0, UINT64_MAX, count);
}
