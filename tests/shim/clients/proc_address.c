/* As NVIDIA's runtime 12 and 13: dlsym of cuGetProcAddress_v2 alone, and everything else through it.
 * usage: proc_address OPTIONS, those of overflow.h */
#include "overflow.h"

int main(int argc, char **argv)
{
	struct client_driver driver;

	client_door_proc_address(&driver, "cuGetProcAddress_v2");
	return overflow_main(&driver, argc, argv);
}
