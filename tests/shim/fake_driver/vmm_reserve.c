/* Reservations of addresses, which mappings go into. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api.h"
#include "vmm.h"

struct reservation {
	struct fk_node node;
	uint64_t size;
};

static struct reservation *reservation_at(uint64_t address)
{
	struct fk_node *node = fk_tree_floor(&fk.reservations, address);
	struct reservation *reservation = node ? FK_CONTAINER(node, struct reservation, node) : NULL;

	return reservation && address - node->key < reservation->size ? reservation : NULL;
}

bool fk_vmm_same_reservation(uint64_t one, uint64_t other)
{
	return reservation_at(one) && reservation_at(one) == reservation_at(other);
}

bool fk_vmm_reservation(uint64_t address, uint64_t *base, uint64_t *size)
{
	struct reservation *reservation = reservation_at(address);

	if (!reservation)
		return false;
	*base = reservation->node.key;
	*size = reservation->size;
	return true;
}

/* Addresses for nobody: at the hint if that is free, else anywhere aligned. 0: none. */
static uint64_t reserve(uint64_t size, uint64_t alignment, uint64_t hint)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	uint64_t room = size + alignment, start, first;
	void *range;

	if (hint && hint % alignment == 0) {
		range = mmap((void *)(uintptr_t)hint, size, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0);
		if (range != MAP_FAILED && (uint64_t)(uintptr_t)range == hint)
			return hint;
		if (range != MAP_FAILED)
			munmap(range, size);
	}
	if (room < size)
		return 0;
	range = mmap(NULL, room, PROT_NONE, flags, -1, 0);
	if (range == MAP_FAILED)
		return 0;
	start = (uint64_t)(uintptr_t)range;
	first = (start + alignment - 1) & ~(alignment - 1);
	if (first > start)
		munmap(range, first - start);
	if (first + size < start + room)
		munmap((void *)(uintptr_t)(first + size), start + room - first - size);
	madvise((void *)(uintptr_t)first, size, MADV_DONTDUMP);
	return first;
}

CUresult fk_vmm_reserve(CUdeviceptr *address, size_t size, size_t alignment, CUdeviceptr hint, unsigned long long flags)
{
	struct reservation *reservation;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), base;

	if (fk_has(FK_CAP_no_vmm))
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!address || !size || size % page || hint % page || (alignment & (alignment - 1)) || flags)
		return CUDA_ERROR_INVALID_VALUE;
	base = reserve(size, alignment > FK_GRANULARITY ? alignment : FK_GRANULARITY, hint);
	reservation = base ? calloc(1, sizeof(*reservation)) : NULL;
	if (!reservation) {
		if (base)
			munmap((void *)(uintptr_t)base, size);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	reservation->size = size;
	fk_tree_insert(&fk.reservations, &reservation->node, base, 0);
	fk_hold(FK_FIGURE_reserved_va_bytes, size);
	*address = base;
	return CUDA_SUCCESS;
}

CUresult fk_vmm_free_address(CUdeviceptr address, size_t size)
{
	struct reservation *reservation = reservation_at(address);
	struct fk_node *inside = fk_tree_ceiling(&fk.blocks, address, 0);

	if (!reservation || reservation->node.key != address || reservation->size != size)
		return CUDA_ERROR_INVALID_VALUE;
	if (inside && inside->key < address + size)
		return CUDA_ERROR_INVALID_VALUE; /* something is still mapped there */
	fk_tree_remove(&fk.reservations, &reservation->node);
	munmap((void *)(uintptr_t)address, size);
	fk_drop(FK_FIGURE_reserved_va_bytes, size);
	free(reservation);
	return CUDA_SUCCESS;
}
