#include "model_pages.h"

#include <stdlib.h>

#include "model.h"

struct page {
	struct fk_node node; /* key: the block's id; sub: the page's number in it */
	struct page *older, *newer;
	uint64_t address; /* of the block */
};

static struct fk_tree pages;
static struct page *oldest, *newest;
static uint64_t count;

static void unlink_page(struct page *page)
{
	*(page->older ? &page->older->newer : &oldest) = page->newer;
	*(page->newer ? &page->newer->older : &newest) = page->older;
}

static void link_newest(struct page *page)
{
	page->older = newest;
	page->newer = NULL;
	*(newest ? &newest->newer : &oldest) = page;
	newest = page;
}

static void drop(struct page *page)
{
	fk_tree_remove(&pages, &page->node);
	unlink_page(page);
	free(page);
	count--;
}

static struct page *find(uint64_t id, uint64_t number)
{
	struct fk_node *node = fk_tree_ceiling(&pages, id, number);

	return node && node->key == id && node->sub == number ? FK_CONTAINER(node, struct page, node) : NULL;
}

static void make_room(uint64_t capacity, uint64_t needed, uint64_t *evicted)
{
	while (oldest && count + needed > capacity) {
		drop(oldest);
		++*evicted;
	}
}

enum fk_page_use fk_model_page_use(const struct fk_block *block, uint64_t number, uint64_t capacity, uint64_t *evicted)
{
	struct page *page = find(block->id, number);

	if (page) {
		unlink_page(page);
		link_newest(page);
		return FK_PAGE_HIT;
	}
	page = calloc(1, sizeof(*page));
	if (!page)
		return FK_PAGE_FAILED;
	make_room(capacity, 1, evicted);
	page->address = fk_block_address(block);
	fk_tree_insert(&pages, &page->node, block->id, number);
	link_newest(page);
	count++;
	return FK_PAGE_MISSED;
}

void fk_model_pages_settle(uint64_t capacity, uint64_t *evicted)
{
	for (struct page *page = oldest, *next; page; page = next) {
		struct fk_block *block = fk_block_starting(page->address);

		next = page->newer;
		if (!block || block->id != page->node.key)
			drop(page);
	}
	make_room(capacity, 0, evicted);
}
