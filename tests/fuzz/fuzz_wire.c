/* An answer of the daemon's: any bytes, to any question. What passes answers the question, all or nothing. */
#include <stdlib.h>
#include <string.h>

#include "lease/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gb_request request = {0};
	struct gb_reply reply;

	memset(&reply, 0xa5, sizeof reply);
	if (size < sizeof request.sequence + sizeof request.bytes)
		return -1;
	memcpy(&request.sequence, data, sizeof request.sequence);
	memcpy(&request.bytes, data + sizeof request.sequence, sizeof request.bytes);
	data += sizeof request.sequence + sizeof request.bytes;
	size -= sizeof request.sequence + sizeof request.bytes;
	if (gb_wire_check(data, size, &request, &reply))
		return 0;
	if (size != sizeof reply || memcmp(&reply, data, size) != 0 || reply.sequence != request.sequence ||
	    reply.verdict > GB_VERDICT_MACHINE || reply.level > GB_LEVEL_CRITICAL ||
	    reply.granted_bytes != (reply.verdict == GB_VERDICT_GRANTED ? request.bytes : 0))
		abort();
	return 0;
}
