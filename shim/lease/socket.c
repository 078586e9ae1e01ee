#include "lease/socket.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/descriptor.h"

int gb_socket_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	fd = gb_descriptor_move_up(fd);
	if (!connect(fd, (const struct sockaddr *)&address, sizeof address))
		return fd;
	int error = errno;
	close(fd);
	return -error;
}

int gb_socket_send(int fd, const struct gb_request *request, int passed)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof passed)];
	} control = {0};
	struct iovec packet = {.iov_base = (void *)(uintptr_t)request, .iov_len = sizeof *request};
	struct msghdr message = {.msg_iov = &packet, .msg_iovlen = 1};
	ssize_t sent;

	if (passed >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof control;
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof passed);
		memcpy(CMSG_DATA(&control.header), &passed, sizeof passed);
	}
	do
		sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

/* Until one of `events`, or the end of the connection, which the next call tells. */
static int wait_for(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd watched = {.fd = fd, .events = events};

	for (;;) {
		uint64_t now = gb_clock_ns();
		if (now >= deadline_ns)
			return -ETIMEDOUT;
		const struct timespec timeout = gb_timespec(deadline_ns - now);
		int ready = ppoll(&watched, 1, &timeout, NULL);
		if (ready > 0)
			return 0;
		if (ready < 0 && errno != EINTR)
			return -errno;
	}
}

int gb_socket_send_by(int fd, const struct gb_request *request, int passed, uint64_t deadline_ns)
{
	int error = gb_socket_send(fd, request, passed);

	while (error == -EAGAIN) {
		error = wait_for(fd, POLLOUT, deadline_ns);
		if (!error)
			error = gb_socket_send(fd, request, passed);
	}
	return error;
}

/* Without room for descriptors the kernel drops those that come along (unix(7), "SCM_RIGHTS"). */
long gb_socket_receive_by(int fd, void *packet, size_t size, uint64_t deadline_ns)
{
	for (;;) {
		ssize_t length = recv(fd, packet, size, MSG_DONTWAIT | MSG_TRUNC);
		if (length > 0)
			return length;
		if (!length)
			return -EPIPE;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		int error = wait_for(fd, POLLIN, deadline_ns);
		if (error)
			return error;
	}
}

int gb_socket_look(int fd)
{
	struct pollfd watched = {.fd = fd, .events = POLLIN};

	if (poll(&watched, 1, 0) <= 0)
		return 0;
	return watched.revents & (POLLHUP | POLLERR | POLLNVAL) ? -EPIPE : -EPROTO;
}
