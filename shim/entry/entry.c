#include "entry/entry.h"

#include "alloc/state.h"
#include "base/options.h"

static __thread int depth;

enum { UNKNOWN, ENABLED, DISABLED };

static int mode = UNKNOWN; /* atomic: any thread finds out the same */

static int find_mode(void)
{
	int found = gb_options()->disable ? DISABLED : ENABLED;

	if (found == ENABLED)
		gb_state_start();
	__atomic_store_n(&mode, found, __ATOMIC_RELEASE);
	return found;
}

bool gb_entry_open(void)
{
	int known = __atomic_load_n(&mode, __ATOMIC_ACQUIRE);

	if (depth || (known == UNKNOWN ? find_mode() : known) == DISABLED)
		return false;
	depth++;
	return true;
}

void gb_entry_close(const int *unused)
{
	(void)unused;
	depth--;
}
