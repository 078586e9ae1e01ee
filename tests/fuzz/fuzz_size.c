/* A size as a person writes it: any text. What is taken is a size; what is not leaves the old one alone. */
#include <stdlib.h>
#include <string.h>

#include "base/size.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct gb_size parsed = {.value = 42};

	if (!text)
		return -1;
	memcpy(text, data, size);
	text[size] = '\0';
	if (gb_size_parse(text, &parsed)) {
		if (parsed.is_set || parsed.is_share || parsed.value != 42)
			abort();
	} else if (!parsed.is_set || (parsed.is_share && (!parsed.value || parsed.value > GB_SHARE_WHOLE)) ||
		   gb_size_resolve(&parsed, 1000, 7) > (parsed.is_share ? 1000 : parsed.value)) {
		abort();
	}
	free(text);
	return 0;
}
