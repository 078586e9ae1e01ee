#include "content.h"

#include <string.h>

size_t content_tail(const struct block *b)
{
	return b->size - b->size / 8;
}

size_t content_patch(const struct block *b, const struct block *before)
{
	size_t size = b->size < before->size ? b->size / 4 : before->size / 4;

	return size < (3u << 20) ? size : 3u << 20;
}

unsigned int content_stamp(const struct block *b, size_t offset)
{
	uint64_t state = b->seed + offset;

	return (unsigned int)client_random(&state);
}

void content_period(const struct block *b, unsigned char *to)
{
	uint64_t state = b->seed;

	for (size_t i = 0; i < CONTENT_PERIOD; i += sizeof state) {
		uint64_t word = client_random(&state);

		memcpy(to + i, &word, CONTENT_PERIOD - i < sizeof word ? CONTENT_PERIOD - i : sizeof word);
	}
}

void content_expect(const struct block *b, const unsigned char *period, size_t offset, size_t size, unsigned char *to)
{
	size_t tail = content_tail(b);

	for (size_t i = 0; i < size;) {
		size_t at = offset + i;
		size_t left = size - i;
		size_t run = at < tail ? CONTENT_PERIOD - at % CONTENT_PERIOD : left;

		run = run < left ? run : left;
		if (at < tail) {
			run = run < tail - at ? run : tail - at;
			memcpy(to + i, period + at % CONTENT_PERIOD, run);
		} else {
			memset(to + i, (unsigned char)b->seed, run);
		}
		i += run;
	}
	for (size_t at = offset - offset % CONTENT_STAMP_EVERY; at < offset + size; at += CONTENT_STAMP_EVERY) {
		unsigned int stamp = content_stamp(b, at);

		for (size_t i = 0; i < sizeof stamp && at + sizeof stamp <= b->size; i++)
			if (at + i >= offset && at + i < offset + size)
				to[at + i - offset] = (unsigned char)(stamp >> 8 * i);
	}
}
