/* Which C library this process has. In a container it may be musl, whose loader takes libc.so.6 to mean itself: so nothing
 * that musl lacks may be more than a weak reference (tests/shim/test_musl.py), and there this library does nothing. */
#ifndef GB_BASE_LIBC_H
#define GB_BASE_LIBC_H

#include <stdbool.h>
#include <stddef.h>

extern const char *gnu_get_libc_version(void) __attribute__((weak));
/* Where musl's loader starts. gcompat gives a process with musl the names of glibc: their presence alone says nothing. */
extern char _dlstart[] __attribute__((weak));

static inline bool gb_libc_is_glibc(void)
{
	return gnu_get_libc_version && !_dlstart;
}

/* What pthread_atfork comes to, whose static part refers to it strongly: nptl/pthread_atfork.c. */
extern int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *library)
	__attribute__((weak));
extern char __dso_handle[] __attribute__((visibility("hidden")));

/* As pthread_atfork, under glibc. */
static inline void gb_libc_at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	__register_atfork(prepare, parent, child, __dso_handle);
}

#endif
