/* Descriptors of ours among the program's.
 *
 * They are kept out of its way, and looked at again before each use: a program may close every descriptor there is
 * (closefrom, daemons), or put a file of its own at our number. Not for two threads at once. */
#ifndef GB_BASE_DESCRIPTOR_H
#define GB_BASE_DESCRIPTOR_H

#include <stdbool.h>
#include <stdint.h>

struct gb_descriptor {
	int fd; /* -1: none */
	uint64_t device, inode; /* what it is a descriptor of */
};

#define GB_DESCRIPTOR_NONE ((struct gb_descriptor){.fd = -1})

/* The same file at a number that a program does not count on (the lowest free ones, it may), where there is room; closed
 * on exec. Takes `fd` over; the answer is never an error. */
int gb_descriptor_move_up(int fd);

/* What `fd` is, so as to know it again. NONE for a negative one, and where it cannot be looked at. */
struct gb_descriptor gb_descriptor_of(int fd);

/* Whether it is there and still what it was. */
bool gb_descriptor_is_ours(const struct gb_descriptor *descriptor);

/* Closes it if it is still ours; NONE afterwards. */
void gb_descriptor_close(struct gb_descriptor *descriptor);

#endif
