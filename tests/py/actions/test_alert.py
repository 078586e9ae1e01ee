from collections.abc import Callable
from dataclasses import replace

import pytest

from greenboost_py.actions.alert import Alert, variables
from greenboost_py.actions.alert_text import body, broadcast_body, headline, printable, resource_name
from greenboost_py.pressure.levels import Level, Reason
from greenboost_py.sensors.holders import Holder

MakeAlert = Callable[..., Alert]
MakeHolder = Callable[..., Holder]

GIB = 1 << 30
GPU = "0000:c4:00.0"


def test_compose_names_the_three_largest_of_that_resource(make_alert: MakeAlert, make_holder: MakeHolder) -> None:
    holders = (
        make_holder(1, ram_bytes=1),
        make_holder(2, ram_bytes=9),
        make_holder(3, ram_bytes=2, gtt_bytes={GPU: 8}),
        make_holder(4, ram_bytes=3),
        make_holder(5),
    )
    assert [holder.pid for holder in make_alert(holders=holders).holders] == [3, 2, 4]
    assert [holder.pid for holder in make_alert(resource=f"gtt:{GPU}", holders=holders).holders] == [3]


@pytest.mark.parametrize(
    ("level", "previous", "reason", "exhausted_in_s", "text"),
    [
        (3, 0, Reason.THRESHOLD, 8.4, "RAM is nearly exhausted: 1.20 GiB of 31.3 GiB left, at this rate for 8 s."),
        (
            3,
            0,
            Reason.FORECAST,
            0.3,
            "RAM is about to be exhausted: 1.20 GiB of 31.3 GiB left, at this rate for less than 1 s.",
        ),
        (2, 1, Reason.THRESHOLD, None, "RAM is short: 1.20 GiB of 31.3 GiB left."),
        (2, 1, Reason.FORECAST, 300.0, "RAM is filling up fast: 1.20 GiB of 31.3 GiB left, at this rate for 5 min."),
        (1, 0, Reason.THRESHOLD, 7200.0, "RAM is getting short: 1.20 GiB of 31.3 GiB left."),
        (2, 3, Reason.THRESHOLD, None, "RAM has eased, still short: 1.20 GiB of 31.3 GiB left."),
        (1, 3, Reason.FORECAST, None, "RAM has eased, still low: 1.20 GiB of 31.3 GiB left."),
        (0, 3, None, 8.0, "RAM is no longer short: 1.20 GiB of 31.3 GiB available."),
    ],
)
def test_headline_of_each_level_says_what_is_left_and_for_how_long(
    make_alert: MakeAlert, level: int, previous: int, reason: Reason | None, exhausted_in_s: float | None, text: str
) -> None:
    alert = make_alert(
        Level(level),
        Level(previous),
        available_bytes=int(1.2 * GIB),
        total_bytes=int(31.3 * GIB),
        reason=reason,
        exhausted_in_s=exhausted_in_s,
    )
    assert headline(alert) == text


def test_headline_of_a_gpus_memory_names_the_gpu(make_alert: MakeAlert) -> None:
    assert headline(make_alert(resource=f"vram:{GPU}")).startswith(f"VRAM of GPU {GPU} is nearly exhausted: ")
    assert resource_name(f"gtt:{GPU}") == f"GTT of GPU {GPU}"
    assert resource_name("cgroup:/sys/fs/cgroup/system.slice/job_7") == "memory cgroup system.slice/job_7"
    assert resource_name("cgroup:/\n/x\x1b") == "memory cgroup ?/x?"


def test_body_names_the_holders_and_what_no_list_shows(make_alert: MakeAlert, make_holder: MakeHolder) -> None:
    holders = (
        make_holder(4711, ram_bytes=2 * GIB, gtt_bytes={GPU: 20 * GIB}),
        make_holder(900, ram_bytes=3 * GIB, name="firefox"),
    )
    alert = make_alert(holders=holders, gpu_host_bytes=40 * GIB, swap_free_bytes=0)
    assert body(alert) == (
        "Held: 22.0 GiB by python (pid 4711), of it 20.0 GiB through a GPU's driver; 3.00 GiB by firefox (pid 900)."
        " GPU drivers hold 40.0 GiB that no process list shows. 0 B of swap is free.\n"
        "Close python (pid 4711) now. Programs under `greenboost run` get no more host memory until this is over."
    )


def test_body_of_a_driver_without_figures_says_that_what_is_mapped_is_the_most(
    make_alert: MakeAlert, make_holder: MakeHolder
) -> None:
    holders = (replace(make_holder(4711, ram_bytes=GIB, gtt_bytes={}), gpu_mapped_bytes=4 * GIB),)
    expected = "Held: 5.00 GiB by python (pid 4711), of it up to 4.00 GiB through a GPU's driver."
    assert body(make_alert(holders=holders)).startswith(expected)


def test_body_leaves_out_what_is_not_known_or_not_worth_a_word(make_alert: MakeAlert) -> None:
    assert body(make_alert(gpu_host_bytes=1 << 20)) == (
        "Close what needs it least now. Programs under `greenboost run` get no more host memory until this is over."
    )
    assert body(make_alert(Level.OK, Level.WARN)) == ""


@pytest.mark.parametrize(
    ("resource", "level", "advice"),
    [
        ("ram", Level.NOTICE, "Nothing needs to be done yet."),
        ("ram", Level.WARN, "Close or limit python (pid 4711). `greenboost run --host-limit SIZE`"),
        ("cgroup:/a/job_7", Level.WARN, "Close or limit python (pid 4711), or raise the group's limit:"),
        (f"gtt:{GPU}", Level.WARN, "To free GTT, close python (pid 4711), or give it a smaller model or context."),
        (f"vram:{GPU}", Level.CRITICAL, "To free VRAM, close python (pid 4711). A program started by `greenboost run`"),
    ],
)
def test_body_advises_by_resource_and_level(
    make_alert: MakeAlert, make_holder: MakeHolder, resource: str, level: Level, advice: str
) -> None:
    holder = make_holder(ram_bytes=GIB, vram_bytes={GPU: GIB}, gtt_bytes={GPU: GIB})
    lines = body(make_alert(level, resource=resource, holders=(holder,))).splitlines()
    assert lines[-1].startswith(advice)


@pytest.mark.parametrize("level", [Level.NOTICE, Level.WARN, Level.CRITICAL])
@pytest.mark.parametrize("resource", ["ram", f"vram:{GPU}", f"gtt:{GPU}", "cgroup:/a/job_7"])
def test_broadcast_body_names_users_and_neither_programs_nor_pids(
    make_alert: MakeAlert, make_holder: MakeHolder, resource: str, level: Level
) -> None:
    amounts = {GPU: 5 * GIB}
    holders = (
        make_holder(471100, ram_bytes=9 * GIB, vram_bytes=amounts, gtt_bytes=amounts, name="secretproject"),
        make_holder(471101, ram_bytes=1 * GIB, vram_bytes=amounts, gtt_bytes=amounts, name="secretproject", uid=77),
    )
    text = broadcast_body(make_alert(level, resource=resource, holders=holders), {1000: "alice"})
    assert "by a program of alice" in text
    assert "by a program of user 77" in text
    assert "secretproject" not in text
    assert "4711" not in text


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("python", "python"),
        ("", "?"),
        ("a\nb\x1b[31m\x07", "a?b?[31m?"),
        ("\u202egpj.exe", "?gpj.exe"),
        ("\udcff", "?"),
        ("x" * 32, "x" * 32),
        ("x" * 33, "x" * 31 + "…"),
        ("模型", "模型"),
    ],
)
def test_printable_of_any_name_is_short_and_fit_for_a_terminal(name: str, safe: str) -> None:
    assert printable(name) == safe


def test_texts_of_hostile_names_are_printable(make_alert: MakeAlert, make_holder: MakeHolder) -> None:
    alert = make_alert(holders=(make_holder(ram_bytes=1, name="\x1b]0;a\nb\x9b"),))
    for text in (headline(alert), body(alert), broadcast_body(alert, {1000: "al\x1bice"})):
        assert all(line.isprintable() for line in text.split("\n"))
        assert text.count("\n") <= 1


def test_variables_are_plain_values_without_names(make_alert: MakeAlert, make_holder: MakeHolder) -> None:
    alert = make_alert(
        Level.WARN, Level.NOTICE, holders=(make_holder(ram_bytes=7, name="$(reboot)"),), gpu_host_bytes=3
    )
    assert variables(alert) == {
        "GREENBOOST_RESOURCE": "ram",
        "GREENBOOST_LEVEL": "warn",
        "GREENBOOST_PREVIOUS_LEVEL": "notice",
        "GREENBOOST_REASON": "threshold",
        "GREENBOOST_AVAILABLE_BYTES": str(GIB),
        "GREENBOOST_TOTAL_BYTES": str(32 * GIB),
        "GREENBOOST_EXHAUSTED_IN_S": "8.0",
        "GREENBOOST_FILL_BYTES_PER_S": "100000000",
        "GREENBOOST_GPU_HOST_BYTES": "3",
        "GREENBOOST_HOLDER_PID": "4711",
        "GREENBOOST_HOLDER_BYTES": "7",
    }


def test_variables_of_a_recovery_leave_out_what_there_is_not(make_alert: MakeAlert) -> None:
    values = variables(make_alert(Level.OK, Level.WARN, exhausted_in_s=None))
    assert not {"GREENBOOST_REASON", "GREENBOOST_EXHAUSTED_IN_S", "GREENBOOST_HOLDER_PID"} & set(values)
    assert values["GREENBOOST_LEVEL"] == "ok"
