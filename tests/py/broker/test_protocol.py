from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.base import abi
from greenboost_py.broker.protocol import (
    BYTES_MAX,
    Kind,
    ProtocolError,
    Reply,
    Request,
    Verdict,
    parse_reply,
    parse_request,
    reply_bytes,
    reply_size,
    request_bytes,
    request_size,
)
from greenboost_py.pressure.levels import Level

COUNTS = st.integers(0, 2**64 - 1)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    held = draw(st.integers(0, BYTES_MAX))
    parts = st.integers(0, held)
    wanted = draw(st.integers(0, BYTES_MAX - held))
    return Request(draw(st.sampled_from(Kind)), draw(COUNTS), wanted, held, draw(parts), draw(parts), draw(COUNTS))


REPLIES = st.builds(Reply, st.sampled_from(Verdict), COUNTS, COUNTS, COUNTS, COUNTS, st.sampled_from(Level))


def raw(struct: str, **fields: int) -> bytes:
    """A message as the C side would write it."""
    message: Any = abi.abi().new(f"struct {struct} *")
    message.magic, message.version = abi.constant("GB_WIRE_MAGIC"), abi.constant("GB_WIRE_VERSION")
    for name, value in fields.items():
        setattr(message, name, value)
    return bytes(abi.abi().buffer(message))


@pytest.mark.parametrize(
    ("names", "enum", "prefix"),
    [
        (Kind, "enum gb_request_kind", "GB_REQUEST_"),
        (Verdict, "enum gb_verdict", "GB_VERDICT_"),
        (Level, "enum gb_level", "GB_LEVEL_"),
    ],
)
def test_the_words_of_the_wire_are_the_headers(names: Any, enum: str, prefix: str) -> None:
    elements: dict[int, str] = abi.abi().typeof(enum).elements
    assert {member.value: prefix + member.name for member in names} == elements


def test_messages_have_the_sizes_of_the_structures() -> None:
    assert (request_size(), reply_size()) == (
        abi.abi().sizeof("struct gb_request"),
        abi.abi().sizeof("struct gb_reply"),
    )


def test_request_bytes_are_those_of_the_c_structure() -> None:
    request = Request(Kind.ACQUIRE, 2, 3, 40, 5, 6, 7)
    fields = {"held_bytes": 40, "pending_bytes": 5, "uncharged_bytes": 6, "reserve_bytes": 7}
    assert request_bytes(request) == raw("gb_request", kind=2, sequence=2, bytes=3, **fields)


def test_reply_bytes_are_those_of_the_c_structure() -> None:
    reply = Reply(Verdict.CGROUP, 2, 3, 4, 5, Level.WARN)
    fields = {"granted_bytes": 3, "budget_bytes": 4, "leased_bytes": 5, "level": 2}
    assert reply_bytes(reply) == raw("gb_reply", verdict=7, sequence=2, **fields)


@given(requests())
def test_parse_request_of_what_was_written_is_the_same(request: Request) -> None:
    assert parse_request(request_bytes(request)) == request


@given(REPLIES)
def test_parse_reply_of_what_was_written_is_the_same(reply: Reply) -> None:
    assert parse_reply(reply_bytes(reply)) == reply


GOOD = {"kind": 2, "sequence": 1}


@pytest.mark.parametrize(
    ("data", "reason", "complaint"),
    [
        (b"", Verdict.MALFORMED, "0 bytes"),
        (raw("gb_request", **GOOD)[:5], Verdict.MALFORMED, "5 bytes"),
        (raw("gb_request", **GOOD)[:63], Verdict.MALFORMED, "63 bytes"),
        (raw("gb_request", **GOOD) + b"\0", Verdict.MALFORMED, "65 bytes"),
        (bytes(64), Verdict.MALFORMED, "0x00000000"),
        (raw("gb_request", **GOOD | {"magic": abi.constant("GB_ABI_MAGIC")}), Verdict.MALFORMED, "starts with"),
        (raw("gb_request", **GOOD | {"version": 0}), Verdict.VERSION, "version 0"),
        (raw("gb_request", **GOOD | {"version": 2}), Verdict.VERSION, "version 2"),
        (raw("gb_request", **GOOD | {"version": 2}) + bytes(8), Verdict.VERSION, "version 2"),
        (raw("gb_request", **GOOD | {"version": 2})[:48], Verdict.VERSION, "version 2"),
        (raw("gb_request", **GOOD | {"kind": 0}), Verdict.MALFORMED, "request 0"),
        (raw("gb_request", **GOOD | {"kind": 5}), Verdict.MALFORMED, "request 5"),
        (raw("gb_request", **GOOD | {"unused": 1}), Verdict.MALFORMED, "unused"),
        (raw("gb_request", **GOOD, held_bytes=1, pending_bytes=2), Verdict.MALFORMED, "2 of them pending"),
        (raw("gb_request", **GOOD, held_bytes=1, uncharged_bytes=2), Verdict.MALFORMED, "2 of them uncharged"),
        (raw("gb_request", **GOOD, held_bytes=2**63), Verdict.MALFORMED, "contradict"),
        (raw("gb_request", **GOOD, bytes=2**63), Verdict.MALFORMED, "contradict"),
        (raw("gb_request", **GOOD, bytes=2**62, held_bytes=2**62), Verdict.MALFORMED, "contradict"),
        (raw("gb_request", **GOOD, bytes=2**64 - 1, held_bytes=1), Verdict.MALFORMED, "contradict"),
    ],
)
def test_parse_request_of_a_malformed_one_says_why(data: bytes, reason: Verdict, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint) as caught:
        parse_request(data)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Verdict.MALFORMED),
        (raw("gb_reply")[:47], Verdict.MALFORMED),
        (raw("gb_reply") + b"\0", Verdict.MALFORMED),
        (raw("gb_request", kind=1), Verdict.MALFORMED),
        (raw("gb_reply", version=2), Verdict.VERSION),
        (raw("gb_reply", verdict=9), Verdict.MALFORMED),
        (raw("gb_reply", level=4), Verdict.MALFORMED),
        (raw("gb_reply", unused=1), Verdict.MALFORMED),
    ],
)
def test_parse_reply_of_a_malformed_one_says_why(data: bytes, reason: Verdict) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_reply(data)
    assert caught.value.reason is reason


@given(requests(), st.integers(0, 63), st.integers(0, 255))
def test_parse_request_with_a_byte_changed_is_refused_or_what_it_says(request: Request, at: int, byte: int) -> None:
    data = bytearray(request_bytes(request))
    data[at] = byte
    try:
        parsed = parse_request(bytes(data))
    except ProtocolError:
        return
    assert request_bytes(parsed) == data


@given(REPLIES, st.integers(0, 47), st.integers(0, 255))
def test_parse_reply_with_a_byte_changed_is_refused_or_what_it_says(reply: Reply, at: int, byte: int) -> None:
    data = bytearray(reply_bytes(reply))
    data[at] = byte
    try:
        parsed = parse_reply(bytes(data))
    except ProtocolError:
        return
    assert reply_bytes(parsed) == data


@given(st.binary(max_size=130))
def test_parse_of_noise_is_refused(noise: bytes) -> None:
    for parse in (parse_request, parse_reply):
        with pytest.raises(ProtocolError):
            parse(noise)
