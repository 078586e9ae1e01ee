/* GreenBoost under Slurm: a SPANK plugin that adds --greenboost to srun, sbatch and salloc. See docs/fleet.md and asked.h.
 *
 *   where a job is submitted    option() checks what is asked for, and ends the command if it is nonsense
 *   slurmstepd, per step        user_init makes a file for each task; the last task_exit reads them, and tells the job
 *   each task, as its user      task_init sets its environment
 *
 * Trouble of our own costs the job a line on its stderr, and nothing else. Source: spank(7); slurm/spank.h. */

/* Slurm finds its calls by their names: they alone are exported. */
#pragma GCC visibility push(default)
#include <slurm/slurm.h>
#include <slurm/spank.h>
SPANK_PLUGIN(greenboost, 1)
#pragma GCC visibility pop

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "asked.h"
#include "settings.h"
#include "told.h"

#ifndef GB_GREENBOOST
#define GB_GREENBOOST "/usr/local/bin/greenboost"
#endif

#define TASKS_MAX 256 /* on one node; those after them are not told of */
#define MIB (UINT64_C(1) << 20)

struct report {
	int fd; /* -1: none */
	char path[256];
};

/* One thread of srun, sbatch, salloc or slurmstepd. */
static struct {
	struct gb_site site;
	struct gb_asked asked;
	struct report *reports; /* a task each */
	uint32_t report_count, ended;
} plugin = {
	.site = {.greenboost = GB_GREENBOOST,
		 .reports = "/var/tmp",
		 .vram_max_bytes = GB_UNLIMITED,
		 .host_max_bytes = GB_UNLIMITED},
};

static int option(int value, const char *text, int is_remote)
{
	char why[GB_WHY_MAX];
	struct gb_asked asked;

	(void)value;
	/* What becomes of no text on its way to the node, and to a srun within the job. */
	if (text && ((is_remote && !*text) || !strcmp(text, "(null)")))
		text = NULL;
	if (!gb_asked_parse(text, &asked, why) && (is_remote || !gb_site_allows(&plugin.site, &asked, why))) {
		plugin.asked = asked;
		return ESPANK_SUCCESS;
	}
	if (is_remote)
		return ESPANK_BAD_ARG;
	/* Nothing has been submitted yet, and Slurm gives up. */
	slurm_error("--greenboost: %s", why);
	return ESPANK_BAD_ARG;
}

static struct spank_option option_row = {
	.name = "greenboost",
	.arginfo = "vram=SIZE,host=SIZE,profile=NAME",
	.usage = "let tasks use host memory where VRAM ends, within these limits per process; off: do not",
	.has_arg = 2,
	.cb = option,
};

int slurm_spank_init(spank_t spank, int count, char *arguments[])
{
	char why[GB_WHY_MAX];
	spank_context_t context = spank_context();

	if (gb_site_parse(count, arguments, &plugin.site, why)) {
		slurm_error("greenboost: plugstack.conf: %s", why);
		return ESPANK_ERROR;
	}
	plugin.asked = (struct gb_asked){.is_on = plugin.site.is_default_on,
					 .is_by_default = true,
					 .vram_bytes = GB_UNLIMITED,
					 .host_bytes = GB_UNLIMITED};
	if (context == S_CTX_LOCAL || context == S_CTX_ALLOCATOR || context == S_CTX_REMOTE)
		return (int)spank_option_register(spank, &option_row);
	return ESPANK_SUCCESS;
}

/* As the user, so that the file is the user's; it is open from here on, and nobody's name for it matters any more. */
static void make_report(struct report *report, uint32_t job, uint32_t step, uint32_t task)
{
	int length = snprintf(report->path, sizeof report->path, "%s/greenboost-%u.%u.%u-XXXXXX", plugin.site.reports,
			      job, step, task);

	report->fd = length < (int)sizeof report->path ? mkostemp(report->path, O_CLOEXEC) : -1;
}

int slurm_spank_user_init(spank_t spank, int count, char *arguments[])
{
	uint32_t tasks = 0, job = 0, step = 0;

	(void)count, (void)arguments;
	if (!plugin.asked.is_on || spank_get_item(spank, S_JOB_LOCAL_TASK_COUNT, &tasks) || !tasks)
		return ESPANK_SUCCESS;
	tasks = tasks < TASKS_MAX ? tasks : TASKS_MAX;
	spank_get_item(spank, S_JOB_ID, &job);
	spank_get_item(spank, S_JOB_STEPID, &step);
	plugin.reports = calloc(tasks, sizeof *plugin.reports);
	plugin.report_count = plugin.reports ? tasks : 0;
	for (uint32_t task = 0; task < plugin.report_count; task++)
		make_report(&plugin.reports[task], job, step, task);
	return ESPANK_SUCCESS;
}

/* A variable of the task's; NULL if it is not set, or longer than any that we would read. */
static const char *variable(spank_t spank, const char *name, char *text, int bytes)
{
	return spank_getenv(spank, name, text, bytes) == ESPANK_SUCCESS ? text : NULL;
}

static uint64_t step_memory_bytes(spank_t spank)
{
	uint64_t job_mib = 0, step_mib = 0;

	spank_get_item(spank, S_JOB_ALLOC_MEM, &job_mib);
	spank_get_item(spank, S_STEP_ALLOC_MEM, &step_mib);
	if (!step_mib || (job_mib && job_mib < step_mib))
		step_mib = job_mib;
	return step_mib < UINT64_MAX / MIB ? step_mib * MIB : 0;
}

static struct gb_given given(spank_t spank)
{
	char devices[4096], vram[128], host[128];
	struct sysinfo info;
	struct gb_task task = {
		.visible_devices = variable(spank, "CUDA_VISIBLE_DEVICES", devices, sizeof devices),
		.vram_limit = variable(spank, "GREENBOOST_VRAM_LIMIT", vram, sizeof vram),
		.host_limit = variable(spank, "GREENBOOST_HOST_LIMIT", host, sizeof host),
		.memory_bytes = step_memory_bytes(spank),
		.ram_bytes = sysinfo(&info) ? 0 : (uint64_t)info.totalram * info.mem_unit,
	};

	spank_get_item(spank, S_JOB_LOCAL_TASK_COUNT, &task.tasks);
	return gb_given_to(&plugin.asked, &plugin.site, &task);
}

static void set_bytes(spank_t spank, const char *name, uint64_t bytes)
{
	char text[32];

	if (bytes == GB_UNLIMITED)
		return;
	snprintf(text, sizeof text, "%llu", (unsigned long long)bytes);
	spank_setenv(spank, name, text, 1);
}

/* What `greenboost env` said: options that the user has not set, and the library, before what the user preloads. */
static int set_setting(spank_t spank, const char *setting)
{
	char name[64], existing[8192], preload[16384];
	const char *equals = strchr(setting, '=');
	size_t length = equals ? (size_t)(equals - setting) : 0;

	if (!length || length >= sizeof name)
		return -EINVAL;
	memcpy(name, setting, length);
	name[length] = '\0';
	if (strcmp(name, "LD_PRELOAD") != 0) {
		spank_setenv(spank, name, equals + 1, 0);
		return 0;
	}
	int result = gb_preload(equals + 1, variable(spank, name, existing, sizeof existing), preload, sizeof preload);
	if (!result)
		spank_setenv(spank, name, preload, 1);
	return result;
}

static void set_report(spank_t spank)
{
	int task = -1;

	spank_get_item(spank, S_TASK_ID, &task);
	if (task >= 0 && (uint32_t)task < plugin.report_count && plugin.reports[task].fd >= 0)
		spank_setenv(spank, "GREENBOOST_REPORT", plugin.reports[task].path, 1);
	else
		spank_unsetenv(spank, "GREENBOOST_REPORT"); /* of a step around this one */
}

/* The task, which has become its user. */
int slurm_spank_task_init(spank_t spank, int count, char *arguments[])
{
	static struct gb_settings settings;
	struct gb_given limits = given(spank);
	char why[GB_WHY_MAX], **environment = NULL;

	(void)count, (void)arguments;
	if (!limits.is_loaded || spank_get_item(spank, S_JOB_ENV, &environment))
		return ESPANK_SUCCESS;
	if (gb_settings_ask(plugin.site.greenboost, plugin.asked.profile, environment, &settings, why)) {
		slurm_spank_log("greenboost: the task starts without it: %s", why);
		return ESPANK_SUCCESS;
	}
	for (const char *one = gb_settings_next(&settings, NULL); one; one = gb_settings_next(&settings, one)) {
		if (set_setting(spank, one))
			slurm_spank_log("greenboost: LD_PRELOAD is too long: the task starts without it");
	}
	set_bytes(spank, "GREENBOOST_VRAM_LIMIT", limits.vram_bytes);
	set_bytes(spank, "GREENBOOST_HOST_LIMIT", limits.host_bytes);
	set_report(spank);
	return ESPANK_SUCCESS;
}

/* The end of the file; what a process wrote last is what counts. */
static struct gb_told read_report(const struct report *report)
{
	char text[GB_TOLD_BYTES];
	off_t size = report->fd < 0 ? -1 : lseek(report->fd, 0, SEEK_END);
	off_t from = size > (off_t)sizeof text ? size - (off_t)sizeof text : 0;
	ssize_t bytes = size < 0 ? -1 : pread(report->fd, text, sizeof text, from);

	return gb_told_read(text, bytes > 0 ? (size_t)bytes : 0);
}

static void name_step(spank_t spank, char *name, size_t bytes)
{
	uint32_t job = 0, step = 0;

	spank_get_item(spank, S_JOB_ID, &job);
	spank_get_item(spank, S_JOB_STEPID, &step);
	if (step == SLURM_BATCH_SCRIPT)
		snprintf(name, bytes, "%u.batch", job);
	else if (step == SLURM_INTERACTIVE_STEP)
		snprintf(name, bytes, "%u.interactive", job);
	else
		snprintf(name, bytes, "%u.%u", job, step);
}

static void tell(spank_t spank)
{
	static struct gb_told told[TASKS_MAX];
	char step[64], node[65] = "", line[GB_TOLD_LINE];

	for (uint32_t task = 0; task < plugin.report_count; task++)
		told[task] = read_report(&plugin.reports[task]);
	name_step(spank, step, sizeof step);
	gethostname(node, sizeof node - 1);
	if (!gb_told_say(step, node, told, plugin.report_count, line))
		slurm_spank_log("%s", line);
}

/* Said while the step can still hear it: when its last task has ended, and not at its own end. */
int slurm_spank_task_exit(spank_t spank, int count, char *arguments[])
{
	uint32_t tasks = 0;

	(void)count, (void)arguments;
	if (plugin.reports && !spank_get_item(spank, S_JOB_LOCAL_TASK_COUNT, &tasks) && ++plugin.ended == tasks)
		tell(spank);
	return ESPANK_SUCCESS;
}

int slurm_spank_exit(spank_t spank, int count, char *arguments[])
{
	(void)spank, (void)count, (void)arguments;
	if (!plugin.reports)
		return ESPANK_SUCCESS;
	for (uint32_t task = 0; task < plugin.report_count; task++) {
		if (plugin.reports[task].fd < 0)
			continue;
		close(plugin.reports[task].fd);
		unlink(plugin.reports[task].path);
	}
	free(plugin.reports);
	plugin.reports = NULL;
	return ESPANK_SUCCESS;
}
