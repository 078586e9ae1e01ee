"""Whatever is at the daemon's socket, and whatever it answers: the program runs by its own rule, once told why, and holds nothing
that it did not hold before."""

import os
import socket

import pytest
import stand_in
from harness import run, run_program, succeed
from leasing import ended_well, started
from stand_in import ACQUIRE, CLOSE, HELLO, StandIn, reply

MIB = 1 << 20
CARD = {"FAKECUDA_VRAM": "64MiB", "fallback": "host"}
# One descriptor is the connection's, one the simulated driver's.
OVERFLOWS = """
import os
from books import host_bytes
init()
before = len(os.listdir('/proc/self/fd'))
for _ in range(5):
    p = alloc(96 * MIB)
    assert host_bytes() == 96 * MIB
    synchronize()
    free(p)
assert host_bytes() == 0
assert len(os.listdir('/proc/self/fd')) <= before + 2, os.listdir('/proc/self/fd')
"""
NONSENSE = "gave an answer that is none"
OTHER = "is of another version"
SILENT = "does not answer"
GONE = "is gone"


def with_descriptors(request, _client):
    """An answer that is no answer, and descriptors with it."""
    return reply(request) + b"x", [0, 0, 0]


HOSTILE = {
    "empty": (lambda r, c: b"", GONE),  # which no one can tell from the end of the connection
    "one byte": (lambda r, c: b"G", NONSENSE),
    "a byte short": (lambda r, c: reply(r)[:-1], NONSENSE),
    "a byte long": (lambda r, c: reply(r) + b"\0", NONSENSE),
    "a request's size": (lambda r, c: reply(r) + bytes(16), NONSENSE),
    "200 bytes": (lambda r, c: bytes(200), NONSENSE),
    "64 KiB": (lambda r, c: reply(r) * 1365, NONSENSE),
    "descriptors along": (with_descriptors, NONSENSE),
    "other magic": (lambda r, c: reply(r, magic=0x74736247), NONSENSE),
    "version 0": (lambda r, c: reply(r, version=0), OTHER),
    "version 2": (lambda r, c: reply(r, version=2), OTHER),
    "sequence below": (lambda r, c: reply(r, sequence=r.sequence - 1), NONSENSE),
    "sequence above": (lambda r, c: reply(r, sequence=r.sequence + 1), NONSENSE),
    "sequence 2^64-1": (lambda r, c: reply(r, sequence=2**64 - 1), NONSENSE),
    "a byte more granted": (lambda r, c: reply(r, granted=r.bytes + 1), NONSENSE),
    "2^64-1 granted": (lambda r, c: reply(r, granted=2**64 - 1), NONSENSE),
    "refused and granted": (lambda r, c: reply(r, verdict=stand_in.MACHINE, granted=r.bytes + 1), NONSENSE),
    "unknown verdict": (lambda r, c: reply(r, verdict=9), NONSENSE),
    "verdict 65535": (lambda r, c: reply(r, verdict=65535), NONSENSE),
    "unknown level": (lambda r, c: reply(r, level=4), NONSENSE),
    "level 2^32-1": (lambda r, c: reply(r, level=2**32 - 1), NONSENSE),
    "not a request": (lambda r, c: reply(r, verdict=stand_in.MALFORMED), "could not read what it was sent"),
    "not our version": (lambda r, c: reply(r, verdict=stand_in.OTHER_VERSION), OTHER),
    "too many": (lambda r, c: reply(r, verdict=stand_in.CLIENTS), "has too many connections"),
    "the end": (lambda r, c: CLOSE, GONE),
    "silence": (lambda r, c: None, SILENT),
}


def check_alone(ended, path, words):
    """The program ran, and was told once."""
    assert ended.code == 0, ended.err
    assert len(ended.said) == 1, ended.said
    assert f"warning lease: the daemon at {path} {words}" in ended.said[0]


@pytest.mark.parametrize("kind", [HELLO, ACQUIRE])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answer_leaves_the_program_to_its_own_rule(tmp_path, name, kind):
    hostile, words = HOSTILE[name]

    def answer(request, client):
        return hostile(request, client) if request.kind == kind else reply(request)

    with StandIn(tmp_path / "s", answer) as daemon:
        ended = run_program(OVERFLOWS, tmp_path, socket=str(tmp_path / "s"), **CARD)
        check_alone(ended, tmp_path / "s", words)
        daemon.wait(lambda: all(client.is_closed for client in daemon.clients))
    assert all(request.bytes in (0, 96 * MIB) for request in daemon.requests)


def test_refusal_that_grants_all_the_same_is_no_answer(tmp_path):
    def answer(request, _client):
        return reply(request, stand_in.MACHINE, granted=request.bytes) if request.bytes else reply(request)

    with StandIn(tmp_path / "s", answer):
        ended = run_program(OVERFLOWS, tmp_path, socket=str(tmp_path / "s"), **CARD)
    check_alone(ended, tmp_path / "s", NONSENSE)


def test_grant_of_nothing_for_something_is_no_answer(tmp_path):
    with StandIn(tmp_path / "s", lambda request, _client: reply(request, granted=0)):
        ended = run_program(OVERFLOWS, tmp_path, socket=str(tmp_path / "s"), **CARD)
    check_alone(ended, tmp_path / "s", NONSENSE)


def test_hello_answered_with_a_refusal_is_no_welcome(tmp_path):
    with StandIn(tmp_path / "s", lambda request, _client: reply(request, stand_in.PRESSURE)):
        ended = run_program(OVERFLOWS, tmp_path, socket=str(tmp_path / "s"), **CARD)
    check_alone(ended, tmp_path / "s", NONSENSE)


def test_answers_that_nobody_asked_for_end_the_connection(tmp_path):
    def answer(request, client):
        if request.kind == ACQUIRE:
            client.connection.send(reply(request))
        return reply(request)

    with StandIn(tmp_path / "s", answer):
        ended = run_program(OVERFLOWS, tmp_path, socket=str(tmp_path / "s"), **CARD)
    check_alone(ended, tmp_path / "s", NONSENSE)


@pytest.mark.parametrize(("answer", "words"), [(None, SILENT), (CLOSE, GONE)])
def test_daemon_that_is_of_no_use_is_not_asked_every_time(tmp_path, answer, words):
    """Of 60 times; how often it is depends on how long they take."""
    source = "init()\nfor _ in range(60):\n    p = alloc(96 * MIB)\n    free(p)"
    with StandIn(tmp_path / "s", lambda request, _client: answer) as daemon:
        ended = run_program(source, tmp_path, socket=str(tmp_path / "s"), **CARD)
    check_alone(ended, tmp_path / "s", words)
    assert 1 <= len(daemon.clients) < 30


def test_trouble_that_stays_is_told_once(tmp_path):
    """At a level where each change is told, and with time enough for the daemon to be tried again."""
    source = "import time\ninit()\nfor _ in range(3):\n    free(alloc(96 * MIB))\n    time.sleep(1.1)"
    with StandIn(tmp_path / "s", lambda request, _client: CLOSE) as daemon:
        ended = succeed(source, tmp_path, socket=str(tmp_path / "s"), log="info", **CARD)
    assert len(daemon.clients) >= 2
    assert sum(" lease: " in line for line in ended.said) == 1


def test_new_daemon_is_found_where_a_silent_one_was(tmp_path):
    """However long the silent one was to be left alone."""
    source = """
import time
init()
p = alloc(96 * MIB)
time.sleep(1.1)
synchronize()
print('avoiding', flush=True)
input()
time.sleep(1.1)
synchronize()
q = alloc(96 * MIB)
free(p); free(q)
"""
    first = StandIn(tmp_path / "s", lambda request, _client: None)

    def replace():
        first.wait(lambda: len(first.clients) == 2)
        first.close()
        (tmp_path / "s").unlink()
        return StandIn(tmp_path / "s")

    with started(source, tmp_path / "s", fallback="host") as program:
        assert program.stdout.readline() == "avoiding\n"
        with replace() as second:
            ended_well(program)
    assert second.clients and second.requests[0].held == 96 * MIB
    assert second.requests[-1].figures == (0, 0, 0)


def a_file(path):
    path.write_text("no socket")


def a_stream_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()


def a_socket_of_nobody(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize(
    "make",
    [
        lambda path: None,
        lambda path: path.mkdir(),
        lambda path: path.symlink_to(path),
        lambda path: path.symlink_to("/dev/null"),
        lambda path: os.mkfifo(path),
        a_file,
        a_stream_socket,
        a_socket_of_nobody,
    ],
    ids=["missing", "directory", "loop", "device", "fifo", "file", "stream", "nobody"],
)
def test_path_that_is_no_listening_socket_is_nobody_to_ask(tmp_path, make):
    make(tmp_path / "s")
    ended = succeed(OVERFLOWS, tmp_path, socket=str(tmp_path / "s"), log="info", **CARD)
    told = [line for line in ended.said if " lease: " in line]
    assert len(told) == 1 and told[0].endswith("/s is not there; this process decides for itself")


@pytest.mark.parametrize("length", [107, 108, 109, 4096, 100_000])
def test_path_that_does_not_fit_an_address_is_nobody_to_ask(tmp_path, length):
    ended = succeed(OVERFLOWS, tmp_path, socket="/" + "x" * (length - 1), **CARD)
    assert ended.said == []


def test_path_of_the_greatest_length_is_used(tmp_path):
    folder = tmp_path / ("x" * (107 - len(str(tmp_path)) - 3))
    folder.mkdir()
    path = folder / "s"
    if len(str(path)) != 107:
        pytest.skip("the test's own folder is too long a path")
    with StandIn(path) as daemon:
        succeed(OVERFLOWS, tmp_path, socket=str(path), **CARD)
    assert daemon.requests[-1].figures == (0, 0, 0)


def test_relative_path_counts_as_unset(tmp_path):
    ended = run_program(OVERFLOWS, tmp_path, socket="s", XDG_RUNTIME_DIR="", **CARD)
    assert ended.code == 0 and "GREENBOOST_SOCKET=s is not an absolute path" in ended.err


@pytest.mark.parametrize("directory", ["", "relative", "/" + "x" * 100, "/nonexistent"])
def test_runtime_directory_that_is_none_is_left_alone(tmp_path, directory):
    if os.path.exists("/run/greenboost/lease.sock"):
        pytest.skip("a daemon of the system's is there")
    ended = succeed(OVERFLOWS, tmp_path, socket="", XDG_RUNTIME_DIR=directory, log="info", **CARD)
    assert not [line for line in ended.said if " lease: " in line]


def test_program_without_a_free_descriptor_is_served_on_its_connection(tmp_path):
    source = """
import os, resource
init()
p = alloc(96 * MIB)
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
held = []
try:
    while True: held.append(os.dup(0))
except OSError: pass
free(alloc(96 * MIB))
free(p)
resource.setrlimit(resource.RLIMIT_NOFILE, limits)
"""
    with StandIn(tmp_path / "s") as daemon:
        succeed(source, tmp_path, socket=str(tmp_path / "s"), **CARD)
    assert len(daemon.clients) == 1
    assert daemon.requests[-1].figures == (0, 0, 0)


def test_disabled_shim_asks_nobody(tmp_path):
    with StandIn(tmp_path / "s") as daemon:
        run_program("init()\nalloc_code(96 * MIB)", tmp_path, socket=str(tmp_path / "s"), disable="1", **CARD)
    assert daemon.clients == []


def test_program_without_cuda_asks_nobody(tmp_path):
    with StandIn(tmp_path / "s") as daemon:
        assert run(["true"], tmp_path, socket=str(tmp_path / "s")).code == 0
    assert daemon.clients == []
