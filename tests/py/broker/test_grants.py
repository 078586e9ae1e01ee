from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cffi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.base.config import LeaseConfig
from greenboost_py.base.units import parse_size
from greenboost_py.broker.grants import Decision, Limits, Sums, decide, default_reserve_bytes, limits_of
from greenboost_py.broker.protocol import BYTES_MAX, Verdict
from greenboost_py.pressure.levels import Level
from greenboost_py.sensors.cgroup import CgroupLevel

MIB, GIB = 1 << 20, 1 << 30


@dataclass(frozen=True)
class Room:
    total_bytes: int
    effective_available_bytes: int


def group(headroom_bytes: int, path: str = "/a") -> CgroupLevel:
    return CgroupLevel(path, headroom_bytes, 0, 0)


def answer(wanted: int, **changes: Any) -> Decision:
    """A decision for a client that holds 10 on a machine with 100 available, 20 of them reserved and 30 pending."""
    arguments: dict[str, Any] = {
        "held_bytes": 10,
        "sums": Sums(10, 30),
        "limits": Limits(20),
        "machine": Room(1000, 100),
        "levels": (),
        "ram_level": Level.OK,
    }
    return decide(wanted, **arguments | changes)


@pytest.mark.parametrize(
    ("total_bytes", "reserve_bytes"),
    [
        (0, 256 * MIB),
        (4 * GIB - 16, 256 * MIB),
        (4 * GIB + 16, 256 * MIB + 1),
        (16 * GIB, GIB),
        (64 * GIB, 4 * GIB),
        (2**50, 4 * GIB),
    ],
)
def test_default_reserve_is_a_sixteenth_within_bounds(total_bytes: int, reserve_bytes: int, build_dir: Path) -> None:
    assert default_reserve_bytes(total_bytes) == reserve_bytes
    library = build_dir / "libgreenboost_unit.so"
    if library.is_file():
        ffi = cffi.FFI()
        ffi.cdef("uint64_t gb_host_reserve_default(uint64_t total);")
        shim: Any = ffi.dlopen(str(library))
        assert shim.gb_host_reserve_default(total_bytes) == reserve_bytes


def test_limits_of_an_empty_configuration_are_the_default_reserve_and_no_caps() -> None:
    assert limits_of(LeaseConfig(), 16 * GIB) == Limits(GIB, None, None)


def test_limits_of_shares_are_of_all_ram() -> None:
    config = LeaseConfig(reserve=parse_size("0"), per_process=parse_size("25%"), per_user=parse_size("3GiB"))
    assert limits_of(config, 16 * GIB) == Limits(0, 4 * GIB, 3 * GIB)


@pytest.mark.parametrize(
    ("wanted", "changes", "expected"),
    [
        (0, {}, Decision(Verdict.GRANTED, 50)),
        (50, {}, Decision(Verdict.GRANTED, 50)),
        (51, {}, Decision(Verdict.MACHINE, 50)),
        # what a program asks to keep counts only where it is more
        (50, {"asked_reserve_bytes": 20}, Decision(Verdict.GRANTED, 50)),
        (50, {"asked_reserve_bytes": 1}, Decision(Verdict.GRANTED, 50)),
        (50, {"asked_reserve_bytes": 21}, Decision(Verdict.MACHINE, 49)),
        (1, {"asked_reserve_bytes": 2**64 - 1}, Decision(Verdict.MACHINE, 0)),
        # an unknown machine grants nothing
        (0, {"machine": None}, Decision(Verdict.GRANTED, 0)),
        (1, {"machine": None}, Decision(Verdict.MACHINE, 0)),
        (1, {"machine": Room(1000, 0)}, Decision(Verdict.MACHINE, 0)),
        # nothing is granted, be it nothing, while memory is critical
        (0, {"ram_level": Level.CRITICAL}, Decision(Verdict.PRESSURE, 0)),
        (1, {"ram_level": Level.CRITICAL, "machine": None}, Decision(Verdict.PRESSURE, 0)),
        (50, {"ram_level": Level.WARN}, Decision(Verdict.GRANTED, 50)),
        (31, {"limits": Limits(20, 40)}, Decision(Verdict.PROCESS_CAP, 30)),
        (30, {"limits": Limits(20, 40)}, Decision(Verdict.GRANTED, 30)),
        (1, {"limits": Limits(20, 9)}, Decision(Verdict.PROCESS_CAP, 0)),
        (0, {"limits": Limits(20, 9)}, Decision(Verdict.GRANTED, 0)),
        (6, {"limits": Limits(20, None, 40), "sums": Sums(35, 30)}, Decision(Verdict.USER_CAP, 5)),
        (5, {"limits": Limits(20, None, 40), "sums": Sums(35, 30)}, Decision(Verdict.GRANTED, 5)),
        # of a group's limit a sixteenth is kept, or the reserve where that is less, or what the client wants
        (8, {"levels": (group(21),), "sums": Sums(10, 30, (13,))}, Decision(Verdict.CGROUP, 7)),
        (7, {"levels": (group(21), group(53)), "sums": Sums(10, 30, (13, 40))}, Decision(Verdict.GRANTED, 7)),
        (8, {"levels": (group(90), group(21)), "sums": Sums(10, 30, (13, 13))}, Decision(Verdict.CGROUP, 7)),
        (44, {"levels": (group(320),), "sums": Sums(10, 0, (260,))}, Decision(Verdict.CGROUP, 40)),
        (41, {"levels": (group(640),), "sums": Sums(10, 0, (580,))}, Decision(Verdict.CGROUP, 40)),
        (
            41,
            {"levels": (group(90),), "sums": Sums(10, 0, (25,)), "asked_reserve_bytes": 25},
            Decision(Verdict.CGROUP, 40),
        ),
        (1, {"levels": (group(20),), "sums": Sums(10, 30, (21,))}, Decision(Verdict.CGROUP, 0)),
        # the first of several reasons is given, the least of several rooms
        (60, {"limits": Limits(20, 11, 12), "sums": Sums(10, 30)}, Decision(Verdict.PROCESS_CAP, 1)),
        (60, {"limits": Limits(20, 50, 12), "sums": Sums(10, 30)}, Decision(Verdict.PROCESS_CAP, 2)),
        (
            60,
            {"limits": Limits(20, None, 12), "levels": (group(1),), "sums": Sums(10, 0, (0,))},
            Decision(Verdict.USER_CAP, 1),
        ),
        (60, {"levels": (group(58),), "sums": Sums(10, 30, (0,))}, Decision(Verdict.CGROUP, 50)),
        # what is held and granted can be said in a message
        (0, {"machine": Room(2**64, 2**64), "held_bytes": 7}, Decision(Verdict.GRANTED, BYTES_MAX - 7)),
    ],
)
def test_decide_gives_the_first_reason_and_the_least_room(
    wanted: int, changes: dict[str, Any], expected: Decision
) -> None:
    assert answer(wanted, **changes) == expected


SIZES = st.integers(0, 2**40)
MAYBE = st.none() | SIZES


@given(SIZES, SIZES, SIZES, SIZES, st.lists(SIZES, max_size=3), MAYBE, MAYBE, MAYBE, SIZES)
def test_decide_grants_what_is_within_the_budget_and_nothing_more(
    wanted: int,
    held: int,
    user_held: int,
    pending: int,
    rooms: list[int],
    available: int | None,
    process_cap: int | None,
    user_cap: int | None,
    reserve: int,
) -> None:
    changes = {
        "held_bytes": held,
        "sums": Sums(user_held, pending, tuple(0 for _ in rooms)),
        "limits": Limits(reserve, process_cap, user_cap),
        "machine": None if available is None else Room(2**40, available),
        "levels": tuple(group(room) for room in rooms),
    }
    decision = answer(wanted, **changes)
    assert decision.budget_bytes >= 0
    assert (decision.verdict is Verdict.GRANTED) == (wanted <= decision.budget_bytes)
    assert answer(decision.budget_bytes, **changes) == Decision(Verdict.GRANTED, decision.budget_bytes)
    assert answer(decision.budget_bytes + 1, **changes).verdict is not Verdict.GRANTED
