"""What the lease is made of: the figures, the messages, and what passes for an answer."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shim_under_test import load

ffi, lib = load()
MAX = 2**64 - 1
words = st.integers(0, MAX)
REPLY_SIZE = ffi.sizeof("struct gb_reply")


@pytest.fixture(autouse=True)
def nothing_held():
    lib.gb_holding_after_fork()
    yield
    lib.gb_holding_after_fork()


def holding():
    now = lib.gb_holding_now()
    return now.held, now.pending, now.uncharged


def test_holding_goes_up_and_down_by_what_happens():
    lib.gb_holding_grant(100)
    assert holding() == (100, 100, 0)
    lib.gb_holding_settle(70, 50)
    assert holding() == (100, 30, 50)
    lib.gb_holding_return(30)
    assert holding() == (70, 0, 50)
    lib.gb_holding_release(70, 50)
    assert holding() == (0, 0, 0)


def test_holding_pend_answers_what_others_had():
    assert lib.gb_holding_pend(5) == 0
    assert lib.gb_holding_pend(7) == 5
    assert holding() == (0, 0, 0), "pending, but nothing is held"
    lib.gb_holding_hold(7)
    lib.gb_holding_unpend(5)
    assert holding() == (7, 7, 0)


@pytest.mark.parametrize(
    ("held", "pending", "uncharged"), [(0, 5, 5), (5, 6, 0), (5, 0, 6), (-1, 3, 3), (-1, -1, -1), (5, -1, -2)]
)
def test_holding_in_the_middle_of_things_is_never_more_than_the_whole(held, pending, uncharged):
    lib.gb_holding_hold(held % 2**64)
    lib.gb_holding_pend(pending % 2**64)
    lib.gb_holding_settle(0, uncharged % 2**64)
    whole = max(held, 0)
    assert holding() == (whole, min(max(pending, 0), whole), min(max(uncharged, 0), whole))


@given(st.sampled_from([1, 2, 3]), words, words, words, words)
def test_request_says_what_is_held_and_no_part_above_the_whole(kind, sequence, held, pending, uncharged):
    figures = ffi.new("struct gb_holding *", {"held": held, "pending": pending, "uncharged": uncharged})
    request = lib.gb_wire_request(kind, sequence, figures)
    assert (request.magic, request.version, request.kind) == (lib.GB_WIRE_MAGIC, lib.GB_WIRE_VERSION, kind)
    assert (request.sequence, request.held_bytes) == (sequence, held)
    assert (request.pending_bytes, request.uncharged_bytes) == (min(pending, held), min(uncharged, held))
    assert (request.bytes, request.reserve_bytes, request.unused) == (0, 0, 0)


def check(packet, wanted=0, sequence=1):
    """gb_wire_check's answer, and the reply's bytes; untouched where it is refused."""
    request = ffi.new("struct gb_request *", {"bytes": wanted, "sequence": sequence})
    reply = ffi.new("struct gb_reply *")
    ffi.memmove(reply, b"\xa5" * REPLY_SIZE, REPLY_SIZE)
    # Of exactly its own size, so that a sanitizer sees what is read beyond it.
    result = lib.gb_wire_check(ffi.new("char[]", packet) if packet else ffi.NULL, len(packet), request, reply)
    left = bytes(ffi.buffer(reply))
    assert left == (packet if result == 0 else b"\xa5" * REPLY_SIZE)
    return result


def packet(**fields):
    right = {"magic": lib.GB_WIRE_MAGIC, "version": lib.GB_WIRE_VERSION, "sequence": 1}
    return bytes(ffi.buffer(ffi.new("struct gb_reply *", right | fields)))


@pytest.mark.parametrize("size", [0, 1, 47, 49, 64, 200, 65536])
def test_check_of_another_size_is_no_message(size):
    assert check((packet() * 1400)[:size]) == -errno.EBADMSG


@pytest.mark.parametrize(
    ("fields", "result"),
    [
        ({}, 0),
        ({"magic": 0}, -errno.EBADMSG),
        ({"version": 0}, -errno.EPROTONOSUPPORT),
        ({"version": 2}, -errno.EPROTONOSUPPORT),
        ({"sequence": 2}, -errno.EPROTO),
        ({"sequence": 0}, -errno.EPROTO),
        ({"verdict": 9}, -errno.EPROTO),
        ({"level": 3}, 0),
        ({"level": 4}, -errno.EPROTO),
        ({"granted_bytes": 1}, -errno.EPROTO),
    ],
)
def test_check_by_table(fields, result):
    assert check(packet(**fields)) == result


@given(st.integers(0, 10), words, words)
def test_check_takes_all_or_nothing_as_the_verdict_says(verdict, wanted, granted):
    right = verdict <= lib.GB_VERDICT_MACHINE and granted == (wanted if verdict == lib.GB_VERDICT_GRANTED else 0)
    assert (check(packet(verdict=verdict, granted_bytes=granted), wanted) == 0) == right


@given(st.binary(max_size=200), words)
def test_check_of_any_bytes_is_no_answer(data, wanted):
    assert check(data, wanted) in (-errno.EBADMSG, -errno.EPROTONOSUPPORT, -errno.EPROTO)


@given(st.binary(min_size=40, max_size=40), words, st.integers(0, 2))
def test_check_of_any_bytes_behind_a_right_head_answers_the_question_or_is_refused(data, wanted, sequence):
    answer = packet(sequence=sequence)[:8] + data
    if check(answer, wanted, sequence) == 0:
        reply = ffi.from_buffer("struct gb_reply *", answer)
        assert reply.granted_bytes in (0, wanted) and reply.sequence == sequence
        assert reply.verdict <= lib.GB_VERDICT_MACHINE and reply.level <= lib.GB_LEVEL_CRITICAL


@pytest.mark.parametrize("verdict", range(10))
def test_farewells_are_what_decides_nothing(verdict):
    farewells = {lib.GB_VERDICT_MALFORMED, lib.GB_VERDICT_VERSION, lib.GB_VERDICT_CLIENTS}
    assert lib.gb_wire_is_farewell(verdict) == (verdict in farewells)


def test_descriptor_that_was_replaced_is_not_ours(tmp_path):
    first, second = os.open("/dev/null", os.O_RDONLY), os.open(tmp_path, os.O_RDONLY)
    ours = ffi.new("struct gb_descriptor *", lib.gb_descriptor_of(first))
    assert lib.gb_descriptor_is_ours(ours)
    os.dup2(second, first)
    assert not lib.gb_descriptor_is_ours(ours)
    lib.gb_descriptor_close(ours)
    assert ours.fd == -1
    os.fstat(first)  # still open: it was not ours to close
    os.close(first)
    os.close(second)


def test_descriptor_that_is_ours_is_closed_once(tmp_path):
    fd = lib.gb_descriptor_move_up(os.open(tmp_path, os.O_RDONLY))
    assert fd >= 512 and not os.get_inheritable(fd)
    ours = ffi.new("struct gb_descriptor *", lib.gb_descriptor_of(fd))
    lib.gb_descriptor_close(ours)
    with pytest.raises(OSError):
        os.fstat(fd)
    lib.gb_descriptor_close(ours)


@pytest.mark.parametrize("fd", [-1, 99999])
def test_descriptor_that_is_none_is_not_ours(fd):
    ours = ffi.new("struct gb_descriptor *", lib.gb_descriptor_of(fd))
    assert ours.fd == -1 and not lib.gb_descriptor_is_ours(ours)


def test_turn_is_ones_at_a_time_and_waited_for_until_the_deadline():
    lib.gb_turn_after_fork()
    assert lib.gb_turn_try()
    assert not lib.gb_turn_try()
    assert not lib.gb_turn_take(0)
    lib.gb_turn_give_back()
    assert lib.gb_turn_take(0)
    lib.gb_turn_give_back()


def test_daemon_that_failed_is_avoided_and_one_that_went_is_not(tmp_path, monkeypatch):
    """At the user's place: the system's may not be there."""
    user = 1
    path = tmp_path / "greenboost" / "lease.sock"
    path.parent.mkdir()
    path.write_text("")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    lib.gb_daemon_find()
    lib.gb_daemon_after_fork()
    try:
        assert ffi.string(lib.gb_daemon_path(user)) == os.fsencode(path)
        assert lib.gb_daemon_path(user + 1) == ffi.NULL
        for _ in range(6):
            lib.gb_daemon_failed(user, -errno.EPIPE, lib.GB_VERDICT_GRANTED)
        assert not lib.gb_daemon_is_avoided(user)
        for _ in range(6):
            lib.gb_daemon_failed(user, -errno.ETIMEDOUT, lib.GB_VERDICT_GRANTED)
        assert lib.gb_daemon_is_avoided(user)
        path.unlink()
        assert not lib.gb_daemon_is_avoided(user), "there is nothing to avoid"
    finally:
        lib.gb_daemon_after_fork()


def test_daemon_is_due_until_it_was_tried():
    lib.gb_daemon_after_fork()
    assert lib.gb_daemon_is_due()
    lib.gb_daemon_tried()
    lib.gb_daemon_after_fork()
    assert lib.gb_daemon_is_due()
