#include "lease/wire.h"

#include <errno.h>
#include <string.h>

_Static_assert(sizeof(struct gb_request) == 64, "the size of a packet tells it apart");
_Static_assert(sizeof(struct gb_reply) == 48, "the size of a packet tells it apart");

static uint64_t at_most(uint64_t bytes, uint64_t most)
{
	return bytes < most ? bytes : most;
}

struct gb_request gb_wire_request(enum gb_request_kind kind, uint64_t sequence, const struct gb_holding *holding)
{
	return (struct gb_request){
		.magic = GB_WIRE_MAGIC,
		.version = GB_WIRE_VERSION,
		.kind = (uint16_t)kind,
		.sequence = sequence,
		.held_bytes = holding->held,
		.pending_bytes = at_most(holding->pending, holding->held),
		.uncharged_bytes = at_most(holding->uncharged, holding->held),
	};
}

int gb_wire_check(const void *packet, size_t size, const struct gb_request *request, struct gb_reply *reply)
{
	struct gb_reply told;

	if (size != sizeof told)
		return -EBADMSG;
	memcpy(&told, packet, sizeof told);
	if (told.magic != GB_WIRE_MAGIC)
		return -EBADMSG;
	if (told.version != GB_WIRE_VERSION)
		return -EPROTONOSUPPORT;
	if (told.sequence != request->sequence || told.verdict > GB_VERDICT_MACHINE || told.level > GB_LEVEL_CRITICAL ||
	    told.granted_bytes != (told.verdict == GB_VERDICT_GRANTED ? request->bytes : 0))
		return -EPROTO;
	*reply = told;
	return 0;
}

bool gb_wire_is_farewell(unsigned verdict)
{
	return verdict == GB_VERDICT_MALFORMED || verdict == GB_VERDICT_VERSION || verdict == GB_VERDICT_CLIENTS;
}
