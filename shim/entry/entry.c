#include "entry/entry.h"

#include <stdlib.h>

#include "alloc/state.h"
#include "base/libc.h"
#include "base/log.h"
#include "base/options.h"

static __thread int depth;

enum { UNKNOWN, ENABLED, DISABLED };

static int mode = UNKNOWN; /* atomic: any thread finds out the same */

/* Set in a process where it was said: its children do not say it again. */
#define SAID "GREENBOOST_NO_GLIBC"

/* NVIDIA's driver is made for glibc, so such a program cannot have it either. */
__attribute__((constructor)) static void say_what_is_missing(void)
{
	if (gb_libc_is_glibc() || gb_options()->disable || getenv(SAID))
		return;
	gb_log(GB_LOG_WARN, "entry", "no glibc in this program (musl, as on Alpine): GreenBoost does nothing in it");
	setenv(SAID, "1", 1);
}

bool gb_entry_is_disabled(void)
{
	return gb_options()->disable || !gb_libc_is_glibc();
}

static int find_mode(void)
{
	int found = gb_entry_is_disabled() ? DISABLED : ENABLED;

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
