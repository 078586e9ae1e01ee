/* A library to be preloaded after the shim: looks up what comes next after itself. See rtld_next.c. */
#include <dlfcn.h>

void *rtld_next_find(const char *name);

void *rtld_next_find(const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);

	__asm__ volatile("" ::: "memory"); /* not a tail call: the caller of dlsym must be this library */
	return function;
}
