#include "base/real_dlsym.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>

/* Read by dlsym.S as well. */
__attribute__((visibility("hidden"))) _Atomic(gb_dlsym_function *) gb_dlsym_next;

static void *nothing(void *handle, const char *name)
{
	(void)handle;
	(void)name;
	return NULL;
}

/* Sanitizers look their interceptors up with dlsym before they are ready for instrumented code. */
__attribute__((no_sanitize("address", "thread", "undefined"))) gb_dlsym_function *gb_real_dlsym(void)
{
	/* The versions glibc has exported dlsym under: since 2.34 on all, before on x86-64 and on aarch64. dlvsym finds an
	 * unversioned definition of another interposer too. */
	static const char *const versions[] = {"GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_2.17"};
	gb_dlsym_function *next = atomic_load_explicit(&gb_dlsym_next, memory_order_acquire);

	for (size_t i = 0; !next && i < sizeof versions / sizeof *versions; i++)
		next = (gb_dlsym_function *)dlvsym(RTLD_NEXT, "dlsym", versions[i]);
	if (!next)
		return nothing;
	atomic_store_explicit(&gb_dlsym_next, next, memory_order_release);
	return next;
}
