/* The table of memory: every range that a copy, a memset or a pointer query may meet, by address.
 *
 * A block is whatever one call made: an allocation, a registration, one mapping of a VMM handle. Its bytes are at the
 * same address (host, managed), or elsewhere (device memory, whose address faults when the CPU touches it). Blocks of
 * a context hang on its list and die with it. Look-up is O(log n). Guarded by fk.lock.
 * Errors: reaching returns NULL where real hardware would fault; checking returns what the API documents. */
#ifndef FK_BLOCK_H
#define FK_BLOCK_H

#include "state.h"

enum fk_kind {
	FK_KIND_DEVICE,
	FK_KIND_HOST,
	FK_KIND_REGISTERED,
	FK_KIND_ALIAS,
	FK_KIND_MANAGED,
	FK_KIND_POOL,
	FK_KIND_VMM
};

struct fk_block {
	struct fk_node node;  /* key: its address */
	uint64_t size, id;    /* size as asked; id never used again */
	unsigned char *bytes; /* where this library reads and writes it */
	struct fk_ctx *ctx;   /* on whose list it is, or NULL */
	struct fk_block *previous, *next;
	struct fk_block *twin; /* REGISTERED and ALIAS: the other one, where they differ */
	uint64_t charge;       /* bytes taken from the device, or held on the host */
	unsigned int flags;    /* as given to the call that made it */
	int device;
	enum fk_kind kind;
	bool live, sync_memops;
};

/* One VMM mapping. The handle is in vmm.c. */
struct fk_mapping {
	struct fk_block block;
	struct fk_vmm_handle *handle;
	uint64_t offset;
	unsigned char device_access[FK_DEVICES_MAX]; /* CU_MEM_ACCESS_FLAGS_* */
	unsigned char host_access;
};

struct fk_managed {
	struct fk_block block;
	bool read_mostly;
	CUmemLocation preferred, prefetched; /* type INVALID: none */
	unsigned int accessed_by;      /* bit: device; bit 31: the CPU */
};

enum fk_use { FK_USE_READ, FK_USE_WRITE, FK_USE_KERNEL }; /* by the copy engine; by code on the device (memset) */

static inline uint64_t fk_block_address(const struct fk_block *block)
{
	return block->node.key;
}

void fk_block_add(struct fk_block *block, uint64_t address, struct fk_ctx *ctx);
void fk_block_remove(struct fk_block *block); /* from the table and its list; the caller frees it */
struct fk_block *fk_block_at(uint64_t address); /* the one that contains it, or NULL */
struct fk_block *fk_block_starting(uint64_t address);

/* Gives back everything a context owns. */
void fk_block_release_all(struct fk_ctx *ctx);
void fk_block_release(struct fk_block *block); /* one: any kind but VMM and POOL */

/* Where the bytes at `address` are and, in *run, how many follow that `use` by `device` may reach; NULL: a fault. */
unsigned char *fk_block_reach(uint64_t address, int device, enum fk_use use, uint64_t *run);

/* May [address, address + size) be named in a copy or memset? *identity says which memory it is, to be compared
 * later. */
CUresult fk_block_check(uint64_t address, uint64_t size, int device, enum fk_use use, uint64_t *identity);
uint64_t fk_block_identity(uint64_t address, uint64_t size);

#endif
