/* Virtual memory management: reservations of addresses, handles of memory, and what is mapped where.
 *
 * Device memory behind a handle is a private, lazily touched mapping; host memory is a piece of one memory file, so
 * that it can also appear, for the CPU, at the addresses where it is mapped. A handle lives until it is released as
 * often as it was created or retained and nothing maps it. Unmapping waits for nothing: work that comes too late is a
 * violation. Guarded by fk.lock. */
#ifndef FK_VMM_H
#define FK_VMM_H

#include "block.h"

#define FK_GRANULARITY (2ull << 20) /* of device and host memory alike */

struct fk_vmm_handle {
	struct fk_object object;
	CUmemAllocationProp properties;
	uint64_t size, file_offset;
	unsigned char *bytes;
	unsigned int references, mappings;
	bool on_host;
};

struct fk_vmm_handle *fk_vmm_find(CUmemGenericAllocationHandle handle); /* NULL: it has no references */
bool fk_vmm_same_reservation(uint64_t one, uint64_t other);
bool fk_vmm_reservation(uint64_t address, uint64_t *base, uint64_t *size); /* the one that contains it */

#endif
