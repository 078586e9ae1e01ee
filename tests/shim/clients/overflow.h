/* The body that most client programs share: ask for more than the card has, use all of it, check it, give it back. */
#ifndef OVERFLOW_H
#define OVERFLOW_H

#include "client.h"

#define OVERFLOW_USAGE                                                               \
	"[--vram SIZE] [--times N] [--seed N] [--device N] [--slack SIZE] [--hold] " \
	"[malloc|pitch|async|async_ptsz|pool|pool_ptsz]..."

/* Allocate --times (default 3) the VRAM in blocks of different sizes, one of them larger than the VRAM, through the kinds
 * named on the command line in turn (none: all); fill every block with its own pattern by copies from the host, copies
 * on the device and memsets; check what the driver says about addresses and free memory; read back and compare every
 * byte; free in a mixed order; check that the memory is back. Prints "ok checksum=HEX bytes=N", the same for the same
 * --vram, --times and --seed whatever the door and the kinds. Answers the program's exit status. */
int overflow_main(const struct client_driver *driver, int argc, char **argv);

#endif
