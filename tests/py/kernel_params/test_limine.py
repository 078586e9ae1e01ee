"""Limine: what its tool is told and the menu that it writes, well-formed and hostile."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import lay

from greenboost_py.base.errors import SensorError
from greenboost_py.base.files import Tree
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.kernel_params.bootloaders import limine_conf, limine_defaults
from greenboost_py.kernel_params.bootloaders.limine import Limine
from greenboost_py.kernel_params.cmdline_file import MARK
from greenboost_py.kernel_params.command_line import Settings
from greenboost_py.kernel_params.machine import Machine
from greenboost_py.kernel_params.plan import Plan, is_set

TREES = Path(__file__).parents[2] / "bootloaders"
DROP_IN = "etc/limine-entry-tool.d/90-greenboost.conf"
LAST = "etc/default/limine"
PAGES: Settings = {"ttm.pages_limit": "25165824"}


def machine_with(folder: Path, **files: str) -> Machine:
    """A tree with limine-entry-tool; `last`, `drop_in` and `cmdline` are files of it."""
    shutil.copytree(TREES / "cachyos-limine/root", folder / "root")
    root = folder / "root"
    paths = {"last": LAST, "drop_in": "etc/limine-entry-tool.d/10-user.conf", "cmdline": "etc/kernel/cmdline"}
    (root / LAST).unlink()
    lay(root, {paths[name]: text for name, text in files.items()})
    return Machine(SysRoot(root), is_live=False)


def apply(folder: Path, plan: Plan) -> None:
    tree = Tree(folder / "root")
    for edit in plan.edits:
        if edit.after is None:
            tree.remove(edit.path)
        else:
            tree.make_folders(edit.path)
            tree.write(edit.path, edit.after)


@pytest.mark.parametrize(
    ("line", "key", "appends", "words"),
    [
        ('KERNEL_CMDLINE[default]="quiet rw"', "default", False, ("quiet", "rw")),
        ("KERNEL_CMDLINE[default]+=rw root=UUID=1", "default", True, ("rw", "root=UUID=1")),
        (
            'KERNEL_CMDLINE[default]+=quiet acpi_osi="Windows 2020"',
            "default",
            True,
            ("quiet", 'acpi_osi="Windows 2020"'),
        ),
        ("  KERNEL_CMDLINE[ \"linux-zen\" ] += ' a b '  ", "linux-zen", True, ("a", "b")),
        ("KERNEL_CMDLINE[fallback]=", "fallback", False, ()),
        ("KERNEL_CMDLINE[default]+=quiet\r", "default", True, ("quiet",)),
    ],
)
def test_parse_reads_a_line(line: str, key: str, appends: bool, words: tuple[str, ...]) -> None:
    (found,) = limine_defaults.parse(LAST, f"# comment\n{line}\n")
    assert (found.key, found.appends, found.words, found.number) == (key, appends, words, 2)
    assert found.place == f"/{LAST}:2"


@pytest.mark.parametrize("line", ["", "#KERNEL_CMDLINE[default]=x", "ESP_PATH=/boot", "MY_KERNEL_CMDLINE[default]=x"])
def test_parse_leaves_other_lines_alone(line: str) -> None:
    assert limine_defaults.parse(LAST, line) == ()


@pytest.mark.parametrize(
    "line",
    [
        "KERNEL_CMDLINE[default",
        "KERNEL_CMDLINE=quiet",
        "KERNEL_CMDLINE[default]-=quiet",
        'KERNEL_CMDLINE[default]="quiet',
        'KERNEL_CMDLINE[default]="a" b="c"',
        "KERNEL_CMDLINE[default]='it's'",
        'KERNEL_CMDLINE[default]="',
    ],
)
def test_parse_of_what_is_not_certain_is_an_error(line: str) -> None:
    with pytest.raises(SensorError, match="line 1"):
        limine_defaults.parse(LAST, line)


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ({"last": 'KERNEL_CMDLINE[default]+="quiet rw"\n'}, DROP_IN),
        ({"drop_in": 'KERNEL_CMDLINE[default]+="quiet rw"\n'}, DROP_IN),
        ({"last": 'KERNEL_CMDLINE[default]="quiet rw"\n'}, LAST),
        ({"last": 'KERNEL_CMDLINE[default]="quiet rw"'}, LAST),
        ({"last": 'KERNEL_CMDLINE[default]+="quiet ttm.pages_limit=5"\n'}, LAST),
        ({"drop_in": 'KERNEL_CMDLINE[default]+="quiet ttm.pages_limit=5"\n'}, DROP_IN),
        ({"cmdline": "root=UUID=1 rw\n"}, "etc/kernel/cmdline"),
        ({"cmdline": "root=UUID=1 rw"}, "etc/kernel/cmdline"),
        ({"cmdline": "root=UUID=1 rw\n", "last": "ESP_PATH=/boot\n"}, "etc/kernel/cmdline"),
    ],
)
def test_plan_writes_where_the_words_count(files: dict[str, str], path: str, tmp_path: Path) -> None:
    machine = machine_with(tmp_path, **files)
    before = {edit: machine.text(edit) for edit in (DROP_IN, LAST, "etc/kernel/cmdline")}
    plan = Limine().plan(machine, PAGES)
    assert [edit.path for edit in plan.edits] == [path]
    apply(tmp_path, plan)
    assert is_set(Limine().words(machine) or (), PAGES)
    assert Limine().plan(machine, PAGES) == Plan()
    unset = Limine().plan(machine, {"ttm.pages_limit": None})
    if not any("pages_limit" in text for text in files.values()):
        apply(tmp_path, unset)
        assert {edit: machine.text(edit) for edit in before} == before


def test_plan_keeps_what_the_drop_in_has(tmp_path: Path) -> None:
    machine = machine_with(tmp_path, last='KERNEL_CMDLINE[default]+="quiet"\n')
    apply(tmp_path, Limine().plan(machine, PAGES))
    apply(tmp_path, Limine().plan(machine, {"iommu": "pt"}))
    assert machine.text(DROP_IN) == f'{MARK}KERNEL_CMDLINE[default]+=" ttm.pages_limit=25165824 iommu=pt"\n'
    apply(tmp_path, Limine().plan(machine, {"ttm.pages_limit": None}))
    assert machine.text(DROP_IN) == f'{MARK}KERNEL_CMDLINE[default]+=" iommu=pt"\n'
    apply(tmp_path, Limine().plan(machine, {"iommu": None}))
    assert machine.text(DROP_IN) is None


@pytest.mark.parametrize(
    ("files", "settings", "text"),
    [
        ({"last": 'KERNEL_CMDLINE[default]+="iommu=off"\n'}, {"iommu": None}, "/etc/default/limine:1 says 'iommu=off'"),
        ({"last": "KERNEL_CMDLINE[default]=a\nKERNEL_CMDLINE[linux-zen]=b\n"}, PAGES, "/etc/default/limine:2 is for"),
        ({}, PAGES, "there is no /etc/kernel/cmdline"),
        ({"cmdline": "# my line\nroot=UUID=1\n"}, PAGES, "not a command line"),
        ({"cmdline": "root=UUID=1\nquiet\n"}, PAGES, "more than one line"),
        ({"cmdline": "\n"}, PAGES, "not a command line"),
        ({"cmdline": 'root=UUID=1 a="b\n'}, PAGES, "not a command line"),
        (
            {"last": "KERNEL_CMDLINE[default]+=a\n"},
            {"ttm.pages_limit": '1"\nKERNEL_CMDLINE[default]="'},
            "no parameter",
        ),
        ({"cmdline": "root=UUID=1\n"}, {"ttm.pages_limit": "1\ninit=x"}, "no parameter"),
    ],
)
def test_plan_that_cannot_be_is_an_obstacle(
    files: dict[str, str], settings: Settings, text: str, tmp_path: Path
) -> None:
    plan = Limine().plan(machine_with(tmp_path, **files), settings)
    assert len(plan.obstacles) == 1
    assert text in plan.obstacles[0]
    assert plan.obstacles[0].isprintable()
    assert not plan.edits


@pytest.mark.parametrize("path", [LAST, DROP_IN])
def test_plan_with_a_link_is_an_obstacle(path: str, tmp_path: Path) -> None:
    machine = machine_with(tmp_path, drop_in="KERNEL_CMDLINE[default]+=a\n")
    (tmp_path / "root" / path).symlink_to("elsewhere")
    assert "is a symbolic link" in Limine().plan(machine, PAGES).obstacles[0]


@pytest.mark.parametrize("data", [b"KERNEL_CMDLINE[default]+=a\n# \xff\n", b"KERNEL_CMDLINE[default]=a\n\0"])
def test_plan_with_a_file_that_is_no_text_is_an_obstacle(data: bytes, tmp_path: Path) -> None:
    machine = machine_with(tmp_path)
    (tmp_path / "root" / LAST).write_bytes(data)
    assert Limine().plan(machine, PAGES).obstacles


def test_plan_where_only_our_words_are_left_gives_the_command_line_back(tmp_path: Path) -> None:
    machine = machine_with(tmp_path, last='KERNEL_CMDLINE[default]+="quiet"\n', cmdline="root=UUID=1 rw\n")
    apply(tmp_path, Limine().plan(machine, PAGES))
    (tmp_path / "root" / LAST).write_text("ESP_PATH=/boot\n")
    assert [word.text for word in Limine().words(machine) or ()] == ["ttm.pages_limit=25165824"]
    apply(tmp_path, Limine().plan(machine, PAGES))
    assert machine.text(DROP_IN) is None
    assert machine.text("etc/kernel/cmdline") == "root=UUID=1 rw ttm.pages_limit=25165824\n"


@given(st.text(alphabet=st.sampled_from('aK[]="# \n'), max_size=40))
def test_without_ours_gives_back_what_was_there(text: str) -> None:
    line = f'{MARK}KERNEL_CMDLINE[default]+=" x=1"\n'
    with_ours = text + line if not text or text.endswith("\n") else f"{text}\n{line[:-1]}"
    assert limine_defaults.without_ours(with_ours) == text


def test_entries_are_those_with_a_command_line_and_tell_which_are_for_repairs() -> None:
    machine = Machine(SysRoot(TREES / "cachyos-limine/root"), is_live=False)
    entries = Limine().entries(machine)
    assert entries is not None
    assert [(entry.place, entry.is_recovery) for entry in entries] == [
        ("/boot/limine.conf: CachyOS / linux-cachyos", False),
        ("/boot/limine.conf: CachyOS / Snapshots / 1 | 2025-10-02 20:04:05 / linux-cachyos", True),
    ]
    assert "rootflags=subvol=/@ " in entries[0].command_line


@pytest.mark.parametrize(
    "data",
    [
        b"/x\ncmdline: " + b"a " * (2 << 20),
        b"/x\0\ncmdline: a\n",
        b"/x\ncmdline: a\n" * 5000,
        b"/" * (4 << 20),
    ],
    ids=["4 MiB", "a NUL", "5000 entries", "4 MiB of slashes"],
)
def test_entries_of_a_hostile_menu_are_an_error(data: bytes, tmp_path: Path) -> None:
    machine = machine_with(tmp_path)
    (tmp_path / "root/boot/limine.conf").write_bytes(data)
    with pytest.raises(SensorError):
        Limine().entries(machine)


@given(st.binary(max_size=300))
def test_entries_of_anything_are_entries_or_an_error(data: bytes) -> None:
    class Root(SysRoot):
        def read_bytes(self, path: str, limit_bytes: int = 1 << 22) -> bytes | None:
            return data

    try:
        entries = limine_conf.entries(Machine(Root("/nowhere"), is_live=False), "boot/limine.conf")
    except SensorError:
        return
    assert all(entry.place.startswith("/boot/limine.conf: ") for entry in entries)
