/* The calls that give a device work: each passes the gate on its way to the driver, and does nothing else.
 *
 * The same body whatever the row, so hooks.def makes them all. They know no GB_ENTER: passes nest, and where nothing is ever
 * moved (GREENBOOST_DISABLE) the gate is never closed. The driver is looked up before the gate: that may load a library. */
#include "alloc/gate.h"
#include "driver/driver.h"
#include "entry/prototypes.h"

#define GB_CUDA_HOOK(symbol, name, version, stream, parameters, arguments)
#define GB_NVML_HOOK(symbol, parameters, arguments)
#define GB_CUDA_SUBMIT(symbol, name, version, stream, parameters, arguments) \
	CUresult symbol parameters                                           \
	{                                                                    \
		const struct gb_driver *driver = gb_driver();                \
                                                                             \
		gb_gate_enter();                                             \
		CUresult result = driver->symbol arguments;                  \
		gb_gate_leave();                                             \
		return result;                                               \
	}
#include "hooks.def"
