import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import lay

from greenboost_py.base.errors import SensorError
from greenboost_py.base.files import Tree
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.kernel_params.bootloaders import modprobe
from greenboost_py.kernel_params.bootloaders.modprobe import Modprobe
from greenboost_py.kernel_params.facts import read_facts
from greenboost_py.kernel_params.machine import Machine
from greenboost_py.kernel_params.modprobe_d import Option, files, parse_options, read_options
from greenboost_py.kernel_params.plan import Bootloader, Command, FileEdit, Plan, Word

RELEASE = "6.12.48-amd64"
BASE = {
    "proc/sys/kernel/osrelease": f"{RELEASE}\n",
    "proc/cmdline": "root=/dev/sda2 ro quiet\n",
    f"lib/modules/{RELEASE}/modules.builtin": "kernel/drivers/char/random.ko\n",
    "usr/sbin/update-initramfs": "",
}
HEADER = b'# Written by greenboost kernel-params; "greenboost kernel-params unset" removes it.\n'
OURS = HEADER + b"options ttm pages_limit=25165824\n"
REBUILD = Command(("update-initramfs", "-u", "-k", "all"), "rebuilds every kernel's initramfs")


def laid(root: Path, files: Mapping[str, str | bytes]) -> Machine:
    lay(root, files)
    return Machine(SysRoot(root), is_live=False)


def texts(machine: Machine) -> list[str]:
    return [word.text for word in Modprobe().words(machine) or ()]


def test_modprobe_is_a_bootloader_that_is_never_detected(tmp_path: Path) -> None:
    loader: Bootloader = Modprobe()
    machine = laid(tmp_path, {**BASE, modprobe.PATH: OURS})
    assert loader.detect(machine) is None
    assert loader.entries(machine) is None
    assert loader.words(machine) == (Word("ttm.pages_limit=25165824", f"/{modprobe.PATH}:2"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("options ttm pages_limit=5\n", [("ttm.pages_limit", "5", 1)]),
        ("options ttm pages_limit=5", [("ttm.pages_limit", "5", 1)]),
        ("\n# options ttm pages_limit=4\n\n\toptions\tttm \t pages_limit=5\n", [("ttm.pages_limit", "5", 4)]),
        ("options ttm \\\n  pages_limit=5 \\\n page_pool_size=6\noptions ttm a=7", [
            ("ttm.pages_limit", "5", 1), ("ttm.page_pool_size", "6", 1), ("ttm.a", "7", 4)]),
        ("# a comment \\\noptions ttm pages_limit=4\noptions ttm pages_limit=5\n", [("ttm.pages_limit", "5", 3)]),
        ("options amd-gpu gtt-size=5 flag\n", [("amd_gpu.gtt_size", "5", 1), ("amd_gpu.flag", "", 1)]),
        ('options x a="b c" d=e\n', [("x.a", "b c", 1), ("x.d", "e", 1)]),
        ("options\noptions ttm\nalias a ttm\ninstall ttm /bin/true\nblacklist ttm\noption ttm a=1\n", []),
        (" # options ttm pages_limit=4\n", []),
        ("options ttm pages_limit=5 # no comment here\n", [
            ("ttm.pages_limit", "5", 1), ("ttm.#", "", 1), ("ttm.no", "", 1), ("ttm.comment", "", 1), ("ttm.here", "", 1)]),
        ("options ttm pages_limit=5\\", [("ttm.pages_limit", "5", 1)]),
        ("", []),
    ],
)  # fmt: skip
def test_parse_options_reads_as_modprobe_does(text: str, expected: list[tuple[str, str, int]]) -> None:
    wanted = tuple(Option(name, value, f"/etc/modprobe.d/a.conf:{line}") for name, value, line in expected)
    assert parse_options(text, "etc/modprobe.d/a.conf") == wanted


@given(st.text(st.sampled_from('options ttm=\\"\n\t#ab1'), max_size=60))
def test_parse_options_of_any_text_names_lines_that_are_there(text: str) -> None:
    for option in parse_options(text, "etc/modprobe.d/a.conf"):
        assert 1 <= int(option.place.rpartition(":")[2]) <= text.count("\n") + 1
        assert option.path == "etc/modprobe.d/a.conf"


def test_files_are_sorted_by_name_and_the_first_folder_counts(tmp_path: Path) -> None:
    machine = laid(
        tmp_path,
        {
            "etc/modprobe.d/b.conf": "",
            "run/modprobe.d/b.conf": "",
            "run/modprobe.d/c.conf": "",
            "usr/local/lib/modprobe.d/a.conf": "",
            "usr/lib/modprobe.d/c.conf": "",
            "lib/modprobe.d/aa.conf": "",
            "etc/modprobe.d/d.conf.dpkg-old": "",
            "etc/modprobe.d/.hidden.conf": "",
        },
    )
    assert files(machine) == (
        "usr/local/lib/modprobe.d/a.conf",
        "lib/modprobe.d/aa.conf",
        "etc/modprobe.d/b.conf",
        "run/modprobe.d/c.conf",
    )


def test_read_options_of_a_masked_file_leaves_it_out(tmp_path: Path) -> None:
    machine = laid(tmp_path, {"usr/lib/modprobe.d/amd.conf": "options ttm pages_limit=4\n", "etc/modprobe.d/x": ""})
    (tmp_path / "etc/modprobe.d/amd.conf").symlink_to("/dev/null")
    assert read_options(machine) == ((), ())


def test_read_options_agrees_with_modprobe(tmp_path: Path) -> None:
    if shutil.which("modprobe") is None:
        pytest.skip("no modprobe (kmod)")
    written = {
        "a.conf": "options ttm pages_limit=1\n# options ttm pages_limit=2 \\\noptions ttm pages_limit=3\n",
        "b.conf": "options tt\\\nm pages_limit=4 \\\n  page_pool_size=5\n\toptions amdgpu gttsize=6\n # options ttm x=7\n",
        "zz-greenboost.conf": OURS.decode(),
        "no.config": "options ttm pages_limit=8\n",
    }
    machine = laid(tmp_path, {f"etc/modprobe.d/{name}": text for name, text in written.items()})
    done = subprocess.run(
        ["modprobe", "-c", "-C", str(tmp_path / "etc/modprobe.d")], capture_output=True, text=True, check=True
    )
    real = [line.split() for line in done.stdout.splitlines() if line.startswith("options ")]
    # modprobe also lists what the running kernel's command line says; nothing of it is of these modules.
    flat = [f"{words[1]}.{word}" for words in real if words[1] in ("ttm", "amdgpu") for word in words[2:]]
    assert [option.word for option in read_options(machine)[0]] == flat


def test_plan_writes_one_file_and_rebuilds_the_initramfs(tmp_path: Path) -> None:
    plan = Modprobe().plan(laid(tmp_path, BASE), {"ttm.pages_limit": "25165824", "iommu": None})
    assert plan == Plan((FileEdit(modprobe.PATH, None, OURS),), (REBUILD,), (REBUILD,))


def test_plan_set_then_set_again_then_unset_gives_the_same_bytes(tmp_path: Path) -> None:
    theirs = "options ttm pages_limit=24379392"
    machine, tree = laid(tmp_path, {**BASE, "etc/modprobe.d/ttm.conf": theirs}), Tree(tmp_path)
    settings = {"ttm.pages_limit": "25165824", "amdgpu.gttsize": "98304"}
    plan = Modprobe().plan(machine, settings)
    for edit in plan.edits:
        assert edit.after is not None
        tree.write(edit.path, edit.after)
    assert texts(machine) == ["ttm.pages_limit=24379392", "amdgpu.gttsize=98304", "ttm.pages_limit=25165824"]
    assert Modprobe().plan(machine, settings).is_empty
    plan = Modprobe().plan(machine, {"amdgpu.gttsize": None})
    assert plan.edits == (FileEdit(modprobe.PATH, (tmp_path / modprobe.PATH).read_bytes(), OURS),)
    tree.write(modprobe.PATH, OURS)
    (tmp_path / "etc/modprobe.d/ttm.conf").write_text("# nothing\n")
    plan = Modprobe().plan(machine, {"ttm.pages_limit": None})
    assert plan == Plan((FileEdit(modprobe.PATH, OURS, None),), (REBUILD,), (REBUILD,))


def test_plan_of_what_is_set_elsewhere_already_is_empty(tmp_path: Path) -> None:
    machine = laid(tmp_path, {**BASE, "etc/modprobe.d/ttm.conf": "options ttm pages_limit=25165824\n"})
    assert Modprobe().plan(machine, {"ttm.pages_limit": "25165824"}).is_empty
    assert Modprobe().plan(machine, {"amdttm.pages_limit": None, "iommu": None}).is_empty


BUILTIN = f"lib/modules/{RELEASE}/modules.builtin"
SET = {"ttm.pages_limit": "25165824"}
OBSTACLES: list[tuple[dict[str, str | bytes], dict[str, str | None], str]] = [
    ({}, {"iommu": "pt"}, "'iommu' is no module's parameter"),
    ({}, {"amd_iommu": "off"}, "'amd_iommu' is no module's parameter"),
    ({}, {"ttm.pages limit": "5"}, "is no name of a module's parameter"),
    ({}, {"-ttm.pages_limit\n": "5"}, "is no name of a module's parameter"),
    ({}, {"ttm;reboot.x": "5"}, "is no name of a module's parameter"),
    ({}, {"ttm.pages_limit": "5\ninstall ttm /bin/sh"}, "no value that goes into modprobe.d"),
    ({}, {"ttm.pages_limit": "5 x=6"}, "no value that goes into modprobe.d"),
    ({}, {"ttm.pages_limit": ""}, "no value that goes into modprobe.d"),
    ({}, {"ttm.pages_limit": '"5"'}, "no value that goes into modprobe.d"),
    ({}, {"ttm.pages_limit": "\\"}, "no value that goes into modprobe.d"),
    ({BUILTIN: "kernel/drivers/gpu/drm/ttm/ttm.ko\n"}, {**SET}, "ttm is built into the kernel"),
    ({"etc/modprobe.d/zzz.conf": "options ttm pages_limit=9\n"}, {**SET}, "stands in /etc/modprobe.d/zzz.conf:1"),
    ({"etc/modprobe.d/a.conf": "options ttm pages_limit=9\n"}, {"ttm.pages_limit": None}, "/etc/modprobe.d/a.conf:1"),
    ({"proc/cmdline": "ro ttm.pages_limit=9\n"}, {**SET}, "command line says ttm.pages_limit=9, and wins"),
    ({modprobe.PATH: OURS + b"softdep x pre: y\n"}, {"ttm.pages_limit": "9"}, "was changed by somebody else"),
    ({modprobe.PATH: "options ttm pages_limit=1\n"}, {**SET}, "was changed by somebody else"),
    ({modprobe.PATH: OURS + b"#\xff\n"}, {"ttm.pages_limit": "9"}, "is no text"),
    ({modprobe.PATH: OURS + b"\0"}, {"ttm.pages_limit": "9"}, "was changed by somebody else"),
]


@pytest.mark.parametrize(("changed", "settings", "text"), OBSTACLES)
def test_plan_of_what_would_not_be_in_force_is_an_obstacle(
    tmp_path: Path, changed: dict[str, str | bytes], settings: dict[str, str | None], text: str
) -> None:
    plan = Modprobe().plan(laid(tmp_path, {**BASE, **changed}), settings)
    assert not plan.edits
    assert not plan.commands
    (obstacle,) = plan.obstacles
    assert text in obstacle
    assert obstacle.isprintable()


def test_plan_over_a_link_is_an_obstacle(tmp_path: Path) -> None:
    machine = laid(tmp_path, {**BASE, "etc/modprobe.d/other": ""})
    (tmp_path / modprobe.PATH).symlink_to("other")
    assert Modprobe().plan(machine, SET).obstacles == (f"/{modprobe.PATH} is a link: remove it",)


def test_words_where_a_folder_stands_for_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "etc/modprobe.d/a.conf").mkdir(parents=True)
    with pytest.raises(SensorError):
        Modprobe().words(Machine(SysRoot(tmp_path), is_live=False))


@pytest.mark.parametrize(
    ("tools", "argv"),
    [
        (("usr/sbin/update-initramfs", "usr/bin/dracut"), ("update-initramfs", "-u", "-k", "all")),
        (("usr/bin/mkinitcpio", "usr/bin/dracut", "etc/mkinitcpio.d/linux.preset"), ("mkinitcpio", "-P")),
        (("usr/bin/mkinitcpio", "usr/bin/dracut"), ("dracut", "--regenerate-all", "--force")),
        (("usr/bin/dracut",), ("dracut", "--regenerate-all", "--force")),
    ],
)
def test_plan_rebuilds_with_the_tool_that_is_in_use(
    tmp_path: Path, tools: tuple[str, ...], argv: tuple[str, ...]
) -> None:
    plan = Modprobe().plan(laid(tmp_path, dict.fromkeys(tools, "")), SET)
    assert [command.argv for command in plan.commands] == [command.argv for command in plan.undo_commands] == [argv]
    assert plan.advice == ()


def test_plan_without_a_tool_writes_and_advises(tmp_path: Path) -> None:
    plan = Modprobe().plan(Machine(SysRoot(tmp_path), is_live=False), SET)
    assert plan.edits == (FileEdit(modprobe.PATH, None, OURS),)
    assert plan.commands == ()
    assert "make it anew" in plan.advice[0]


@pytest.mark.parametrize(
    ("words", "changed", "place"),
    [
        (None, {}, f"/{modprobe.PATH}:2"),
        ((), {}, f"/{modprobe.PATH}:2"),
        ((Word("ttm.pages-limit=5", "/etc/default/grub:7"),), {}, None),
        (None, {"proc/cmdline": "ttm.pages_limit=5\n"}, None),
        ((), {"proc/cmdline": "ttm.pages_limit=5\n"}, f"/{modprobe.PATH}:2"),
        (None, {BUILTIN: "kernel/drivers/gpu/drm/ttm/ttm.ko\n"}, None),
    ],
)
def test_place_in_force_is_where_the_limit_counts(
    tmp_path: Path, words: tuple[Word, ...] | None, changed: dict[str, str | bytes], place: str | None
) -> None:
    machine = laid(tmp_path, {**BASE, modprobe.PATH: OURS, **changed})
    assert modprobe.place_in_force(read_facts(machine), words) == place
