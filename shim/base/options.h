/* The options of options.def as one structure, read from the environment once, within what base/ceilings.h says.
 *
 * A value that is malformed costs one line on stderr and counts as unset. Nothing is read before the first call of
 * gb_options(), which no process reaches that stays away from CUDA and NVML. Any thread. */
#ifndef GB_BASE_OPTIONS_H
#define GB_BASE_OPTIONS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/log.h"
#include "base/size.h"

/* Positions in the `choices` of the option of that name in options.def. */
enum gb_fallback { GB_FALLBACK_AUTO, GB_FALLBACK_SPLIT, GB_FALLBACK_HOST, GB_FALLBACK_MANAGED, GB_FALLBACK_OFF };
/* INTERLEAVE: VRAM and host memory alternate in proportion, so that a kernel that reads it all draws on both. FRONT: VRAM
 * first, then host memory. */
enum gb_pattern { GB_PATTERN_INTERLEAVE, GB_PATTERN_FRONT };
enum gb_advertise { GB_ADVERTISE_OFF, GB_ADVERTISE_ON };

struct gb_choice_or_size {
	int choice; /* -1: `size` says */
	struct gb_size size;
};

typedef struct gb_size gb_option_SIZE;
typedef int gb_option_CHOICE;
typedef struct gb_choice_or_size gb_option_CHOICE_OR_SIZE;
typedef bool gb_option_SWITCH;
typedef const char *gb_option_PATH; /* the environment's own text, or the ceilings'; NULL: unset */

struct gb_options {
#define GB_OPTION(id, kind, choices, default_text, help) gb_option_##kind id;
#include "options.def"
#undef GB_OPTION
};

/* How gb_options_read() asks for a variable and tells of one it cannot use. */
typedef const char *(*gb_options_lookup)(const char *variable);
typedef void (*gb_options_complaint)(const char *variable, const char *value, const char *wanted);

/* Pure but for the two calls: every field of *options is set. */
void gb_options_read(struct gb_options *options, gb_options_lookup lookup, gb_options_complaint complain);

/* Reads them, once; gb_options_known is set from then on. */
const struct gb_options *gb_options_load(void);
extern _Atomic(const struct gb_options *) gb_options_known;

/* This process' options. A load: every hook asks. */
static inline const struct gb_options *gb_options(void)
{
	const struct gb_options *known = atomic_load_explicit(&gb_options_known, memory_order_acquire);

	return __builtin_expect(known != NULL, 1) ? known : gb_options_load();
}

#endif
