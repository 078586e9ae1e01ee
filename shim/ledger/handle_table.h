/* Which handle is which memory, and what is mapped where: the program's own virtual memory management (cuda.h, "Virtual
 * Memory Management"). Handles by their value, mappings by their address; both logarithmic, 96 and 48 bytes each.
 *
 * The memory behind a handle lives until the last reference to it is released and the last mapping of it is unmapped, in
 * whatever order (cuMemRelease). What ends a reference or a mapping is told here twice: before the driver is asked, so that
 * a value or an address that comes back at once on another thread does not meet its old record; and after it, with the
 * outcome. A record is handed out as gone by whoever finishes last, so the books of memory close after it is given back.
 *
 * Records are malloc'ed by whoever enters them, before the driver is asked: entering cannot fail. They are the table's from
 * then on; one that is gone is the caller's, to free. Any thread; one lock, a leaf. */
#ifndef GB_LEDGER_HANDLE_TABLE_H
#define GB_LEDGER_HANDLE_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "abi/cuda_subset.h"
#include "ledger/treap.h"

struct gb_handle {
	struct gb_treap_node link; /* first; its key is the handle's value */
	struct gb_handle *next; /* in a list of what is gone */
	CUmemAllocationProp properties; /* as the program is told them; location.id is below GB_DEVICES_MAX */
	uint64_t size;
	uint32_t references; /* the one it is made with, and those of cuMemRetainAllocationHandle */
	uint32_t mappings;
	uint32_t leaving; /* of both, those that the driver is being asked to end */
	bool on_host; /* lies in host memory, in place of VRAM */
};

struct gb_mapping {
	struct gb_treap_node link; /* first; its key is the address */
	struct gb_mapping *next; /* in a list of what is being unmapped */
	uint64_t size;
	struct gb_handle *handle;
};

/* A handle that was made, with one reference. Returns what is gone: a record of the same value is stale. */
struct gb_handle *gb_handles_enter(struct gb_handle *handle);
/* Copies a handle's record. False, and *copy untouched, if it is not ours. */
bool gb_handles_find(CUmemGenericAllocationHandle value, struct gb_handle *copy);
/* One more reference, if it is ours. */
void gb_handles_retained(CUmemGenericAllocationHandle value);
/* One less: before, NULL if there is none to release; and after, with what is gone then. */
struct gb_handle *gb_handles_releasing(CUmemGenericAllocationHandle value);
struct gb_handle *gb_handles_released(struct gb_handle *handle, bool is_done);

/* A mapping (its address and size set) of the handle was made. Takes it over, and frees it if the handle is not ours.
 * Returns what is gone: a mapping at the same address is stale. */
struct gb_handle *gb_handles_mapped(struct gb_mapping *mapping, CUmemGenericAllocationHandle value);
/* Mappings are to end: takes out those in the range; none if one of them is not whole in it, which the driver refuses. */
struct gb_mapping *gb_handles_unmapping(CUdeviceptr address, uint64_t size);
struct gb_handle *gb_handles_unmapped(struct gb_mapping *mappings, bool is_done);

/* The first mapping that begins at `from` or after it. False if there is none. */
struct gb_mapped {
	CUdeviceptr address;
	uint64_t size;
	CUdevice device; /* that it was asked for on */
	bool on_host;
};
bool gb_handles_next_mapping(CUdeviceptr from, struct gb_mapped *mapped);

/* Whether the address lies in a mapping of host memory, and for which device that stands in. */
bool gb_handles_find_host(CUdeviceptr address, CUdevice *device);

/* Mappings of host memory. No lock: who asks about an address has heard of it from the thread that mapped it. */
extern _Atomic(size_t) gb_handles_host_mappings;
static inline bool gb_handles_have_host(void)
{
	return atomic_load_explicit(&gb_handles_host_mappings, memory_order_relaxed) != 0;
}

/* Whether every invariant holds: for tests; walks everything. */
bool gb_handles_are_valid(void);

/* In a forked child: forget everything. */
void gb_handles_after_fork(void);

#endif
