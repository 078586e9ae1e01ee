"""Placement and reporting: tables of what they must decide, and properties that hold for every input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shim_under_test import load

ffi, lib = load()
DEVICE, HOST, MANAGED = lib.GB_TIER_DEVICE, lib.GB_TIER_HOST_MAPPED, lib.GB_TIER_MANAGED
AUTO, ONLY_HOST, ONLY_MANAGED, OFF = range(4)
MAX = 2**64 - 1
MIB, GIB = 1 << 20, 1 << 30


def place(
    size, *, retry=False, limit=MAX, held=0, free=MAX, reserve=0, fallback=AUTO, min_spill=MIB, retry_first=False
):
    demand = ffi.new("struct gb_demand *", {"bytes": size, "is_retry": retry})
    budget = ffi.new("struct gb_budget *", {"limit": limit, "held": held, "free": free, "reserve": reserve})
    rules = ffi.new("struct gb_rules *", {"fallback": fallback, "min_spill": min_spill, "retry_first": retry_first})
    placement = lib.gb_place(demand, budget, rules)
    return [placement.order[i] for i in range(placement.count)], placement.refuses_once


@pytest.mark.parametrize(
    ("terms", "order"),
    [
        ({"size": GIB}, [DEVICE, HOST, MANAGED]),
        ({"size": GIB, "limit": GIB}, [DEVICE, HOST, MANAGED]),
        ({"size": GIB + 1, "limit": GIB}, [HOST, MANAGED]),
        ({"size": GIB, "limit": 2 * GIB, "held": GIB + 1}, [HOST, MANAGED]),
        ({"size": MAX, "limit": GIB}, [HOST, MANAGED]),
        ({"size": GIB, "limit": GIB, "held": 2 * GIB}, [HOST, MANAGED]),
        ({"size": GIB, "limit": 0, "fallback": ONLY_HOST}, [HOST]),
        ({"size": GIB, "limit": 0, "fallback": ONLY_MANAGED}, [MANAGED]),
        ({"size": GIB, "limit": 0, "fallback": OFF}, []),
        ({"size": GIB, "fallback": OFF}, [DEVICE]),
        # The reserve: a large demand goes around it, and takes it rather than fail; a small one may use it.
        ({"size": GIB, "free": GIB, "reserve": MIB}, [HOST, MANAGED, DEVICE]),
        ({"size": GIB, "free": GIB + MIB, "reserve": MIB}, [DEVICE, HOST, MANAGED]),
        ({"size": GIB, "limit": GIB, "reserve": 1}, [HOST, MANAGED, DEVICE]),
        ({"size": MIB - 1, "free": MIB, "reserve": GIB}, [DEVICE, HOST, MANAGED]),
        ({"size": GIB, "free": 0, "reserve": MIB, "fallback": OFF}, [DEVICE]),
    ],
)
def test_place_by_table_orders_the_tiers(terms, order):
    assert place(**terms) == (order, False)


def test_place_with_retry_first_refuses_once_and_serves_the_retry():
    assert place(2 * GIB, limit=GIB, retry_first=True) == ([], True)
    assert place(2 * GIB, limit=GIB, retry_first=True, retry=True) == ([HOST, MANAGED], False)
    assert place(GIB, limit=GIB, retry_first=True) == ([DEVICE], True)


BYTES = st.one_of(st.integers(0, 8), st.integers(0, MAX), st.sampled_from([MIB, GIB, MAX]))


def model(size, retry, limit, held, free, reserve, fallback, min_spill, retry_first):
    fits = held + size <= limit
    room = min(free, limit - held)
    first = fits and (reserve == 0 or size < min_spill or size + reserve <= room)
    fallbacks = {AUTO: [HOST, MANAGED], ONLY_HOST: [HOST], ONLY_MANAGED: [MANAGED], OFF: []}[fallback]
    once = retry_first and not retry and fallback != OFF
    return [DEVICE] * first + fallbacks * (not once) + [DEVICE] * (fits and not first and not once), once


@given(BYTES.filter(bool), st.booleans(), BYTES, BYTES, BYTES, BYTES, st.integers(0, 3), BYTES, st.booleans())
def test_place_agrees_with_the_model(size, retry, limit, held, free, reserve, fallback, min_spill, retry_first):
    terms = {
        "limit": limit,
        "held": held,
        "free": free,
        "reserve": reserve,
        "fallback": fallback,
        "min_spill": min_spill,
    }
    expected = model(size, retry, **terms, retry_first=retry_first)
    order, once = place(size, retry=retry, **terms, retry_first=retry_first)
    assert (order, once) == expected
    assert len(set(order)) == len(order)


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
