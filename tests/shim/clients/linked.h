/* The driver's functions as the linker binds them. */
#ifndef LINKED_H
#define LINKED_H

#include "client.h"

#define CLIENT_CALL(symbol, name, version, flags, parameters) CUresult symbol parameters;
#include "calls.def"
#undef CLIENT_CALL

static inline struct client_driver client_linked(void)
{
	return (struct client_driver){
#define CLIENT_CALL(symbol, name, version, flags, parameters) .symbol = symbol,
#include "calls.def"
#undef CLIENT_CALL
	};
}

#endif
