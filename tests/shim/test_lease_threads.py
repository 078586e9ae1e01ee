"""A lease that many threads ask for at once: one after the other has its turn with the daemon."""

import time

import stand_in
from harness import CLIENTS, FAKE_DRIVER, compile_c, run, run_program, succeed
from leasing import CARD, check_sequences
from stand_in import ACQUIRE, HELLO, StandIn, reply


def test_threads_that_overflow_at_once_leave_the_books_balanced(tmp_path):
    """A thread that has waited for too long decides alone, and a daemon that was late is left: then the lease has ended with
    the connection. How many ask is the clock's, and that is what the repetitions are for."""
    command = [str(CLIENTS / "threads"), "--threads", "8", "--times", "4", "--count", "80"]
    asked = []
    while len(asked) < 5 and max(asked, default=0) <= 20:
        path = tmp_path / f"s{len(asked)}"
        with StandIn(path) as daemon:
            ended = run(command, tmp_path, socket=str(path), log="info", FAKECUDA_VRAM="4MiB")
            assert ended.code == 0, ended.err
            daemon.wait(lambda daemon=daemon: all(client.is_closed for client in daemon.clients))
        check_sequences(daemon)
        was_late = any("does not answer" in line for line in ended.said)
        assert was_late or (len(daemon.clients), daemon.requests[-1].figures) == (1, (0, 0, 0))
        asked.append(0 if was_late else sum(r.kind == ACQUIRE and r.bytes > 0 for r in daemon.requests))
    assert max(asked) > 20


def test_daemon_that_answers_many_threads_one_after_the_other_is_not_thought_silent(tmp_path):
    """The last in the queue would have nothing left to wait for the answer with. On a busy machine an answer may be late after
    all, and that is what the repetitions are for."""
    source = """
import threading
context = init()
barrier = threading.Barrier(8)
def overflow():
    call("cuCtxSetCurrent", context)
    barrier.wait()
    free(alloc(96 * MIB))
free(alloc(96 * MIB))
threads = [threading.Thread(target=overflow) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""

    def answer(request, _client):
        time.sleep(0.03)
        return reply(request)

    said = []
    while len(said) < 5 and not (said and len(said[-1]) == 1):
        path = tmp_path / f"s{len(said)}"
        with StandIn(path, answer) as daemon:
            ended = succeed(source, tmp_path, fallback="host", socket=str(path), log="info", **CARD)
            daemon.wait(lambda daemon=daemon: all(client.is_closed for client in daemon.clients))
        said.append([line.split("lease: ")[1] for line in ended.said if "lease: " in line])
    assert said[-1] == [f"the daemon at {path} grants host memory"], said


def test_threads_that_overflow_first_at_once_all_ask_the_daemon(tmp_path):
    """Nobody decides alone while another thread is still being welcomed. A thread that has waited for too long may: that is
    what the repetitions are for."""
    source = """
import threading
context = init()
codes = []
barrier = threading.Barrier(6)
def overflow():
    call("cuCtxSetCurrent", context)
    barrier.wait()
    codes.append(alloc_code(96 * MIB))
threads = [threading.Thread(target=overflow) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(*codes)
"""

    def answer(request, _client):
        if request.kind == HELLO:
            time.sleep(0.05)
            return reply(request)
        return reply(request, stand_in.MACHINE)

    heard = []
    while len(heard) < 5 and "2 2 2 2 2 2\n" not in heard:
        path = tmp_path / f"s{len(heard)}"
        with StandIn(path, answer):
            heard.append(run_program(source, tmp_path, fallback="host", socket=str(path), **CARD).out)
    assert heard[-1] == "2 2 2 2 2 2\n", heard


def test_cancelled_thread_does_not_keep_the_turn(tmp_path):
    """A thread that is cancelled while it waits for the daemon finishes that first."""
    main = compile_c(
        tmp_path,
        """
#include <pthread.h>
#include <stdio.h>
int cuInit(unsigned), cuCtxCreate_v2(void **, unsigned, int), cuCtxSetCurrent(void *);
int cuMemAlloc_v2(unsigned long long *, unsigned long), cuMemFree_v2(unsigned long long);
static void *context;
static void *wait_for_ever(void *unused)
{
	unsigned long long p;
	cuCtxSetCurrent(context);
	for (;;) { cuMemAlloc_v2(&p, 96 << 20); cuMemFree_v2(p); pthread_testcancel(); }
	return unused;
}
int main(void)
{
	unsigned long long p;
	if (cuInit(0) || cuCtxCreate_v2(&context, 0, 0)) return 1;
	for (int i = 0; i < 5; i++) {
		pthread_t thread;
		pthread_create(&thread, NULL, wait_for_ever, NULL);
		if (cuMemAlloc_v2(&p, 96 << 20) || cuMemFree_v2(p)) return 2;
		pthread_cancel(thread);
		pthread_join(thread, NULL);
	}
	if (cuMemAlloc_v2(&p, 96 << 20) || cuMemFree_v2(p)) return 3;
	return 0;
}
""",
        *(f"-L{FAKE_DRIVER}", "-lcuda", "-pthread"),
    )
    with StandIn(tmp_path / "s") as daemon:
        ended = run([str(main)], tmp_path, fallback="host", socket=str(tmp_path / "s"), **CARD)
    assert ended.code == 0, ended.err
    assert ended.err == ""
    assert daemon.requests[-1].figures == (0, 0, 0)
