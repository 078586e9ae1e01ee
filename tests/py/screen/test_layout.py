from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.pressure.levels import Level
from greenboost_py.screen.bars import Share, bar, format_lasting
from greenboost_py.screen.frame import Frame, Gpu, ProgramUse, Ram, Resource
from greenboost_py.screen.layout import Sheet, draw
from greenboost_py.screen.lines import ASCII, UNICODE, Glyphs, Role, text_of
from greenboost_py.screen.program_table import Order, ordered, table

GIB = 1 << 30

AT_80 = """\
GreenBoost  00:00:00  daemon running
RAM  ███████████████████▓▓▓▓▓▓░░░░·······  44.0 GiB of 64.0 GiB  WARN       75 s
  █ programs 34.0 GiB  ▓ GPU drivers 10.0 GiB  ░ cache 8.00 GiB  · free 12.0 GiB
Swap ████································  1.00 GiB of 8.00 GiB
PSI  some 12.5 %  full 0.5 %  zram 300 MiB  leased 4.00 GiB  to come 1.00 GiB
     refused 1
GPU  0000:01:00.0  NVIDIA GeForce RTX 4070
VRAM █████████████████████████████████···  11.0 GiB of 12.0 GiB  CRITICAL
GPU  0000:c4:00.0  AMD card1 (APU)
VRAM █████████████████████···············    300 MiB of 512 MiB  OK
GTT  ▓▓▓▓▓▓▓▓▓▓▓·························  10.0 GiB of 32.0 GiB  OK
NOTICE memory cgroup user.slice/job_7: 3.00 GiB of 16.0 GiB left

    PID PROGRAM            HELD      VRAM     SPLIT    MAPPED  IN VRAM     MOVED
   4711 python3        12.0 GiB  8.00 GiB  4.00 GiB         -     33 %  3.00 GiB
    900 llama-server   2.01 GiB  2.00 GiB         -  7.00 MiB        -         -

23:58:55 NOTICE   RAM is getting short: 12.5 GiB of 64.0 GiB left.
23:59:55 WARN     RAM is filling up fast: 6.31 GiB of 64.0 GiB left, at this
                  rate for 75 s.
Not read: /proc/swaps: a line is malformed"""

AT_40_IN_ASCII = """\
GreenBoost  00:00:00  daemon running
RAM  ###########%%%---....  68% WARN
  # programs 34.0 GiB
  % GPU drivers 10.0 GiB
  - cache 8.00 GiB  . free 12.0 GiB
Swap ###..................  12%
PSI  some 12.5 %  full 0.5 %
     zram 300 MiB  leased 4.00 GiB
     to come 1.00 GiB  refused 1
GPU  0000:01:00.0  NVIDIA GeForce RTX 4~
VRAM ###################..  91% CRITICAL
GPU  0000:c4:00.0  AMD card1 (APU)
VRAM ############.........  58% OK
GTT  %%%%%%%..............  31% OK
NOTICE memory cgroup user.slice/job_7: ~

    PID PROGRAM           HELD      VRAM
   4711 python3       12.0 GiB  8.00 GiB
    900 llama-server  2.01 GiB  2.00 GiB

NOTICE 23:58:55
RAM is getting short: 12.5 GiB of 64.0
GiB left.
WARN 23:59:55
RAM is filling up fast: 6.31 GiB of 64.0
GiB left, at this rate for 75 s.
Not read: /proc/swaps: a line is malfor~"""

AT_20 = """\
GreenBoost  00:00:00
RAM  ████▓▓░·  68% W
█ programs 34.0 GiB
▓ drivers 10.0 GiB
░ cache 8.00 GiB
· free 12.0 GiB
Swap █·······  12%
PSI  some 12.5 %
     full 0.5 %
     zram 300 MiB
     leased 4.00 GiB
     to come 1.00 Gi
     refused 1
GPU NVIDIA GeForce …
VRAM ███████·  91% C
GPU AMD card1 (APU)
VRAM █████···  58% O
GTT  ▓▓······  31% O
NOTICE memory cgrou…

PROGRAM         HELD
python3     12.0 GiB
llama-ser…  2.01 GiB
"""


def text(frame: Frame, width: int, glyphs: Glyphs = UNICODE, height: int | None = None) -> str:
    return "\n".join(text_of(line) for line in draw(frame, Sheet(width, height, glyphs)))


def test_draw_at_80_columns_shows_everything(full: Frame) -> None:
    assert text(full, 80) == AT_80


def test_draw_at_40_columns_in_ascii_has_percents_for_sizes(full: Frame) -> None:
    assert text(full, 40, ASCII) == AT_40_IN_ASCII
    assert text(full, 40, ASCII).isascii()


def test_draw_at_20_columns_still_tells_what_is_short(full: Frame) -> None:
    assert text(full, 20).startswith(AT_20)


def test_draw_at_200_columns_uses_them_for_bars_and_every_column(full: Frame) -> None:
    lines = text(full, 200).splitlines()
    assert lines[1].count("█") + lines[1].count("▓") + lines[1].count("░") + lines[1].count("·") == 156
    assert lines[-7].split()[-2:] == ["MOVED", "REFUSED"]


def test_draw_of_a_machine_that_cannot_be_read_says_so(empty: Frame) -> None:
    assert text(empty, 80) == (
        "GreenBoost  00:00:00  no daemon\n"
        "RAM   cannot be read\n"
        "PSI  not known\n"
        "\n"
        "No program is running under GreenBoost."
    )


def test_draw_on_a_low_terminal_leaves_out_programs_and_counts_them(full: Frame) -> None:
    many = replace(full, programs=tuple(replace(full.programs[1], pid=pid) for pid in range(100, 150)))
    lines = text(many, 80, height=24).splitlines()
    assert len(lines) == 24
    assert "… and 47 more" in lines
    assert lines[-1] == "q quit  p pause  s sort: by held"
    assert lines[-2].startswith("Not read: ")


def test_draw_on_a_high_terminal_has_the_keys_at_its_foot(full: Frame) -> None:
    lines = text(full, 80, height=40).splitlines()
    assert len(lines) == 40 and lines[-1].startswith("q quit") and not lines[-2]


def test_draw_when_paused_says_so(full: Frame) -> None:
    (title, *_) = draw(full, Sheet(80, 24, UNICODE, interval_s=2.0, is_paused=True))
    assert text_of(title) == "GreenBoost  00:00:00  daemon running  PAUSED"
    (title, *_) = draw(full, Sheet(80, 24, UNICODE, interval_s=2.0))
    assert text_of(title) == "GreenBoost  00:00:00  daemon running  every 2 s"


HOSTILE = ("\x1b[31mred", "a\nb\r\tc", "模型", "e\u0301", "\ud800", "\u202eevil", "x" * 4096, "")


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_draw_of_names_that_others_chose_is_safe_for_a_terminal(full: Frame, name: str, glyphs: Glyphs) -> None:
    frame = replace(
        full,
        programs=(replace(full.programs[0], name=name),),
        gpus=(replace(full.gpus[0], name=name, address=name),),
        resources=(Resource(f"cgroup:/{name}", Level.WARN, GIB, 1, 5.0, 1.0),),
        warnings=(replace(full.warnings[0], text=name),),
        errors=(name,),
    )
    for width in (20, 40, 80):
        shown = text(frame, width, glyphs)
        shown.encode("ascii" if glyphs is ASCII else "utf-8")
        assert all(line.isprintable() for line in shown.split("\n"))
        assert "\u202e" not in shown and "\u0301" not in shown


@given(width=st.integers(1, 250), height=st.none() | st.integers(1, 60), order=st.sampled_from(Order))
def test_draw_never_leaves_the_terminal(width: int, height: int | None, order: Order) -> None:
    from tests.py.screen.conftest import EMPTY, FULL

    for frame in (FULL, EMPTY):
        lines = draw(frame, Sheet(width, height, UNICODE, order, 1.0))
        assert max(len(text_of(line)) for line in lines) <= width
        assert height is None or len(lines) == height


@given(parts=st.lists(st.integers(-5, 2**70), max_size=5), total=st.integers(-5, 2**70), width=st.integers(0, 200))
def test_bar_has_exactly_its_width_whatever_the_figures(parts: list[int], total: int, width: int) -> None:
    line = bar([Share(part, "#", Role.PROGRAMS) for part in parts], total, width, ASCII)
    assert len("".join(text for text, _ in line)) == width


@given(total=st.integers(1, 2**63), width=st.integers(1, 200), data=st.data())
def test_bar_of_what_adds_up_is_full_and_of_nothing_is_empty(total: int, width: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, total))
    shares = [Share(first, "#", Role.PROGRAMS), Share(total - first, "%", Role.DRIVERS)]
    shown = "".join(text for text, _ in bar(shares, total, width, ASCII))
    assert "." not in shown and len(shown) == width
    assert "".join(text for text, _ in bar([], total, width, ASCII)) == "." * width


def test_bar_shows_a_thin_part_but_not_a_speck() -> None:
    def shown(part: int) -> str:
        shares = [Share(500, "#", Role.PROGRAMS), Share(part, "%", Role.DRIVERS)]
        return "".join(text for text, _ in bar(shares, 1000, 10, ASCII))

    assert shown(25) == "#####%...."
    assert shown(24) == "#####....."


def test_ram_is_four_parts_that_add_up_even_where_the_figures_do_not() -> None:
    for ram in (Ram(100, 30, 10, 20), Ram(100, 30, 90, 200), Ram(100, 100, 0, 5), Ram(0, 0, 0, 9)):
        parts = (ram.programs_bytes, ram.hidden_bytes, ram.cache_bytes, ram.spare_bytes)
        assert min(parts) >= 0 and sum(parts) == ram.total_bytes


@pytest.mark.parametrize(
    ("left_s", "shown"), [(None, ""), (0.2, "0 s"), (-1.0, "0 s"), (119.4, "119 s"), (3600, "60 min"), (3601, "")]
)
def test_format_lasting_is_short_and_says_nothing_of_what_is_far_off(left_s: float | None, shown: str) -> None:
    assert format_lasting(left_s) == shown


@pytest.mark.parametrize(
    ("order", "pids"),
    [(Order.HELD, [3, 1, 2]), (Order.HOST, [2, 1, 3]), (Order.MOVED, [1, 2, 3]), (Order.PID, [1, 2, 3])],
)
def test_programs_are_sorted_the_largest_first(order: Order, pids: list[int]) -> None:
    programs = [
        ProgramUse(3, "c", (), {"device": 99}),
        ProgramUse(2, "b", (), {"split": 9}, moved_bytes=1),
        ProgramUse(1, "a", (), {"split": 5, "device": 6}, moved_bytes=7),
    ]
    assert [program.pid for program in ordered(programs, order)] == pids


def test_table_has_columns_only_for_tiers_in_use(full: Frame) -> None:
    heading, *_ = table([full.programs[1]], Order.HELD, 200, UNICODE)
    assert text_of(heading).split() == ["PID", "PROGRAM", "HELD", "VRAM", "SPLIT", "IN", "VRAM", "MOVED"]
    leased = ProgramUse(0, "?", (), {"leased": GIB})
    heading, row = table([leased], Order.HELD, 200, UNICODE)
    assert "LEASED" in text_of(heading)
    assert text_of(row).split()[:4] == ["-", "?", "1.00", "GiB"]


def test_program_in_a_container_is_named_with_it() -> None:
    rows = table([ProgramUse(7, "fill", (), {"device": 9}, container="w\x1beb")], Order.HELD, 200, UNICODE)
    assert text_of(rows[1]).split()[:3] == ["7", "fill", "(w?eb)"]


def test_a_gpu_without_memory_figures_has_a_line_and_no_bars(empty: Frame) -> None:
    frame = replace(empty, gpus=(Gpu("0000:05:00.0", "GPU", False, 0, 0, 0, 0),))
    assert "GPU  0000:05:00.0  GPU\n\n" in text(frame, 80)
