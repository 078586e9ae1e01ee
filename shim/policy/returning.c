#include "policy/returning.h"

void gb_returning_moved_out(struct gb_returning *state)
{
	if (state->returned && state->strikes < GB_RETURN_STRIKES_MAX)
		state->strikes++;
	state->calm = 0;
	state->moved_out = true;
	state->returned = false;
}

bool gb_returning_is_due(struct gb_returning *state)
{
	if (!state->moved_out)
		return true;
	if (state->calm < UINT32_MAX)
		state->calm++;
	return state->calm > (uint32_t)GB_RETURN_CALM << state->strikes;
}

void gb_returning_came_back(struct gb_returning *state)
{
	state->returned = true;
}

uint64_t gb_returning_bytes(uint64_t room, uint64_t reserve, uint64_t in_host, uint64_t chunk, uint64_t step)
{
	uint64_t free = room > reserve ? room - reserve : 0;

	if (!chunk || free < chunk)
		return 0;
	uint64_t most = step < chunk ? chunk : step;
	uint64_t bytes = free < most ? free : most;
	if (bytes >= in_host)
		return in_host; /* with a shorter last chunk */
	return bytes / chunk * chunk;
}
