import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.actions.ttm_limit import (
    CHANGE_EVERY_S,
    LOWEST_PAGES,
    RESTORE_AFTER_S,
    Episode,
    Step,
    TtmLimit,
    default_pages,
    lowered_pages,
)
from greenboost_py.base.config import TtmConfig
from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.base.units import Size, parse_size
from greenboost_py.pressure.levels import Level

GIB = 1 << 30
RAM_BYTES = 128 * GIB
OK, NOTICE, WARN, CRITICAL = Level


class Tree:
    """A /sys with the parameters of modules."""

    def __init__(self, root: Path, **pages: int) -> None:
        self.root = root
        for module, limit in pages.items():
            (root / f"sys/module/{module}/parameters").mkdir(parents=True)
            self.write(module, limit)

    def write(self, module: str, pages: object) -> None:
        (self.root / f"sys/module/{module}/parameters/pages_limit").write_text(f"{pages}\n")

    def read(self, module: str = "ttm") -> int:
        return int((self.root / f"sys/module/{module}/parameters/pages_limit").read_text())

    def limit(self, limit: str | None = None, lower: bool = False) -> TtmLimit:
        config = TtmConfig(None if limit is None else parse_size(limit), lower)
        return TtmLimit(SysRoot(self.root), config, RAM_BYTES)


@pytest.mark.parametrize(
    ("limit_pages", "in_use_bytes", "pages"),
    [
        (1000000, 100000 * 4096, 100000),
        (1000000, 100000 * 4096 + 1, 100001),
        (1000000, 0, LOWEST_PAGES),
        (100000, 100000 * 4096, None),
        (100000, 200000 * 4096, None),
        (LOWEST_PAGES, 0, None),
        (0, 0, None),
        (0, GIB, None),
    ],
)
def test_lowered_pages_is_what_is_in_use_and_never_higher_than_the_limit(
    limit_pages: int, in_use_bytes: int, pages: int | None
) -> None:
    assert lowered_pages(limit_pages, in_use_bytes) == pages


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**50))
def test_lowered_pages_never_raises_and_never_cuts_into_what_is_in_use(limit_pages: int, in_use_bytes: int) -> None:
    pages = lowered_pages(limit_pages, in_use_bytes)
    assert pages is None or (in_use_bytes <= pages * 4096 and pages < limit_pages)


@pytest.mark.parametrize(
    ("looks", "steps"),
    [
        ([(0, OK), (1, WARN)], []),
        ([(0, CRITICAL), (1, CRITICAL), (100, CRITICAL)], [(0, Step.LOWER)]),
        ([(0, CRITICAL), (1, OK), (60, OK), (61, OK), (200, OK)], [(0, Step.LOWER), (61, Step.RESTORE)]),
        (
            [(0, CRITICAL), (1, OK), (59, NOTICE), (61, OK), (120, OK), (121, OK)],
            [(0, Step.LOWER), (121, Step.RESTORE)],
        ),
        (
            [(0, CRITICAL), (1, OK), (30, CRITICAL), (40, OK), (99, OK), (100, OK)],
            [(0, Step.LOWER), (100, Step.RESTORE)],
        ),
        (
            [(0, CRITICAL), (1, OK), (61, OK), (62, CRITICAL), (121, CRITICAL)],
            [(0, Step.LOWER), (61, Step.RESTORE), (121, Step.LOWER)],
        ),
    ],
)
def test_step_lowers_once_and_restores_when_it_was_ok_for_a_while(
    looks: list[tuple[float, Level]], steps: list[tuple[float, Step]]
) -> None:
    episode = Episode()
    assert [(at_s, step) for at_s, level in looks if (step := episode.step(level, at_s))] == steps


def test_step_without_knowledge_of_what_is_in_use_waits_for_it() -> None:
    episode = Episode()
    assert episode.step(CRITICAL, 0, can_lower=False) is None
    assert episode.step(CRITICAL, 1) is Step.LOWER
    assert episode.step(OK, 2, can_lower=False) is None
    assert episode.step(OK, 62, can_lower=False) is Step.RESTORE


@given(st.lists(st.tuples(st.sampled_from(list(Level)), st.floats(0, 40)), max_size=200))
def test_step_never_swings(looks: list[tuple[Level, float]]) -> None:
    episode, at_s, steps, bad_s = Episode(), 0.0, list[tuple[float, Step]](), 0.0
    for level, passed_s in looks:
        at_s += passed_s
        bad_s = at_s if level is not OK else bad_s
        step = episode.step(level, at_s)
        if step is not None:
            steps.append((at_s, step))
            assert level is CRITICAL if step is Step.LOWER else at_s - bad_s >= RESTORE_AFTER_S
    assert [step for _, step in steps] == ([Step.LOWER, Step.RESTORE] * len(steps))[: len(steps)]
    assert all(later[0] - earlier[0] >= CHANGE_EVERY_S for earlier, later in itertools.pairwise(steps))


def test_start_sets_every_module_exactly_and_stop_puts_back_what_was_found(tmp_path: Path) -> None:
    tree = Tree(tmp_path, ttm=4000000, amdttm=5000000)
    limit = tree.limit("96GiB")
    assert limit.start() == ["ttm.pages_limit: 4000000 → 25165824", "amdttm.pages_limit: 5000000 → 25165824"]
    assert (tree.read("ttm"), tree.read("amdttm")) == (25165824, 25165824)
    assert limit.stop() == ["ttm.pages_limit: 25165824 → 4000000", "amdttm.pages_limit: 25165824 → 5000000"]
    assert (tree.read("ttm"), tree.read("amdttm")) == (4000000, 5000000)


def test_start_of_a_share_is_one_of_ram(tmp_path: Path) -> None:
    tree = Tree(tmp_path, ttm=4000000)
    tree.limit("75%").start()
    assert tree.read() == 25165824


def test_start_without_a_limit_changes_nothing(tmp_path: Path) -> None:
    tree = Tree(tmp_path, ttm=4000000)
    limit = tree.limit()
    assert limit.start() + limit.look(CRITICAL, 0, 0) + limit.stop() == []
    assert tree.read() == 4000000


def test_start_without_any_module_changes_nothing(tmp_path: Path) -> None:
    limit = Tree(tmp_path).limit("96GiB", lower=True)
    assert limit.start() + limit.look(CRITICAL, 0, 0) + limit.stop() == []
    assert list(tmp_path.iterdir()) == []


def test_start_where_it_is_so_already_has_nothing_to_put_back(tmp_path: Path) -> None:
    tree = Tree(tmp_path, ttm=25165824)
    limit = tree.limit("96GiB")
    assert limit.start() + limit.stop() == []


def test_start_refuses_a_limit_that_is_none(tmp_path: Path) -> None:
    tree = Tree(tmp_path, ttm=4000000)
    assert tree.limit("8MiB").start() == ["ttm.limit: 2048 pages are too few: at least 16384 (64 MiB)"]
    assert tree.read() == 4000000


def test_stop_of_a_module_that_had_no_limit_yet_puts_the_kernels_default(tmp_path: Path) -> None:
    tree = Tree(tmp_path, ttm=0)
    limit = tree.limit("96GiB")
    limit.start()
    limit.stop()
    assert tree.read() == default_pages(RAM_BYTES) == 64 * 262144


def test_stop_leaves_what_somebody_else_has_set(tmp_path: Path) -> None:
    tree = Tree(tmp_path, ttm=4000000, amdttm=5000000)
    limit = tree.limit("96GiB")
    limit.start()
    tree.write("ttm", 7777777)
    assert limit.stop() == [
        "ttm.pages_limit: 7777777 was set by somebody else, and is left as it is",
        "amdttm.pages_limit: 25165824 → 5000000",
    ]
    assert (tree.read("ttm"), tree.read("amdttm")) == (7777777, 5000000)
    assert limit.stop() == []


def test_look_lowers_to_what_is_in_use_and_restores(tmp_path: Path) -> None:
    tree = Tree(tmp_path, ttm=4000000)
    limit = tree.limit(lower=True)
    assert limit.look(WARN, 8 * GIB, 0) == []
    assert limit.look(CRITICAL, 8 * GIB + 1, 1) == ["ttm.pages_limit: 4000000 → 2097153"]
    assert limit.look(CRITICAL, 4 * GIB, 2) == limit.look(OK, 4 * GIB, 3) == []
    assert limit.look(OK, None, 63) == ["ttm.pages_limit: 2097153 → 4000000"]
    assert limit.stop() == []
    assert tree.read() == 4000000


def test_look_restores_the_configured_limit_and_stop_the_first_one(tmp_path: Path) -> None:
    tree = Tree(tmp_path, ttm=4000000)
    limit = tree.limit("96GiB", lower=True)
    limit.start()
    limit.look(CRITICAL, 8 * GIB, 0)
    limit.look(OK, 8 * GIB, 1)
    limit.look(OK, 8 * GIB, 61)
    assert tree.read() == 25165824
    limit.stop()
    assert tree.read() == 4000000


def test_stop_while_lowered_puts_back_the_first_limit(tmp_path: Path) -> None:
    tree = Tree(tmp_path, ttm=4000000)
    limit = tree.limit("96GiB", lower=True)
    limit.start()
    limit.look(CRITICAL, 8 * GIB, 0)
    assert limit.stop() == ["ttm.pages_limit: 2097152 → 4000000"]


def test_look_leaves_what_somebody_else_has_set_while_it_was_lowered(tmp_path: Path) -> None:
    tree = Tree(tmp_path, ttm=4000000)
    limit = tree.limit(lower=True)
    limit.look(CRITICAL, 8 * GIB, 0)
    tree.write("ttm", 7777777)
    limit.look(OK, 8 * GIB, 1)
    assert limit.look(OK, 8 * GIB, 61) == ["ttm.pages_limit: 7777777 was set by somebody else, and is left as it is"]
    assert limit.stop() == []
    assert tree.read() == 7777777


def test_look_lowers_somebody_elses_limit_and_goes_back_to_it_not_behind_it(tmp_path: Path) -> None:
    tree = Tree(tmp_path, ttm=4000000)
    limit = tree.limit("96GiB", lower=True)
    limit.start()
    tree.write("ttm", 7777777)
    limit.look(CRITICAL, 8 * GIB, 0)
    assert tree.read() == 2097152
    limit.look(OK, 8 * GIB, 1)
    limit.look(OK, 8 * GIB, 61)
    assert limit.stop() == []
    assert tree.read() == 7777777


def test_stop_of_a_module_that_was_unloaded_says_nothing(tmp_path: Path) -> None:
    tree = Tree(tmp_path, ttm=4000000)
    limit = tree.limit("96GiB")
    limit.start()
    (tmp_path / "sys").rename(tmp_path / "gone")
    assert limit.stop() == []


class Refusing(SysRoot):
    """A system that refuses to write, as the kernel does."""

    writes = 0

    def write_text(self, path: str, text: str) -> None:
        self.writes += 1
        raise SensorError(f"/{path}", "Permission denied")


class Deaf(SysRoot):
    """A system that takes what is written, and keeps its own."""

    def write_text(self, path: str, text: str) -> None:
        return


def test_a_refused_write_is_one_line_and_not_tried_again_at_once(tmp_path: Path) -> None:
    Tree(tmp_path, ttm=4000000)
    root = Refusing(tmp_path)
    limit = TtmLimit(root, TtmConfig(None, lower_when_critical=True), RAM_BYTES)
    line = "ttm: /sys/module/ttm/parameters/pages_limit: Permission denied"
    assert limit.look(CRITICAL, 8 * GIB, 0) == [line]
    assert [limit.look(CRITICAL, 8 * GIB, second) for second in range(1, 600)] == [[]] * 599
    assert root.writes == 1
    assert limit.stop() == []


def test_a_write_that_is_not_read_back_is_one_line_and_not_put_back(tmp_path: Path) -> None:
    Tree(tmp_path, ttm=4000000)
    limit = TtmLimit(Deaf(tmp_path), TtmConfig(Size(96 * GIB)), RAM_BYTES)
    assert limit.start() == ["ttm.pages_limit: 25165824 was written, and 4000000 is read back"]
    assert limit.stop() == []


@pytest.mark.parametrize("text", ["", "many", "-1", "1 2"])
def test_start_of_a_malformed_parameter_is_one_line(tmp_path: Path, text: str) -> None:
    tree = Tree(tmp_path, ttm=1)
    tree.write("ttm", text)
    (line,) = tree.limit("96GiB").start()
    assert line.startswith("ttm: /sys/module/ttm/parameters/pages_limit: ")


def test_start_that_may_not_write_is_one_line(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anything")
    tree = Tree(tmp_path, ttm=4000000)
    (tmp_path / "sys/module/ttm/parameters/pages_limit").chmod(0o444)
    assert tree.limit("96GiB").start() == ["ttm: /sys/module/ttm/parameters/pages_limit: Permission denied"]
