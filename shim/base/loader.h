/* The loader's calls, under versions that glibc has had them at since long before 2.28: what is built on a newer glibc runs
 * on an older one. Whoever calls them includes this in place of dlfcn.h.
 *
 * Before 2.34 they are in libdl, which this library does not load by itself: every process would have to. So they are weak:
 * in a process without libdl, which cannot load CUDA either, all of them are NULL. gb_loader_is_here() is asked first. */
#ifndef GB_BASE_LOADER_H
#define GB_BASE_LOADER_H

#include <dlfcn.h>
#include <stdbool.h>

#if defined(__x86_64__)
#define GB_GLIBC_FIRST "GLIBC_2.2.5"
#define GB_GLIBC_DLINFO "GLIBC_2.3.3"
#else
#define GB_GLIBC_FIRST "GLIBC_2.17" /* aarch64 */
#define GB_GLIBC_DLINFO GB_GLIBC_FIRST
#endif

/* Built before 2.34, nothing is linked that has them: a name alone then means the version there is. */
#if __GLIBC_PREREQ(2, 34)
#define GB_NAME_VERSION(name, version) __asm__(".symver " #name ", " #name "@" version)
#else
#define GB_NAME_VERSION(name, version) _Static_assert(1, "")
#endif
#define GB_WEAK_AT(name, version)                           \
	extern __typeof__(name) name __attribute__((weak)); \
	GB_NAME_VERSION(name, version)

GB_WEAK_AT(dlopen, GB_GLIBC_FIRST);
GB_WEAK_AT(dlclose, GB_GLIBC_FIRST);
GB_WEAK_AT(dlerror, GB_GLIBC_FIRST);
GB_WEAK_AT(dlvsym, GB_GLIBC_FIRST);
GB_WEAK_AT(dlinfo, GB_GLIBC_DLINFO);

static inline bool gb_loader_is_here(void)
{
	return dlopen != NULL;
}

#endif
