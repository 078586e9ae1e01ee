#include "lease/daemon.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "base/status.h"

#define SYSTEM_SOCKET "/run/greenboost/lease.sock"
#define USER_SOCKET "greenboost/lease.sock" /* in $XDG_RUNTIME_DIR */

enum { PLACES = 2, TRY_AGAIN_MS = 1000, AVOID_AT_MOST_MS = 30000 };

struct place {
	const char *path;
	/* What is avoided: the socket that this was, until then. */
	struct stat socket;
	uint64_t avoided_until_ms;
	uint64_t avoided_ms; /* for how long, last time; 0: it has served us since */
};

static struct place places[PLACES];
static char user_path[sizeof((struct sockaddr_un *)0)->sun_path];

static _Atomic uint64_t due_ms; /* no connection is tried before */

enum state { NEVER_MET, IN_USE, LOST };
static enum state state;
static unsigned place_in_use;

enum news {
	NOTHING,
	FIRST_MET,
	IS_BACK,
	NOBODY_THERE,
	WENT,
	SILENT,
	TALKS_NONSENSE,
	OTHER_VERSION,
	TOO_MANY,
	MISTRUSTS
};
/* What is still to be said, and of which place: a later change takes the place of an earlier one that nobody told. */
static _Atomic unsigned news;

static void set_news(enum news what, unsigned place)
{
	atomic_store(&news, (unsigned)what * PLACES + place);
}

static const char *find_user_path(void)
{
	const char *directory = secure_getenv("XDG_RUNTIME_DIR");

	if (!directory || *directory != '/')
		return NULL;
	int length = snprintf(user_path, sizeof user_path, "%s/%s", directory, USER_SOCKET);
	return length > 0 && (size_t)length < sizeof user_path ? user_path : NULL;
}

void gb_daemon_find(void)
{
	const char *named = gb_options()->socket;

	places[0].path = named ? named : SYSTEM_SOCKET;
	places[1].path = named ? NULL : find_user_path();
}

const char *gb_daemon_path(unsigned place)
{
	return place < PLACES ? places[place].path : NULL;
}

bool gb_daemon_is_due(void)
{
	return gb_clock_coarse_ms() >= atomic_load(&due_ms);
}

void gb_daemon_tried(void)
{
	atomic_store(&due_ms, gb_clock_coarse_ms() + TRY_AGAIN_MS);
}

/* Bound anew, a socket has another inode, or another time. */
static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

bool gb_daemon_is_avoided(unsigned place)
{
	const struct place *known = &places[place];
	struct stat now;

	return gb_clock_coarse_ms() < known->avoided_until_ms && !gb_stat(known->path, &now) &&
	       is_same(&now, &known->socket);
}

static void avoid(struct place *place)
{
	const uint64_t longer = place->avoided_ms ? 2 * place->avoided_ms : TRY_AGAIN_MS;

	place->avoided_ms = longer < AVOID_AT_MOST_MS ? longer : AVOID_AT_MOST_MS;
	place->avoided_until_ms = gb_clock_coarse_ms() + place->avoided_ms;
	if (gb_stat(place->path, &place->socket))
		place->socket = (struct stat){0};
}

void gb_daemon_missing(unsigned place)
{
	static bool said;

	/* Only who names a socket expects somebody there. */
	if (state == NEVER_MET && gb_options()->socket && !said) {
		said = true;
		set_news(NOBODY_THERE, place);
	}
}

void gb_daemon_welcomed(unsigned place)
{
	if (state != IN_USE)
		set_news(state == LOST ? IS_BACK : FIRST_MET, place);
	state = IN_USE;
	place_in_use = place;
}

void gb_daemon_served(void)
{
	places[place_in_use].avoided_ms = 0;
}

static enum news news_of(int error, enum gb_verdict verdict)
{
	switch (verdict) {
	case GB_VERDICT_MALFORMED:
		return MISTRUSTS;
	case GB_VERDICT_VERSION:
		return OTHER_VERSION;
	case GB_VERDICT_CLIENTS:
		return TOO_MANY;
	default:
		break;
	}
	switch (error) {
	case -EPIPE:
	case -ECONNRESET:
	case -ENOTCONN:
		return WENT;
	case -ETIMEDOUT:
		return SILENT;
	case -EPROTONOSUPPORT:
		return OTHER_VERSION;
	default:
		return TALKS_NONSENSE;
	}
}

void gb_daemon_failed(unsigned place, int error, enum gb_verdict verdict)
{
	enum news what = news_of(error, verdict);

	if (what != WENT)
		avoid(&places[place]);
	if (state != LOST)
		set_news(what, place);
	state = LOST;
}

void gb_daemon_lost(int error, enum gb_verdict verdict)
{
	gb_daemon_failed(place_in_use, error, verdict);
}

static const char *describe(enum news what)
{
	switch (what) {
	case NOTHING:
		break;
	case FIRST_MET:
		return "grants host memory";
	case IS_BACK:
		return "is back, and grants host memory again";
	case NOBODY_THERE:
		return "is not there; this process decides for itself";
	case WENT:
		return "is gone; this process decides for itself";
	case SILENT:
		return "does not answer; this process decides for itself";
	case TALKS_NONSENSE:
		return "gave an answer that is none; this process decides for itself";
	case OTHER_VERSION:
		return "is of another version; this process decides for itself: start it anew with the one that is installed";
	case TOO_MANY:
		return "has too many connections of this user's; this process decides for itself";
	case MISTRUSTS:
		return "could not read what it was sent; this process decides for itself";
	}
	return "";
}

/* The first loss tells the user that there is one; a daemon that comes and goes need not be told of each time. */
static enum gb_log_level level_of(enum news what)
{
	static _Atomic bool warned;

	if (what < WENT)
		return GB_LOG_INFO;
	return atomic_exchange(&warned, true) ? GB_LOG_INFO : GB_LOG_WARN;
}

void gb_daemon_tell(void)
{
	if (!atomic_load_explicit(&news, memory_order_relaxed))
		return;
	unsigned told = atomic_exchange(&news, 0);
	enum news what = (enum news)(told / PLACES);
	if (what != NOTHING)
		gb_log(level_of(what), "lease", "the daemon at %s %s", places[told % PLACES].path, describe(what));
}

void gb_daemon_after_fork(void)
{
	for (unsigned i = 0; i < PLACES; i++)
		places[i] = (struct place){.path = places[i].path};
	atomic_store(&due_ms, 0);
	atomic_store(&news, 0);
	state = NEVER_MET;
}
