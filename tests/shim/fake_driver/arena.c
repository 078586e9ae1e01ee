#include "arena.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define FK_PAGE 4096ull

struct hole {
	struct fk_node by_address, by_size;
	uint64_t address, size;
};

static bool add_hole(struct fk_arena *arena, uint64_t address, uint64_t size)
{
	struct hole *hole = malloc(sizeof(*hole));

	if (!hole)
		return false;
	hole->address = address;
	hole->size = size;
	fk_tree_insert(&arena->by_address, &hole->by_address, address, 0);
	fk_tree_insert(&arena->by_size, &hole->by_size, size, address);
	return true;
}

static void drop_hole(struct fk_arena *arena, struct hole *hole)
{
	fk_tree_remove(&arena->by_address, &hole->by_address);
	fk_tree_remove(&arena->by_size, &hole->by_size);
	free(hole);
}

bool fk_arena_open_device(struct fk_arena *arena, uint64_t size)
{
	void *range = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	void *backing = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (range == MAP_FAILED || backing == MAP_FAILED)
		return false;
	madvise(range, size, MADV_DONTDUMP);
	madvise(backing, size, MADV_NOHUGEPAGE); /* one byte written costs one small page */
	madvise(backing, size, MADV_DONTDUMP);
	arena->base = (uint64_t)(uintptr_t)range;
	arena->size = size;
	arena->backing = backing;
	arena->file = -1;
	return add_hole(arena, arena->base, size);
}

bool fk_arena_open_file(struct fk_arena *arena, uint64_t size)
{
	int file = memfd_create("fakecuda-host", MFD_CLOEXEC);
	void *backing;

	if (file < 0)
		return false;
	if (ftruncate(file, (off_t)size) < 0) {
		close(file);
		return false;
	}
	backing = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
	if (backing == MAP_FAILED) {
		close(file);
		return false;
	}
	madvise(backing, size, MADV_DONTDUMP);
	arena->base = 0;
	arena->size = size;
	arena->backing = backing;
	arena->file = file;
	return add_hole(arena, 0, size);
}

bool fk_arena_take(struct fk_arena *arena, uint64_t size, uint64_t alignment, uint64_t *address)
{
	struct fk_node *node = fk_tree_ceiling(&arena->by_size, size, 0);
	struct hole *hole;
	uint64_t start, end, first;

	if (!node)
		return false;
	hole = FK_CONTAINER(node, struct hole, by_size);
	first = (hole->address + alignment - 1) & ~(alignment - 1);
	if (first + size >
	    hole->address + hole->size) { /* the best fit is misaligned: one that fits wherever it starts */
		node = fk_tree_ceiling(&arena->by_size, size + alignment, 0);
		if (!node)
			return false;
		hole = FK_CONTAINER(node, struct hole, by_size);
		first = (hole->address + alignment - 1) & ~(alignment - 1);
	}
	start = hole->address;
	end = start + hole->size;
	drop_hole(arena, hole);
	if (first > start)
		add_hole(arena, start, first - start);
	if (end > first + size)
		add_hole(arena, first + size, end - first - size);
	*address = first;
	return true;
}

static void release_pages(const struct fk_arena *arena, uint64_t address, uint64_t size)
{
	uint64_t offset = address - arena->base;
	uint64_t first = (offset + FK_PAGE - 1) & ~(FK_PAGE - 1), last = (offset + size) & ~(FK_PAGE - 1);

	if (last > first && last - first >= 16 * FK_PAGE)
		madvise(arena->backing + first, last - first, arena->file < 0 ? MADV_DONTNEED : MADV_REMOVE);
}

void fk_arena_give(struct fk_arena *arena, uint64_t address, uint64_t size)
{
	struct fk_node *node = fk_tree_floor(&arena->by_address, address);
	struct hole *hole;

	release_pages(arena, address, size);
	if (node) {
		hole = FK_CONTAINER(node, struct hole, by_address);
		if (hole->address + hole->size == address) {
			address = hole->address;
			size += hole->size;
			drop_hole(arena, hole);
		}
	}
	node = fk_tree_ceiling(&arena->by_address, address + size, 0);
	if (node) {
		hole = FK_CONTAINER(node, struct hole, by_address);
		if (hole->address == address + size) {
			size += hole->size;
			drop_hole(arena, hole);
		}
	}
	add_hole(arena, address, size);
}
