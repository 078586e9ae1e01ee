"""The schedule is a function of the seed, and has everything in it."""

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kinds import CONFIGURATIONS, INTRUDERS, KINDS, SETTINGS
from schedule import (
    PASSERS,
    TALKERS,
    Configure,
    EndDaemon,
    Intrude,
    Quiet,
    Replace,
    Squeeze,
    StopDaemon,
    StopProgram,
    schedule,
)

EVENTS = 400
SEEDS = st.integers(0, 2**31 - 1)


def actions(seed, count=EVENTS):
    return [event.action for event in islice(schedule(seed), count)]


@given(SEEDS)
def test_schedule_of_a_seed_is_the_same_every_time(seed):
    assert list(islice(schedule(seed), EVENTS)) == list(islice(schedule(seed), EVENTS))


def test_schedule_of_another_seed_is_another():
    assert actions(1) != actions(2)


@given(SEEDS)
def test_schedule_has_every_kind_of_event_program_intruder_and_configuration(seed):
    found = actions(seed)
    kinds = {type(action) for action in found}
    assert kinds == {Replace, StopProgram, EndDaemon, StopDaemon, Configure, Squeeze, Intrude, Quiet}
    assert {action.program.kind for action in found if isinstance(action, Replace)} == set(KINDS)
    assert {action.kind for action in found if isinstance(action, Intrude)} == set(INTRUDERS)
    assert {action.name for action in found if isinstance(action, Configure)} == set(CONFIGURATIONS)


@given(SEEDS)
def test_schedule_starts_every_program_at_a_place_for_its_sort_with_settings_of_the_list(seed):
    for action in actions(seed):
        if isinstance(action, Replace):
            assert KINDS[action.program.kind].talks == (action.place < TALKERS)
            assert 0 <= action.place < TALKERS + PASSERS
            for name, value in action.program.settings:
                assert value in SETTINGS[name]


@settings(max_examples=10)
@given(SEEDS)
def test_schedule_lets_a_daemon_live_longer_and_longer(seed):
    quiets, lives = 0, []
    for action in actions(seed, 2000):
        quiets += isinstance(action, Quiet)
        if isinstance(action, EndDaemon):
            lives.append(quiets)
            quiets = 0
    assert max([*lives, quiets]) >= 16


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_kind_is_called_by_its_own_name_and_is_to_be_found(kind, repository):
    program = kind.command[0] if kind.command[0] != "{python}" else kind.command[1]
    words = {"clients": repository / "tests/shim/clients", "scripts": repository / "tests/shim/clients"}
    path = program.format(soak=repository / "tests/soak", **words)
    assert any(repository.joinpath(path + suffix).exists() for suffix in ("", ".c"))
    assert KINDS[kind.name] is kind
