/* Which pages of managed memory are in VRAM: those used last, as many as VRAM has room for.
 *
 * For managed memory that was given no advice. Guarded by fk.lock. One card: pages are on whichever device reads them. */
#ifndef FK_MODEL_PAGES_H
#define FK_MODEL_PAGES_H

#include "block.h"

enum fk_page_use { FK_PAGE_HIT, FK_PAGE_MISSED, FK_PAGE_FAILED }; /* failed: no room for the books */

/* Uses page `number` of a block, which is in VRAM afterwards and the last to leave it; adds the pages that had to leave
 * to *evicted. */
enum fk_page_use fk_model_page_use(const struct fk_block *block, uint64_t number, uint64_t capacity, uint64_t *evicted);

/* What happened since the last kernel: forgets the pages of blocks that were freed, and makes those leave that VRAM has
 * no room for any more. */
void fk_model_pages_settle(uint64_t capacity, uint64_t *evicted);

#endif
