/* The connection to the daemon: one a process, made when host memory is first wanted, for as long as there is a daemon.
 *
 * The connection is the life of what was leased: its end gives everything back, so it is kept open while the process lives,
 * and made anew when the daemon was restarted. Nobody waits longer than GB_WIRE_DEADLINE_MS; a daemon that does not answer, or
 * not as it should, is left alone for a while, and the caller goes on without it. What happened is said in one line when it
 * changes. Allocates nothing. Any thread, but for the pair around fork(). Not for signal handlers. */
#ifndef GB_LEASE_CLIENT_H
#define GB_LEASE_CLIENT_H

#include <stdint.h>

#include "abi/greenboost_abi.h"

enum gb_client_answer { GB_CLIENT_NOBODY, GB_CLIENT_GRANTED, GB_CLIENT_REFUSED };

/* Once, before anything else. `page_fd`: the descriptor of the page of counters, which the daemon is shown (read-only), or
 * -1; it stays the caller's. */
void gb_client_start(int page_fd);

/* Asks for `bytes` more; with 0, only how much could be had. GRANTED: they are in the holding (lease/holding.h). REFUSED:
 * nothing has changed. Both: *reply is the daemon's. NOBODY: no daemon has decided. */
enum gb_client_answer gb_client_acquire(uint64_t bytes, uint64_t reserve_bytes, struct gb_reply *reply);

/* The holding has changed: the daemon is told, by this thread or by the one that talks to it now. Never waits, says nothing. */
void gb_client_update(void);

/* At moments where a program waits anyway. At most once a second: notices that the daemon went, finds one that came, and tells
 * it what could not be told before. */
void gb_client_keep(void);

/* Around fork(): no other thread is in the middle of something meanwhile. In the child: no connection, and no page. */
void gb_client_before_fork(void);
void gb_client_after_fork_in_parent(void);
void gb_client_after_fork_in_child(void);

#endif
