#include "lease/client.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/descriptor.h"
#include "lease/daemon.h"
#include "lease/holding.h"
#include "lease/socket.h"
#include "lease/turn.h"
#include "lease/wire.h"

#define KEEP_MS 1000
#define DEADLINE_NS (GB_WIRE_DEADLINE_MS * GB_NS_PER_MS)
/* For its turn a thread waits half of that: the other half is left to the daemon, which is not to be thought silent because
 * it answered others first. */
#define TURN_NS (DEADLINE_NS / 2)

/* Guarded by the turn: whoever has it, and nobody else, talks, connects and closes. */
static struct {
	struct gb_descriptor socket;
	uint64_t sequence; /* of the last request */
} connection = {.socket.fd = -1};

static struct gb_descriptor page = {.fd = -1}; /* set before there are threads in here */

static _Atomic bool connected; /* for those without the turn */
/* The daemon knows less than the holding says. Set after the holding was changed, cleared before it is read. */
static _Atomic bool dirty;
static _Atomic uint64_t kept_ms; /* when gb_client_keep() last did its work */
static __thread bool has_turn_over_fork;

/* A call of ours in the program's thread: it cannot be cancelled in the middle, and finds errno as it was. */
struct visit {
	int saved_errno;
	int cancelled; /* its state */
};

static struct visit begin(void)
{
	struct visit visit = {.saved_errno = errno};

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &visit.cancelled);
	return visit;
}

static void end(const struct visit *visit)
{
	pthread_setcancelstate(visit->cancelled, NULL);
	errno = visit->saved_errno;
}

#define VISIT()                                             \
	GB_CLEANUP(end) const struct visit visit = begin(); \
	(void)visit

static struct gb_request next_request(enum gb_request_kind kind)
{
	atomic_store(&dirty, false);
	const struct gb_holding holding = gb_holding_now();
	return gb_wire_request(kind, ++connection.sequence, &holding);
}

static void hang_up(void)
{
	gb_descriptor_close(&connection.socket);
	atomic_store(&connected, false);
}

/* Sends the request and waits for its answer: 0 and *reply, or -errno. An answer that ends the connection is an error. */
static int exchange(const struct gb_request *request, int passed, uint64_t deadline_ns, struct gb_reply *reply)
{
	struct gb_reply packet;
	const int fd = connection.socket.fd;
	int error = gb_socket_send_by(fd, request, passed, deadline_ns);

	if (error)
		return error;
	long size = gb_socket_receive_by(fd, &packet, sizeof packet, deadline_ns);
	if (size < 0)
		return (int)size;
	error = gb_wire_check(&packet, (size_t)size, request, reply);
	if (!error && gb_wire_is_farewell(reply->verdict))
		error = -ECONNREFUSED;
	return error;
}

/* The page, opened anew so that it cannot be written through; -1 if it is no longer there. */
static int open_page(void)
{
	char path[64];

	if (!gb_descriptor_is_ours(&page))
		return -1;
	snprintf(path, sizeof path, "/proc/self/fd/%d", page.fd);
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

static int hello(uint64_t deadline_ns, struct gb_reply *reply)
{
	GB_CLEANUP(gb_close_fd) int passed = open_page();
	const struct gb_request request = next_request(GB_REQUEST_HELLO);
	int error = exchange(&request, passed, deadline_ns, reply);

	return error || reply->verdict == GB_VERDICT_GRANTED ? error : -EPROTO;
}

static bool connect_to(unsigned place, uint64_t deadline_ns)
{
	struct gb_reply reply = {0};
	int fd = gb_socket_connect(gb_daemon_path(place));

	if (fd < 0) {
		gb_daemon_missing(place);
		return false;
	}
	connection.socket = gb_descriptor_of(fd);
	connection.sequence = 0;
	int error = hello(deadline_ns, &reply);
	if (error) {
		hang_up();
		gb_daemon_failed(place, error, reply.verdict);
		return false;
	}
	atomic_store(&connected, true);
	gb_daemon_welcomed(place);
	return true;
}

/* Whether there is a connection now. */
static bool reach(uint64_t deadline_ns)
{
	if (connection.socket.fd >= 0 && !gb_descriptor_is_ours(&connection.socket))
		hang_up();
	if (connection.socket.fd >= 0)
		return true;
	if (!gb_daemon_is_due())
		return false;
	bool reached = false;
	for (unsigned place = 0; !reached && gb_daemon_path(place); place++)
		reached = !gb_daemon_is_avoided(place) && connect_to(place, deadline_ns);
	/* Only now: until then who asks waits for its turn, and finds what this came to. */
	gb_daemon_tried();
	return reached;
}

static void lose(int error, enum gb_verdict verdict)
{
	hang_up();
	gb_daemon_lost(error, verdict);
}

static enum gb_client_answer ask(uint64_t bytes, uint64_t reserve_bytes, uint64_t deadline_ns, struct gb_reply *reply)
{
	/* The second time for a connection that proved dead: there may be a new daemon already. */
	for (int attempt = 0; attempt < 2 && reach(deadline_ns); attempt++) {
		struct gb_request request = next_request(GB_REQUEST_ACQUIRE);
		request.bytes = bytes;
		request.reserve_bytes = reserve_bytes;
		reply->verdict = GB_VERDICT_GRANTED;
		int error = exchange(&request, -1, deadline_ns, reply);
		if (!error) {
			gb_daemon_served();
			if (reply->verdict != GB_VERDICT_GRANTED)
				return GB_CLIENT_REFUSED;
			/* Before anybody else can send what is held. */
			gb_holding_grant(bytes);
			return GB_CLIENT_GRANTED;
		}
		lose(error, reply->verdict);
	}
	return GB_CLIENT_NOBODY;
}

/* Tells the daemon until it knows everything. False if it could not be told now. */
static bool flush(void)
{
	while (atomic_load(&dirty) && connection.socket.fd >= 0) {
		if (!gb_descriptor_is_ours(&connection.socket)) {
			hang_up();
			return false;
		}
		const struct gb_request request = next_request(GB_REQUEST_UPDATE);
		int error = gb_socket_send(connection.socket.fd, &request, -1);
		if (!error)
			continue;
		atomic_store(&dirty, true);
		connection.sequence--;
		if (error != -EAGAIN)
			lose(error, GB_VERDICT_GRANTED);
		return false;
	}
	return true;
}

/* Who marks what it changed finds the turn taken, or takes it; who gives the turn back looks at the mark afterwards. All four
 * are sequentially consistent, so no mark is left for nobody. */
static void flush_and_give_back(void)
{
	bool told;

	do {
		told = flush();
		gb_turn_give_back();
	} while (told && atomic_load(&dirty) && atomic_load(&connected) && gb_turn_try());
}

void gb_client_start(int page_fd)
{
	page = gb_descriptor_of(page_fd);
	gb_daemon_find();
}

enum gb_client_answer gb_client_acquire(uint64_t bytes, uint64_t reserve_bytes, struct gb_reply *reply)
{
	const uint64_t now_ns = gb_clock_ns();
	enum gb_client_answer answer;

	if (!atomic_load(&connected) && !gb_daemon_is_due())
		return GB_CLIENT_NOBODY;
	{
		VISIT();
		if (!gb_turn_take(now_ns + TURN_NS))
			return GB_CLIENT_NOBODY;
		answer = ask(bytes, reserve_bytes, now_ns + DEADLINE_NS, reply);
		flush_and_give_back();
	}
	gb_daemon_tell();
	return answer;
}

void gb_client_update(void)
{
	atomic_store(&dirty, true);
	if (!atomic_load(&connected))
		return;
	VISIT();
	if (gb_turn_try())
		flush_and_give_back();
}

static bool has_work(void)
{
	return gb_holding_now().held || (atomic_load(&dirty) && atomic_load(&connected));
}

static void keep(void)
{
	VISIT();
	if (!gb_turn_try())
		return;
	if (connection.socket.fd >= 0) {
		int error = gb_descriptor_is_ours(&connection.socket) ? gb_socket_look(connection.socket.fd) : 0;
		if (error)
			lose(error, GB_VERDICT_GRANTED);
	}
	if (gb_holding_now().held)
		reach(gb_clock_ns() + DEADLINE_NS);
	flush_and_give_back();
}

void gb_client_keep(void)
{
	if (!has_work())
		return;
	const uint64_t now = gb_clock_coarse_ms();
	uint64_t last = atomic_load(&kept_ms);
	if (now - last < KEEP_MS || !atomic_compare_exchange_strong(&kept_ms, &last, now))
		return;
	keep();
	gb_daemon_tell();
}

/* Otherwise the child could inherit a descriptor that only a thread it does not have knows of, and keep the parent's lease
 * alive with it. */
void gb_client_before_fork(void)
{
	has_turn_over_fork = gb_turn_take(gb_clock_ns() + 2 * DEADLINE_NS);
}

void gb_client_after_fork_in_parent(void)
{
	if (!has_turn_over_fork)
		return;
	has_turn_over_fork = false;
	VISIT();
	flush_and_give_back();
}

void gb_client_after_fork_in_child(void)
{
	gb_turn_after_fork();
	hang_up();
	page = GB_DESCRIPTOR_NONE;
	atomic_store(&dirty, false);
	atomic_store(&kept_ms, 0);
	gb_daemon_after_fork();
}
