/* As NVIDIA's runtime 11: dlsym of cuGetProcAddress, the form without a status, and everything else through it.
 * usage: proc_address_v1 OPTIONS, those of overflow.h */
#include "overflow.h"

int main(int argc, char **argv)
{
	struct client_driver driver;

	client_door_proc_address(&driver, "cuGetProcAddress");
	return overflow_main(&driver, argc, argv);
}
