"""Placement and reporting: tables of what they must decide, and properties that hold for every input."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shim_under_test import load

ffi, lib = load()
DEVICE, SPLIT, HOST, MANAGED = (
    lib.GB_TIER_DEVICE,
    lib.GB_TIER_SPLIT,
    lib.GB_TIER_HOST_MAPPED,
    lib.GB_TIER_MANAGED,
)
AUTO, ONLY_SPLIT, ONLY_HOST, ONLY_MANAGED, OFF = range(5)
INTERLEAVE, FRONT = range(2)
MAX = 2**64 - 1
MIB, GIB = 1 << 20, 1 << 30
BUDGET = {"limit": MAX, "held": 0, "free": MAX, "reserve": 0, "split_reserve": 0, "movable": 0, "expected_left": 0}
RULES = {
    "fallback": AUTO,
    "pattern": INTERLEAVE,
    "min_spill": MIB,
    "chunk": 2 * MIB,
    "small": 64 * MIB,
    "retry_first": False,
    "movable": False,
}


def place(size, *, retry=False, passing=False, movable_chunks=False, **terms):
    demand = ffi.new("struct gb_demand *", {"bytes": size, "is_retry": retry, "is_passing": passing})
    budget = ffi.new("struct gb_budget *", {**BUDGET, **{k: v for k, v in terms.items() if k in BUDGET}})
    rules = {**RULES, **{k: v for k, v in terms.items() if k in RULES and k not in BUDGET}}
    rules["movable"] = movable_chunks
    assert set(terms) <= set(BUDGET) | set(RULES)
    placement = ffi.new("struct gb_placement *")
    lib.gb_place(demand, budget, ffi.new("struct gb_rules *", rules), placement)
    return placement


def order(placement):
    return [placement.order[i] for i in range(placement.count)]


@pytest.mark.parametrize(
    ("terms", "tiers"),
    [
        ({"size": GIB}, [DEVICE, SPLIT, HOST, MANAGED]),
        ({"size": GIB, "limit": GIB}, [DEVICE, SPLIT, HOST, MANAGED]),
        ({"size": GIB + 1, "limit": GIB}, [SPLIT, HOST, MANAGED]),
        ({"size": GIB, "limit": 2 * GIB, "held": GIB + 1}, [SPLIT, HOST, MANAGED]),
        ({"size": MAX, "limit": GIB}, [SPLIT, HOST, MANAGED]),
        ({"size": GIB, "limit": GIB, "held": 2 * GIB}, [SPLIT, HOST, MANAGED]),
        ({"size": GIB, "limit": 0, "fallback": ONLY_SPLIT}, [SPLIT]),
        ({"size": GIB, "limit": 0, "fallback": ONLY_HOST}, [HOST]),
        ({"size": GIB, "limit": 0, "fallback": ONLY_MANAGED}, [MANAGED]),
        ({"size": GIB, "limit": 0, "fallback": OFF}, []),
        ({"size": GIB, "fallback": OFF}, [DEVICE]),
        # Below a chunk, or where there are none, no split; unless nothing else is allowed.
        ({"size": MIB, "limit": 0}, [HOST, MANAGED]),
        ({"size": MIB, "limit": 0, "fallback": ONLY_SPLIT}, [SPLIT]),
        ({"size": GIB, "limit": 0, "chunk": 0}, [HOST, MANAGED]),
        # The reserve: a large demand goes around it, and takes it rather than fail; a small one may use it.
        ({"size": GIB, "free": GIB, "reserve": MIB}, [SPLIT, HOST, MANAGED, DEVICE]),
        ({"size": GIB, "free": GIB + MIB, "reserve": MIB}, [DEVICE, SPLIT, HOST, MANAGED]),
        ({"size": GIB, "limit": GIB, "reserve": 1}, [SPLIT, HOST, MANAGED, DEVICE]),
        ({"size": MIB - 1, "free": MIB, "reserve": GIB}, [DEVICE, HOST, MANAGED]),
        ({"size": GIB, "free": 0, "reserve": MIB, "fallback": OFF}, [DEVICE]),
        # Chunked from the start, if the user says so and it is large.
        ({"size": GIB, "movable_chunks": True}, [SPLIT, DEVICE, HOST, MANAGED]),
        ({"size": 64 * MIB - 1, "movable_chunks": True}, [DEVICE, SPLIT, HOST, MANAGED]),
        ({"size": GIB, "movable_chunks": True, "fallback": ONLY_HOST}, [DEVICE, HOST]),
        ({"size": GIB, "movable_chunks": True, "passing": True}, [DEVICE, SPLIT, HOST, MANAGED]),
    ],
)
def test_place_by_table_orders_the_tiers(terms, tiers):
    placement = place(**terms)
    assert (order(placement), placement.refuses_once) == (tiers, False)


def test_place_with_retry_first_refuses_once_and_serves_the_retry():
    first = place(2 * GIB, limit=GIB, retry_first=True)
    assert (order(first), first.refuses_once) == ([], True)
    again = place(2 * GIB, limit=GIB, retry_first=True, retry=True)
    assert (order(again), again.refuses_once) == ([SPLIT, HOST, MANAGED], False)
    assert order(place(GIB, limit=GIB, retry_first=True)) == [DEVICE]


@pytest.mark.parametrize(
    ("terms", "tiers", "makes_room"),
    [
        # A small demand has chunks moved out for it, if that is enough; a large one has not.
        ({"size": 8 * MIB, "limit": GIB, "held": GIB, "movable": 8 * MIB}, [DEVICE, SPLIT, HOST, MANAGED], True),
        ({"size": 8 * MIB, "limit": GIB, "held": GIB, "movable": 8 * MIB - 1}, [SPLIT, HOST, MANAGED], True),
        (
            {"size": 8 * MIB, "limit": GIB, "held": GIB - 6 * MIB, "movable": 2 * MIB},
            [DEVICE, SPLIT, HOST, MANAGED],
            True,
        ),
        ({"size": 8 * MIB, "limit": GIB, "held": GIB}, [SPLIT, HOST, MANAGED], False),
        ({"size": 64 * MIB, "limit": GIB, "held": GIB, "movable": GIB}, [SPLIT, HOST, MANAGED], False),
        # The driver may be full where the limit is not.
        ({"size": 8 * MIB, "movable": 2 * MIB}, [DEVICE, SPLIT, HOST, MANAGED], True),
        ({"size": 8 * MIB, "movable": 2 * MIB, "fallback": ONLY_HOST}, [DEVICE, HOST], False),
    ],
)
def test_place_of_a_small_demand_makes_room(terms, tiers, makes_room):
    placement = place(**terms)
    assert (order(placement), placement.makes_room) == (tiers, makes_room)


@pytest.mark.parametrize(
    ("terms", "vram"),
    [
        ({"size": GIB, "free": 3 * GIB, "expected_left": 4 * GIB}, GIB * 3 // 4),
        ({"size": GIB, "free": 3 * GIB, "split_reserve": GIB, "expected_left": 4 * GIB}, GIB // 2),
        ({"size": 4 * GIB, "free": 3 * GIB, "expected_left": 4 * GIB}, 3 * GIB),
        ({"size": GIB, "free": 0, "expected_left": 4 * GIB}, 0),
        # What is expected fits, or nothing is, or the block is too small for a proportion, or it would hardly show.
        ({"size": GIB, "free": 4 * GIB, "expected_left": 4 * GIB}, MAX),
        ({"size": GIB, "free": 3 * GIB}, MAX),
        ({"size": 16 * MIB - 1, "free": 3 * GIB, "expected_left": 4 * GIB}, MAX),
        ({"size": 64 * MIB, "free": 199 * GIB, "expected_left": 200 * GIB}, MAX),
        ({"size": GIB, "free": 3 * GIB, "expected_left": 4 * GIB, "pattern": FRONT}, MAX),
        ({"size": GIB, "free": 3 * GIB, "expected_left": 4 * GIB, "fallback": ONLY_HOST}, MAX),
        ({"size": GIB, "free": 3 * GIB, "expected_left": 4 * GIB, "passing": True}, MAX),
    ],
)
def test_place_of_what_is_expected_not_to_fit_keeps_the_proportion(terms, vram):
    placement = place(**terms)
    assert placement.split_vram == vram
    assert (order(placement)[0] == SPLIT) == (vram != MAX)


BYTES = st.one_of(st.integers(0, 8), st.integers(0, MAX), st.sampled_from([MIB, 64 * MIB, GIB, MAX]))


@given(
    BYTES.filter(bool),
    st.booleans(),
    st.fixed_dictionaries(dict.fromkeys(BUDGET, BYTES)),
    st.integers(0, 4),
    st.sampled_from([0, 2 * MIB, 64 * MIB]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_place_holds_for_every_input(size, retry, budget, fallback, chunk, front, retry_first, chunked):
    rules = {"fallback": fallback, "chunk": chunk, "pattern": int(front), "retry_first": retry_first}
    placement = place(size, retry=retry, movable_chunks=chunked, **budget, **rules)
    tiers = order(placement)
    allowed = {
        AUTO: {SPLIT, HOST, MANAGED},
        ONLY_SPLIT: {SPLIT},
        ONLY_HOST: {HOST},
        ONLY_MANAGED: {MANAGED},
        OFF: set(),
    }
    fits = budget["held"] + size <= budget["limit"]
    assert len(set(tiers)) == len(tiers)
    assert set(tiers) - {DEVICE} <= allowed[fallback] - ({SPLIT} if not chunk else set())
    # VRAM is tried whenever the limit allows it, and beyond only if chunks can make the room.
    if fits and not placement.refuses_once:
        assert DEVICE in tiers
    if DEVICE in tiers and not fits:
        assert placement.makes_room and size <= max(0, budget["limit"] - budget["held"]) + budget["movable"]
    # Refused once is refused once, and never with the fallback off.
    assert placement.refuses_once == (retry_first and not retry and fallback != OFF)
    if placement.refuses_once:
        assert HOST not in tiers and MANAGED not in tiers
    # What fits, with nothing asked for, is VRAM's first.
    if fits and not budget["reserve"] and not chunked and not budget["expected_left"]:
        assert tiers[0] == DEVICE
    if placement.split_vram != MAX:
        assert placement.split_vram <= min(size, budget["free"])


def plan(size, *, vram, chunk=0, pattern=INTERLEAVE, granularity=2 * MIB):
    terms = {"size": size, "granularity": granularity, "chunk": chunk, "vram": vram, "pattern": pattern}
    return lib.gb_split_plan(ffi.new("struct gb_split_terms *", terms))


def layout(made):
    at = ffi.addressof(made)
    return "".join("hV"[lib.gb_split_plan_in_vram(at, i)] for i in range(made.chunks))


@pytest.mark.parametrize(
    ("terms", "chunk", "places"),
    [
        ({"size": 16 * MIB, "vram": 8 * MIB}, 2 * MIB, "hVhVhVhV"),
        ({"size": 16 * MIB, "vram": 8 * MIB, "pattern": FRONT, "chunk": 2 * MIB}, 2 * MIB, "VVVVhhhh"),
        ({"size": 16 * MIB, "vram": 12 * MIB}, 2 * MIB, "hVVVhVVV"),
        ({"size": 16 * MIB, "vram": 0}, 2 * MIB, "hhhhhhhh"),
        ({"size": 16 * MIB, "vram": MAX}, 2 * MIB, "VVVVVVVV"),
        ({"size": 16 * MIB, "vram": 16 * MIB - 1}, 2 * MIB, "hVVVVVVV"),
        ({"size": 200 * MIB, "vram": 130 * MIB, "pattern": FRONT}, 64 * MIB, "VVhh"),
        ({"size": 5, "vram": 0, "pattern": FRONT}, 2 * MIB, "h"),
        ({"size": 12 * MIB, "vram": 6 * MIB, "chunk": 5 * MIB}, 4 * MIB, "hhV"),
        ({"size": 4 * GIB, "vram": 0, "chunk": 2 * GIB}, GIB, "hhhh"),
    ],
)
def test_split_plan_by_table(terms, chunk, places):
    made = plan(**terms)
    assert (made.chunk_bytes, layout(made)) == (chunk, places)


@given(
    st.one_of(st.integers(1, 64 * MIB), st.integers(1, 64 * GIB)),
    st.one_of(st.integers(0, 64 * GIB), st.just(MAX)),
    st.sampled_from([0, 1, 2 * MIB, 3 * MIB, 64 * MIB, MAX]),
    st.sampled_from([INTERLEAVE, FRONT]),
    st.sampled_from([2 * MIB, 64 << 10]),
)
def test_split_plan_adds_up_and_stays_within_vram(size, vram, chunk, pattern, granularity):
    made = plan(size, vram=vram, chunk=chunk, pattern=pattern, granularity=granularity)
    at = ffi.addressof(made)
    sizes = [lib.gb_split_plan_chunk(at, i) for i in range(made.chunks)]
    places = [lib.gb_split_plan_in_vram(at, i) for i in range(made.chunks)]
    assert made.mapped_bytes - granularity < size <= made.mapped_bytes == sum(sizes)
    assert made.chunks <= 16384 + 1
    assert all(piece % granularity == 0 and 0 < piece <= 1 << 30 for piece in sizes)
    in_vram = sum(piece for piece, here in zip(sizes, places, strict=True) if here)
    assert in_vram == lib.gb_split_plan_vram(at) <= vram
    assert lib.gb_split_plan_host(at) == made.mapped_bytes - in_vram
    # As much as fits: less than a chunk of VRAM is left unused.
    assert in_vram == made.mapped_bytes or vram - in_vram < 2 * made.chunk_bytes
    # Anywhere in it, the share of VRAM is that of the whole, to one chunk.
    if pattern == INTERLEAVE:
        count = 0
        for i, here in enumerate(places, 1):
            count += here
            assert abs(count - i * made.device_chunks / made.chunks) <= 1
    else:
        assert places == sorted(places, reverse=True)


@given(st.lists(st.booleans(), min_size=1, max_size=200), st.booleans(), st.integers(0, 250), st.sampled_from([0, 1]))
def test_split_pick_takes_what_was_asked_for(places, of_vram, count, pattern):
    bits = ffi.new("uint64_t[]", (len(places) + 63) // 64)
    for i, here in enumerate(places):
        bits[i // 64] |= here << (i % 64)
    picked = ffi.new("uint32_t[]", max(count, 1))
    taken = lib.gb_split_pick(bits, len(places), pattern, of_vram, count, picked)
    chosen = [picked[i] for i in range(taken)]
    there = [i for i, here in enumerate(places) if here == of_vram]
    assert taken == min(count, len(there))
    assert chosen == sorted(set(chosen)) and set(chosen) <= set(there)
    if pattern == FRONT:
        assert chosen == (there[len(there) - taken :] if of_vram else there[:taken])
    else:
        ranks = [there.index(i) for i in chosen]
        gaps = [b - a for a, b in itertools.pairwise(ranks)]
        assert not gaps or max(gaps) - min(gaps) <= 1


def test_returning_waits_longer_each_time_it_was_in_vain():
    state = ffi.new("struct gb_returning *")
    assert lib.gb_returning_is_due(state), "nothing ever had to move out"
    waits = []
    for _ in range(12):
        lib.gb_returning_moved_out(state)
        wait = 1
        while not lib.gb_returning_is_due(state):
            wait += 1
        waits.append(wait)
        lib.gb_returning_came_back(state)
    assert waits == [(8 << min(strikes, 8)) + 1 for strikes in range(12)]


@given(BYTES, BYTES, BYTES, st.sampled_from([0, 2 * MIB, 64 * MIB]), st.sampled_from([MIB, 128 * MIB]))
def test_returning_bytes_leave_the_reserve(room, reserve, in_host, chunk, step):
    back = lib.gb_returning_bytes(room, reserve, in_host, chunk, step)
    assert back <= max(0, room - reserve)
    assert back <= max(step, chunk)
    assert back <= in_host
    assert not back or back == in_host or back % chunk == 0


def report(free, total, **terms):
    hardware = ffi.new("struct gb_memory_info *", {"free": free, "total": total})
    told = lib.gb_report(hardware, ffi.new("struct gb_report_terms *", {"limit": MAX, **terms}))
    return told.free, told.total


@pytest.mark.parametrize(
    ("hardware", "terms", "told"),
    [
        ((5, 10), {}, (5, 10)),
        ((5, 10), {"limit": 4}, (4, 4)),
        ((5, 10), {"limit": 4, "held": 3}, (1, 4)),
        ((5, 10), {"limit": 4, "held": 9}, (0, 4)),
        ((2, 10), {"limit": 8, "held": 1}, (2, 8)),
        ((5, 10), {"extra_total": 7, "extra_free": 6}, (11, 17)),
        ((5, 10), {"limit": 4, "held": 4, "extra_total": 7, "extra_free": 7}, (7, 11)),
        ((MAX, MAX), {"extra_total": 7, "extra_free": 9}, (MAX, MAX)),
        ((9, 4), {}, (4, 4)),
    ],
)
def test_report_by_table_tells(hardware, terms, told):
    assert report(*hardware, **terms) == told


@given(BYTES, BYTES, BYTES, BYTES, BYTES, BYTES)
def test_report_never_tells_more_free_than_total(free, total, limit, held, extra_total, extra_free):
    told_free, told_total = report(
        free, total, limit=limit, held=held, extra_total=extra_total, extra_free=min(extra_free, extra_total)
    )
    assert told_free <= told_total
