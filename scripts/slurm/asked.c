#include "asked.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"

#define SHOWN 60 /* characters of what somebody wrote */
#define VALUE_MAX 64

static int complain(char why[GB_WHY_MAX], const char *text, const char *advice)
{
	char shown[SHOWN + 1] = "";

	for (size_t i = 0; i < SHOWN && text[i]; i++)
		shown[i] = text[i] >= ' ' && text[i] < 0x7f ? text[i] : '?';
	snprintf(why, GB_WHY_MAX, "'%s'%s: %s", shown, strlen(text) > SHOWN ? "..." : "", advice);
	return -EINVAL;
}

/* Bytes; a share is none. */
static int parse_bytes(const char *text, uint64_t *bytes)
{
	struct gb_size size;

	if (gb_size_parse(text, &size) || size.is_share || size.value == GB_UNLIMITED)
		return -EINVAL;
	*bytes = size.value;
	return 0;
}

/* The names that greenboost's profiles have: letters, digits and . _ + -, a letter or digit first. */
static bool is_profile(const char *text)
{
	static const char first[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	size_t length = strlen(text);

	return length > 0 && length <= GB_PROFILE_MAX && strchr(first, text[0]) &&
	       strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._+-") == length;
}

static const char *const usage = "write --greenboost, --greenboost=off, or any of vram=SIZE,host=SIZE,profile=NAME";

static int set_bytes(const char *item, const char *value, uint64_t *bytes, char why[GB_WHY_MAX])
{
	if (*bytes != GB_UNLIMITED)
		return complain(why, item, "it is there twice");
	if (parse_bytes(value, bytes))
		return complain(why, item, "no size in bytes; write one such as 8GiB or 1500M");
	return 0;
}

static int parse_item(const char *item, struct gb_asked *asked, char why[GB_WHY_MAX])
{
	if (!strncmp(item, "vram=", 5))
		return set_bytes(item, item + 5, &asked->vram_bytes, why);
	if (!strncmp(item, "host=", 5))
		return set_bytes(item, item + 5, &asked->host_bytes, why);
	if (strncmp(item, "profile=", 8) != 0)
		return complain(why, item, usage);
	if (*asked->profile)
		return complain(why, item, "it is there twice");
	if (!is_profile(item + 8))
		return complain(why, item, "no name of a profile; 'greenboost profiles' lists them");
	strcpy(asked->profile, item + 8);
	return 0;
}

int gb_asked_parse(const char *text, struct gb_asked *asked, char why[GB_WHY_MAX])
{
	struct gb_asked found = {.is_on = true, .vram_bytes = GB_UNLIMITED, .host_bytes = GB_UNLIMITED};
	const char *at = text;

	if (text && !strcmp(text, "off"))
		found.is_on = false;
	else if (text && strcmp(text, "on") != 0) {
		do {
			char item[sizeof "profile=" + VALUE_MAX] = "";
			size_t length = strcspn(at, ",");

			if (length >= sizeof item)
				return complain(why, at, "it is too long");
			memcpy(item, at, length);
			if (parse_item(item, &found, why))
				return -EINVAL;
			at += length;
		} while (*at++ == ',');
	}
	*asked = found;
	return 0;
}

static int parse_argument(const char *argument, struct gb_site *site, char why[GB_WHY_MAX])
{
	const char *value = strchr(argument, '=');
	size_t length = value ? (size_t)(value - argument) : 0;

	value = value ? value + 1 : "";
	if (length == 10 && !strncmp(argument, "greenboost", length)) {
		site->greenboost = value;
		return *value == '/' ? 0 : complain(why, argument, "write the command's absolute path");
	}
	if (length == 7 && !strncmp(argument, "reports", length)) {
		site->reports = value;
		return *value == '/' ? 0 : complain(why, argument, "write a folder's absolute path");
	}
	if (length == 7 && !strncmp(argument, "default", length)) {
		site->is_default_on = !strcmp(value, "on");
		return site->is_default_on || !strcmp(value, "off") ? 0 : complain(why, argument, "write on or off");
	}
	if (length == 8 && !strncmp(argument, "max_", 4)) {
		bool is_vram = !strncmp(argument + 4, "vram", 4);
		if (is_vram || !strncmp(argument + 4, "host", 4))
			return parse_bytes(value, is_vram ? &site->vram_max_bytes : &site->host_max_bytes)
				       ? complain(why, argument, "no size in bytes; write one such as 8GiB")
				       : 0;
	}
	return complain(why, argument, "write greenboost=, reports=, default=, max_vram= or max_host=");
}

int gb_site_parse(int count, char *const *arguments, struct gb_site *site, char why[GB_WHY_MAX])
{
	struct gb_site found = *site;

	for (int i = 0; i < count; i++)
		if (parse_argument(arguments[i], &found, why))
			return -EINVAL;
	*site = found;
	return 0;
}

static int over(const char *what, uint64_t asked, uint64_t most, char why[GB_WHY_MAX])
{
	if (asked == GB_UNLIMITED || asked <= most)
		return 0;
	snprintf(why, GB_WHY_MAX, "%s=%llu is more than a task may have here: at most %llu bytes", what,
		 (unsigned long long)asked, (unsigned long long)most);
	return -EPERM;
}

int gb_site_allows(const struct gb_site *site, const struct gb_asked *asked, char why[GB_WHY_MAX])
{
	int vram = over("vram", asked->vram_bytes, site->vram_max_bytes, why);

	return vram ? vram : over("host", asked->host_bytes, site->host_max_bytes, why);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* What a variable of the user's says. One that cannot be read says nothing, nor does a share of something unknown (whole 0):
 * where there is nothing to lower, it stays as it is, and the library resolves it. */
static uint64_t said(const char *text, uint64_t whole)
{
	struct gb_size size;

	if (!text || gb_size_parse(text, &size) || (size.is_share && !whole))
		return GB_UNLIMITED;
	return gb_size_resolve(&size, whole, GB_UNLIMITED);
}

/* Slurm sets the variable where it manages GPUs and the job has some; where it keeps the others from a job that has none, to
 * "NoDevFiles". Who asks on a cluster that manages none gets the library; a default is only for jobs with a GPU of Slurm's. */
static bool has_gpu(const char *visible_devices, bool is_by_default)
{
	if (!visible_devices)
		return !is_by_default;
	return *visible_devices && strcmp(visible_devices, "NoDevFiles") != 0 && strcmp(visible_devices, "-1") != 0;
}

struct gb_given gb_given_to(const struct gb_asked *asked, const struct gb_site *site, const struct gb_task *task)
{
	uint64_t memory = task->memory_bytes ? task->memory_bytes / (task->tasks ? task->tasks : 1) : GB_UNLIMITED;
	uint64_t vram = smaller(asked->vram_bytes, site->vram_max_bytes);
	uint64_t host = smaller(asked->host_bytes, smaller(site->host_max_bytes, memory));

	return (struct gb_given){
		.is_loaded = asked->is_on && has_gpu(task->visible_devices, asked->is_by_default),
		.vram_bytes = smaller(vram, said(task->vram_limit, 0)),
		.host_bytes = smaller(host, said(task->host_limit, task->ram_bytes)),
	};
}

int gb_preload(const char *library, const char *existing, char *preload, size_t bytes)
{
	size_t at = strlen(library);

	if (at >= bytes)
		return -ENAMETOOLONG;
	memcpy(preload, library, at + 1);
	for (const char *entry = existing ? existing : ""; *entry;) {
		size_t length = strcspn(entry, " :");

		if (length && (length != strlen(library) || strncmp(entry, library, length) != 0)) {
			if (length + 1 >= bytes - at)
				return -ENAMETOOLONG;
			preload[at++] = ':';
			memcpy(preload + at, entry, length);
			at += length;
			preload[at] = '\0';
		}
		entry += length + (entry[length] != '\0');
	}
	return 0;
}
