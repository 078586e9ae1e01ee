/* The dlsym behind ours: the next one after this library, which is glibc's or another interposer's.
 *
 * Our own code must never call `dlsym` by name: that is the door itself. Any thread, at any time, even before this
 * library's constructors would have run. */
#ifndef GB_BASE_REAL_DLSYM_H
#define GB_BASE_REAL_DLSYM_H

typedef void *gb_dlsym_function(void *handle, const char *name);

/* Never NULL. */
gb_dlsym_function *gb_real_dlsym(void);

#endif
