#include "base/descriptor.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/status.h"

enum { LOWEST = 512 };

int gb_descriptor_move_up(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, LOWEST);

	if (high < 0)
		return fd;
	close(fd);
	return high;
}

struct gb_descriptor gb_descriptor_of(int fd)
{
	struct stat status;

	if (fd < 0 || gb_fstat(fd, &status))
		return GB_DESCRIPTOR_NONE;
	return (struct gb_descriptor){.fd = fd, .device = status.st_dev, .inode = status.st_ino};
}

bool gb_descriptor_is_ours(const struct gb_descriptor *descriptor)
{
	struct stat status;

	return descriptor->fd >= 0 && !gb_fstat(descriptor->fd, &status) && status.st_dev == descriptor->device &&
	       status.st_ino == descriptor->inode;
}

void gb_descriptor_close(struct gb_descriptor *descriptor)
{
	if (gb_descriptor_is_ours(descriptor))
		close(descriptor->fd);
	*descriptor = GB_DESCRIPTOR_NONE;
}
