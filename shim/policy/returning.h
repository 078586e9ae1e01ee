/* When chunks that were moved out of VRAM come back. Pure.
 *
 * A program that allocates and frees in turns would have the same chunk moved out and in for ever. So after chunks had to
 * move out, a number of safe points must pass without that happening again; and each time what came back had to leave
 * again, the number doubles. */
#ifndef GB_POLICY_RETURNING_H
#define GB_POLICY_RETURNING_H

#include <stdbool.h>
#include <stdint.h>

struct gb_returning {
	uint32_t calm;    /* safe points since chunks last had to move out */
	uint32_t strikes; /* how often that undid a return */
	bool moved_out;   /* since the process began */
	bool returned;    /* since then */
};

enum { GB_RETURN_CALM = 8, GB_RETURN_STRIKES_MAX = 8 };

/* Chunks had to move out. */
void gb_returning_moved_out(struct gb_returning *state);
/* A safe point; true if chunks may come back now. */
bool gb_returning_is_due(struct gb_returning *state);
/* Chunks came back. */
void gb_returning_came_back(struct gb_returning *state);

/* Bytes that may come back in one step, in whole chunks: what room there is above the reserve, at most `step`, but at
 * least one chunk if there is room for one. */
uint64_t gb_returning_bytes(uint64_t room, uint64_t reserve, uint64_t in_host, uint64_t chunk, uint64_t step);

#endif
