/* The daemon's socket: connecting, and packets with a deadline. Keeps nothing; the descriptor is the caller's.
 *
 * Every descriptor is non-blocking and no signal is raised; interrupted calls go on. Results are 0 or -errno. Deadlines are
 * times of gb_clock_ns(); past them: -ETIMEDOUT. Each of these is a cancellation point. Any thread. */
#ifndef GB_LEASE_SOCKET_H
#define GB_LEASE_SOCKET_H

#include <stddef.h>
#include <stdint.h>

#include "abi/greenboost_abi.h"

/* A connected descriptor, or -errno. Never waits: a listener that has no room answers -EAGAIN. */
int gb_socket_connect(const char *path);

/* Sends without waiting: -EAGAIN where there is no room. `passed` is a descriptor to go along, or -1. */
int gb_socket_send(int fd, const struct gb_request *request, int passed);
int gb_socket_send_by(int fd, const struct gb_request *request, int passed, uint64_t deadline_ns);

/* The packet's own size, of which `size` bytes at most are stored; -EPIPE where the other end is gone. Descriptors that came along are dropped. */
long gb_socket_receive_by(int fd, void *packet, size_t size, uint64_t deadline_ns);

/* 0 if the other end is there and has said nothing; -EPIPE if it is gone; -EPROTO if there is something to be read. */
int gb_socket_look(int fd);

#endif
