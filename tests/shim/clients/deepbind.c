/* As dlopened, but with RTLD_DEEPBIND: the driver's own references find the driver first, whatever is preloaded.
 * usage: deepbind OPTIONS, those of overflow.h */
#include <dlfcn.h>

#include "overflow.h"

int main(int argc, char **argv)
{
	struct client_driver driver;

	client_door_dlopen(&driver, RTLD_LOCAL | RTLD_DEEPBIND);
	return overflow_main(&driver, argc, argv);
}
