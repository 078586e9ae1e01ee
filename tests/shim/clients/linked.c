/* Linked against libcuda, as programs that name -lcuda are: every function by its plain exported symbol.
 * usage: linked OPTIONS, those of overflow.h */
#include "linked.h"
#include "overflow.h"

int main(int argc, char **argv)
{
	struct client_driver driver = client_linked();

	return overflow_main(&driver, argc, argv);
}
