/* fstat, stat and lstat, as the kernel has them: glibc's own names are newer than 2.28, where it is. On x86-64 and aarch64 the
 * kernel fills the same struct stat that glibc declares. 0, or -1 and errno. */
#ifndef GB_BASE_STATUS_H
#define GB_BASE_STATUS_H

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline int gb_fstat(int fd, struct stat *status)
{
	return (int)syscall(SYS_fstat, fd, status);
}

static inline int gb_stat(const char *path, struct stat *status)
{
	return (int)syscall(SYS_newfstatat, AT_FDCWD, path, status, 0);
}

static inline int gb_lstat(const char *path, struct stat *status)
{
	return (int)syscall(SYS_newfstatat, AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}

#endif
