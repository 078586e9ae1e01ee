/* What this process knows of the daemon: where its socket may be, when to try it, and what people have been told of it.
 *
 * A socket where nobody listens costs microseconds, and is tried again after a second; so is a daemon that closed its end, as
 * one does that is restarted. One that does not answer, or not as it should, costs the deadline: it is avoided for 1 s, then
 * 2, 4 … 30 s, or until there is a new socket. Only find() and tell() and is_due() are for any thread; the rest belongs to
 * whoever has the turn (lease/turn.h), and says nothing by itself. */
#ifndef GB_LEASE_DAEMON_H
#define GB_LEASE_DAEMON_H

#include <stdbool.h>

#include "abi/greenboost_abi.h"

/* Where to look: GREENBOOST_SOCKET, or else the system's place and the user's. Once, before anything else. */
void gb_daemon_find(void);

/* The places in order; NULL past the last. */
const char *gb_daemon_path(unsigned place);

/* Whether a connection may be tried now. */
bool gb_daemon_is_due(void);
/* One was tried. */
void gb_daemon_tried(void);
/* Whether the socket there is to be left alone for now. */
bool gb_daemon_is_avoided(unsigned place);

/* What came of it: nobody listens there; a daemon that answered to hello; one that answered a request; one that failed, with
 * -errno, and its verdict where that was a farewell. */
void gb_daemon_missing(unsigned place);
void gb_daemon_welcomed(unsigned place);
void gb_daemon_served(void);
void gb_daemon_failed(unsigned place, int error, enum gb_verdict verdict);
/* The one that had welcomed us failed. */
void gb_daemon_lost(int error, enum gb_verdict verdict);

/* Says what has changed, if anything has. */
void gb_daemon_tell(void);

/* In a forked child: nothing is known, but the places. */
void gb_daemon_after_fork(void);

#endif
