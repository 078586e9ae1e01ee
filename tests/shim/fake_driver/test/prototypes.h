/* Declares everything the simulated libcuda exports, from the same list, for C tests that link with it. */
#ifndef FK_PROTOTYPES_H
#define FK_PROTOTYPES_H

#include "../cuda_api.h"

#define FK_API(symbol, name, version, stream, gate, parameters, body) CUresult symbol parameters;
#include "../fake_driver.def"

#endif
