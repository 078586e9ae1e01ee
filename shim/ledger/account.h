/* How many bytes lie where, by device and tier: the counters of the shared page (abi/greenboost_abi.h).
 *
 * DEVICE counts all VRAM, also that of split blocks; SPLIT counts the host memory of split blocks. So the sum over the
 * tiers is what is held, and that over the fallback tiers is host memory.
 * Bytes are reserved before they are taken and released after they are given back, so a counter is never below what is
 * held. Reserving is an atomic add that is undone when it crosses the limit: no lock, any thread. `device` is a CUDA
 * ordinal below GB_DEVICES_MAX. */
#ifndef GB_LEDGER_ACCOUNT_H
#define GB_LEDGER_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/greenboost_abi.h"
#include "base/block.h"

/* Makes the page visible to other processes (a memfd named "greenboost"); until then, or if that fails, the counters are
 * private memory. Once a process. */
void gb_account_publish(void);

/* The descriptor of the published page, or -1. The program may have closed it since. */
int gb_account_page_fd(void);

/* The page, for reading; and for the fields that are set once rather than counted. Never NULL. */
struct gb_page *gb_account_page(void);

/* Adds `bytes` to a device's tier unless the tier's total would pass `limit`; false, and nothing changed, if so. */
bool gb_account_reserve(unsigned device, enum gb_tier tier, uint64_t bytes, uint64_t limit);
/* The reverse of a reservation that came to nothing. */
void gb_account_cancel(unsigned device, enum gb_tier tier, uint64_t bytes);
/* A reservation became a block: counts it, and the peak. A block of two tiers is counted in one of them; of the other, only
 * the bytes (gb_account_took, and gb_account_cancel in the end). */
void gb_account_commit(unsigned device, enum gb_tier tier, uint64_t bytes);
void gb_account_took(unsigned device, enum gb_tier tier);
/* A block is gone. */
void gb_account_release(unsigned device, enum gb_tier tier, uint64_t bytes);

/* Likewise for host memory over all devices; the tiers that use it reserve it as well. */
bool gb_account_reserve_host(uint64_t bytes, uint64_t limit);
void gb_account_release_host(uint64_t bytes);

/* Chunks of split blocks have changed their place: out of VRAM, or into it, where `reserved` bytes were reserved. */
void gb_account_moved_out(unsigned device, uint64_t bytes, uint32_t chunks);
void gb_account_moved_in(unsigned device, uint64_t reserved, uint64_t bytes, uint32_t chunks);

/* The chunks of a split block: it is there, or it is gone. */
void gb_account_add_chunks(unsigned device, const struct gb_share *share);
void gb_account_remove_chunks(unsigned device, const struct gb_share *share);

void gb_account_count_refusal(unsigned device);

uint64_t gb_account_bytes(unsigned device, enum gb_tier tier);
uint64_t gb_account_host_bytes(void);

/* In a forked child: counters of its own, all zero, seen by nobody. */
void gb_account_after_fork(void);

#endif
