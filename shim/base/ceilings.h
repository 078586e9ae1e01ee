/* What the administrator allows, whatever a program's environment says: the lines of /etc/greenboost/ceilings, read once
 * with the options. They can only make a program's own figures stricter.
 *
 *   # at most, of each device and of the machine
 *   VRAM_LIMIT=75%
 *   HOST_LIMIT=64GiB
 *   # at least
 *   VRAM_RESERVE=512MiB
 *   HOST_RESERVE=8GiB
 *   # this one and no other
 *   SOCKET=/run/greenboost/lease.sock
 *
 * Who can load another library, or none, is bound by nothing here: memory cgroups and the daemon's [lease] are for that. */
#ifndef GB_BASE_CEILINGS_H
#define GB_BASE_CEILINGS_H

#include "base/options.h"

#define GB_CEILINGS_PATH "/etc/greenboost/ceilings"

/* Says of a line that cannot be used what it is, and what is wanted in its place; such a line bounds nothing. */
typedef void (*gb_ceilings_complaint)(const char *line, const char *wanted);

/* Takes the lines into the options. Of two lines for one name both count. Pure but for the complaints. *text is cut into its
 * lines, and has to stay: a path is kept as a pointer into it. */
void gb_ceilings_apply(struct gb_options *options, char *text, gb_ceilings_complaint complain);

/* The same with the file, where there is one; errno is kept. What cannot be read costs one line on stderr. */
void gb_ceilings_load(struct gb_options *options);

#endif
