/* dlopen and dlsym, every function by its exported name.
 * usage: dlopened OPTIONS, those of overflow.h */
#include <dlfcn.h>

#include "overflow.h"

int main(int argc, char **argv)
{
	struct client_driver driver;

	client_door_dlopen(&driver, RTLD_LOCAL);
	return overflow_main(&driver, argc, argv);
}
