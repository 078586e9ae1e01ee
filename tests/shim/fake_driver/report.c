#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "entry.h"

static char *violations[FK_VIOLATIONS_MAX];
static unsigned long violation_count; /* of all, kept or not */
static bool silent;

static const char *const figure_names[] = {
#define FK_FIGURE(name) #name,
#include "figures.def"
#undef FK_FIGURE
};

void fk_report_start(void)
{
	silent = fk_config.report[0] == '\0';
}

void fk_report_forked(void)
{
	if (!strstr(fk_config.report, "%p"))
		silent = true;
}

void fk_report_violation(const char *text)
{
	if (violation_count < FK_VIOLATIONS_MAX)
		violations[violation_count] = strdup(text);
	violation_count++;
}

static void report_name(char *name, size_t size)
{
	const char *mark = strstr(fk_config.report, "%p");

	if (mark)
		snprintf(name, size, "%.*s%d%s", (int)(mark - fk_config.report), fk_config.report, (int)getpid(),
			 mark + 2);
	else
		snprintf(name, size, "%s", fk_config.report);
}

static void write_string(FILE *file, const char *text)
{
	fputc('"', file);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', file);
		if ((unsigned char)*text >= ' ')
			fputc(*text, file);
	}
	fputc('"', file);
}

static void write_body(FILE *file)
{
	const char *comma = "";
	bool clean = violation_count == 0;

	for (int i = 0; i < FK_FIGURES; i++) {
		fprintf(file, "  \"%s\": %llu,\n", figure_names[i], (unsigned long long)fk.held[i]);
		clean = clean && fk.held[i] == 0;
	}
	fprintf(file, "  \"clean\": %s,\n  \"peak\": {", clean ? "true" : "false");
	for (int i = 0; i < FK_FIGURES; i++)
		fprintf(file, "%s\"%s\": %llu", i ? ", " : "", figure_names[i], (unsigned long long)fk.peak[i]);
	fprintf(file, "},\n  \"calls\": {");
	for (int i = 0; i < FK_SYMBOLS; i++) {
		unsigned long long calls = atomic_load_explicit(&fk_calls[i], memory_order_relaxed);

		if (!calls)
			continue;
		fprintf(file, "%s\"%s\": %llu", comma, fk_symbols[i].symbol, calls);
		comma = ", ";
	}
	fprintf(file, "},\n  \"violation_count\": %lu,\n  \"violations\": [", violation_count);
	for (unsigned long i = 0; i < violation_count && i < FK_VIOLATIONS_MAX; i++) {
		fputs(i ? ", " : "", file);
		write_string(file, violations[i] ? violations[i] : "?");
	}
	fprintf(file, "]\n");
}

void fk_report_write(void)
{
	char name[1200], temporary[1300];
	FILE *file;

	if (silent)
		return;
	report_name(name, sizeof(name));
	snprintf(temporary, sizeof(temporary), "%s.%d", name, (int)getpid());
	file = fopen(temporary, "we");
	if (!file) {
		fk_say("FAKECUDA_REPORT: cannot write %s", temporary);
		return;
	}
	fprintf(file, "{\n  \"pid\": %d,\n", (int)getpid());
	write_body(file);
	fprintf(file, "}\n");
	if (fclose(file) != 0 || rename(temporary, name) != 0)
		fk_say("FAKECUDA_REPORT: cannot write %s", name);
}
