/* The messages between this process and the daemon (abi/greenboost_abi.h), written and checked. Pure.
 *
 * What comes from the daemon's end of the socket is not trusted: it is a daemon's answer only if all of it fits. */
#ifndef GB_LEASE_WIRE_H
#define GB_LEASE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/greenboost_abi.h"
#include "lease/holding.h"

/* A request of that kind; `bytes` and `reserve_bytes` are 0. Parts of the holding above the whole are cut to it. */
struct gb_request gb_wire_request(enum gb_request_kind kind, uint64_t sequence, const struct gb_holding *holding);

/* 0 and *reply, if the packet answers the request: all of it or nothing was granted, as its verdict says. Otherwise *reply is
 * untouched: -EBADMSG (not an answer of any version), -EPROTONOSUPPORT (of another version), -EPROTO (contradicts itself, or
 * answers something else). */
int gb_wire_check(const void *packet, size_t size, const struct gb_request *request, struct gb_reply *reply);

/* Whether the daemon closes the connection with such a verdict: it decides nothing for us. */
bool gb_wire_is_farewell(unsigned verdict);

#endif
