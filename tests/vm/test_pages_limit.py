"""ttm.pages_limit, as the real module takes it from the command line and at run time."""

import pytest
from harness.boot import Boot
from harness.qemu import Hardware

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.kernel_params.command_line import split, value_of
from greenboost_py.sensors.ttm import PAGE_BYTES, read_ttm

LIMIT = "sys/module/ttm/parameters/pages_limit"
LOAD = f"modprobe ttm\nkeep /proc/cmdline /{LIMIT}\n"
QXL = Hardware(arguments=("-device", "qxl-vga"))
"""A graphics card whose driver uses TTM."""


def test_pages_limit_without_words_is_half_of_ram_once_a_gpu_is_there(boot: Boot) -> None:
    guest = boot(
        f"modprobe ttm\nattempt before cat /{LIMIT}\nmodprobe qxl\nkeep /{LIMIT} /proc/meminfo\n",
        modules=("ttm", "qxl"),
        hardware=QXL,
    )

    assert guest.text("before") == "0"
    meminfo = dict(line.split(":") for line in guest.text("proc/meminfo").splitlines())
    total_bytes = int(meminfo["MemTotal"].split()[0]) * 1024
    (reading,) = read_ttm(SysRoot(guest.tree))
    assert reading.pages_limit == total_bytes // PAGE_BYTES // 2


def test_pages_limit_on_the_command_line_stays_when_a_gpu_is_there(boot: Boot) -> None:
    guest = boot(f"modprobe qxl\nkeep /{LIMIT}\n", "ttm.pages_limit=500000", modules=("ttm", "qxl"), hardware=QXL)

    assert guest.text(LIMIT) == "500000"


@pytest.mark.parametrize(
    "words",
    [
        "ttm.pages_limit=1000 ttm.pages-limit=2000",  # the last one counts, and - is _
        'ttm.pages_limit=1000 "ttm.pages_limit=2000" note="ttm.pages_limit=3000 4"',
    ],
)
def test_pages_limit_given_several_times_is_what_command_line_reads(boot: Boot, words: str) -> None:
    guest = boot(LOAD, words)

    assert guest.text(LIMIT) == value_of(split(guest.text("proc/cmdline")), "ttm.pages_limit") == "2000"


def test_parameter_misspelt_is_ignored_with_a_line_in_the_kernels_log(boot: Boot) -> None:
    guest = boot(f"attempt early dmesg\n{LOAD}attempt late dmesg\n", "ttm.page_limit=1")

    assert guest.text("proc/cmdline").split()[-1] == "ttm.page_limit=1"
    assert guest.text(LIMIT) == "0"
    # Until the module is there, only the command line itself has the word.
    assert [
        line for line in guest.text("early").splitlines() if "page_limit" in line and "ommand line:" not in line
    ] == []
    assert "ttm: unknown parameter 'page_limit' ignored" in guest.text("late")


def test_pages_limit_written_at_run_time_takes_numbers_and_refuses_words(boot: Boot) -> None:
    values = {
        "zero": "0",
        "half": "500000",
        "absurd": "18446744073709551615",
        "minus": "-1",
        "word": "many",
        "size": "96GiB",
    }
    script = "modprobe ttm\n" + "".join(
        f"set_to 77 /{LIMIT}\nattempt {name} set_to {value} /{LIMIT}\nattempt {name}.read cat /{LIMIT}\n"
        for name, value in values.items()
    )
    guest = boot(script)

    for name in ("zero", "half", "absurd"):
        assert (guest.text(f"{name}.status"), guest.text(f"{name}.read")) == ("0", values[name])
    for name in ("minus", "word", "size"):
        assert (guest.text(f"{name}.status"), guest.text(f"{name}.read")) == ("1", "77")
        assert "Invalid argument" in guest.text(name)
