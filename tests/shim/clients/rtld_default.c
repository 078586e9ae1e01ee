/* Linked against libcuda, and every function from dlsym(RTLD_DEFAULT, ...), which must be what the linker bound.
 * usage: rtld_default OPTIONS, those of overflow.h */
#include <dlfcn.h>

#include "linked.h"
#include "overflow.h"

int main(int argc, char **argv)
{
	struct client_driver linked = client_linked();
	struct client_driver driver;

	client_door_dlsym(&driver, RTLD_DEFAULT);
#define CLIENT_CALL(symbol, name, version, flags, parameters)                                                     \
	CLIENT_CHECK(driver.symbol == linked.symbol, "dlsym(RTLD_DEFAULT) and the linker differ about " #symbol);
#include "calls.def"
#undef CLIENT_CALL
	return overflow_main(&driver, argc, argv);
}
