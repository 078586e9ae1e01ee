"""GRUB's two mechanisms on awkward files: sourcing the result with sh gives the old value and our words, no more."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import lay

from greenboost_py.base.errors import SensorError
from greenboost_py.base.files import Tree
from greenboost_py.base.sysroot import READ_BYTES_MAX, SysRoot
from greenboost_py.kernel_params.bootloaders import grub_menu
from greenboost_py.kernel_params.bootloaders.grub import Grub
from greenboost_py.kernel_params.bootloaders.grub_drop_in import GrubDropIn
from greenboost_py.kernel_params.command_line import Settings, split
from greenboost_py.kernel_params.machine import Machine
from greenboost_py.kernel_params.plan import Bootloader, Plan, is_set

BASE, DROP_IN = "etc/default/grub", "etc/default/grub.d/90-greenboost.cfg"
MENU = "boot/grub/grub.cfg"
NAME = "GRUB_CMDLINE_LINUX_DEFAULT"
WORD = "ttm.pages_limit=25165824"
SET: Settings = {"ttm.pages_limit": "25165824"}
UNSET: Settings = {"ttm.pages_limit": None}
COMMENT = '# Written by greenboost kernel-params; "greenboost kernel-params unset" removes it.'
LINES = f'{COMMENT}\n{NAME}="${NAME} {WORD}"'
TOOL = {False: "", True: 'for x in ${sysconfdir}/default/grub.d/*.cfg ; do\n  . "${x}"\ndone\n'}
BOTH = pytest.mark.parametrize("bootloader", [GrubDropIn(), Grub()], ids=["drop-in", "bare"])


class Bed:
    """A tree with a system that boots by GRUB."""

    def __init__(self, root: Path, bootloader: Bootloader, base: bytes | str | None) -> None:
        self.root = root
        self.bootloader = bootloader
        if base is not None:
            self.write(BASE, base)
        self.write("usr/sbin/grub-mkconfig", TOOL[isinstance(bootloader, GrubDropIn)])
        self.write(MENU, "### BEGIN /etc/grub.d/10_linux ###\n### END /etc/grub.d/10_linux ###\n")

    def write(self, path: str, data: bytes | str) -> None:
        lay(self.root, {path: data})

    def read(self, path: str) -> bytes | None:
        place = self.root / path
        return place.read_bytes() if place.exists() else None

    @property
    def machine(self) -> Machine:
        return Machine(SysRoot(self.root), is_live=False)

    def plan(self, settings: Settings) -> Plan:
        return self.bootloader.plan(self.machine, settings)

    def apply(self, settings: Settings) -> Plan:
        plan = self.plan(settings)
        assert plan.obstacles == ()
        tree = Tree(self.root)
        for edit in plan.edits:
            assert edit.before == self.read(edit.path)
            if edit.after is None:
                tree.remove(edit.path)
            else:
                tree.make_folders(edit.path)
                tree.write(edit.path, edit.after)
        return plan

    def words(self) -> list[str] | None:
        words = self.bootloader.words(self.machine)
        return None if words is None else [word.text for word in words]

    def sourced(self, name: str = NAME) -> bytes | None:
        """What a variable is once sh has sourced the files, as mkconfig does; None: the shell has ended before."""
        script = (
            f"exec 3>&1; {{ . ./{BASE}; for x in ./etc/default/grub.d/*.cfg; do "
            f'if [ -e "$x" ]; then . "$x"; fi; done; }} >/dev/null 2>&1; printf "[%s]" "${name}" >&3'
        )
        done = subprocess.run(
            ["/bin/sh", "-c", script], cwd=self.root, env={"PATH": "/nonexistent"}, capture_output=True, check=False
        )
        return done.stdout[1:-1] if done.stdout.endswith(b"]") else None


AWKWARD: dict[str, str | bytes] = {
    "single quotes and an append": f"{NAME}='quiet splash'\n{NAME}=\"${NAME} loglevel=3\"\n",
    "bare": f"{NAME}=quiet\n",
    "escaped quotes": f'{NAME}="quiet dyndbg=\\"file drivers/usb/* +p\\""\n',
    "comments with quotes": f'{NAME}="quiet" # it\'s "quiet\n# don\'t\n',
    "continuation": f'{NAME}="quiet \\\n  splash"\n',
    "carriage returns": f'{NAME}="quiet"\r\n\r\nGRUB_TIMEOUT=5\r\n',
    "no final newline": f'{NAME}="quiet"',
    "no final newline after a comment": f"{NAME}=quiet\n# the end",
    "tabs": f"\t{NAME}='quiet\tsplash'\t\n",
    "empty": "",
    "empty lines": "\n\n\n",
    "only a comment": "# nothing",
    "repeated": f"{NAME}=a\n{NAME}=b\n{NAME}=c\n",
    "reference to what is not set": f'{NAME}="$NOT_SET quiet"\n',
    "operator": f'{NAME}="${{X:-y}} quiet"\n',
    "backquotes": f"GRUB_DISTRIBUTOR=`lsb_release -i -s 2> /dev/null || echo Debian`\n{NAME}=quiet\n",
    "substitution in it": f'{NAME}="quiet $(echo root=x)"\n',
    "UTF-8": f"# Größe, 終\n{NAME}='quiet é=終'\n",
    "1 MiB": f"# {'x' * (1 << 20)}\n{NAME}=quiet\n",
    "long value": f"{NAME}='{'a=b ' * 500}'\n",
    "other file's form": f"  export {NAME}='quiet'\n",
    "set, then unset": f"{NAME}=quiet\nunset {NAME}\n",
    "in a condition": f"if [ -e /no/such ]; then {NAME}=a; else {NAME}=b; fi\n",
    "semicolons": f"GRUB_TIMEOUT=1;{NAME}=quiet;GRUB_DEFAULT=0;\n",
    "the other variable": 'GRUB_CMDLINE_LINUX="rootwait"\n',
    "both": f'{NAME}="$GRUB_CMDLINE_LINUX quiet"\nGRUB_CMDLINE_LINUX="rootwait"\n',
    "dollar signs": f"{NAME}='quiet $vt_handoff'\n",
    "here-document": f"cat <<'E'\n{NAME}='\nE\n{NAME}=quiet\n",
    "hostile": f"{NAME}='quiet $(touch hostile) `touch hostile`'\n",
    "group": f"{{ {NAME}=quiet; }}\n",
    "lines that look like ours": f'# {NAME}="${NAME} {WORD}"\n{NAME}=quiet\n',
}


@BOTH
@pytest.mark.parametrize("case", AWKWARD)
def test_set_in_an_awkward_file_adds_our_words_for_sh_and_unset_gives_back_the_bytes(
    bootloader: Bootloader, case: str, tmp_path: Path
) -> None:
    bed = Bed(tmp_path, bootloader, AWKWARD[case])
    before, value, words = bed.read(BASE), bed.sourced(), bed.words()
    assert value is not None
    if words is not None:
        always = bed.sourced("GRUB_CMDLINE_LINUX")
        assert always is not None
        assert tuple(words) == (*split(always.decode()), *split(value.decode()))

    bed.apply(SET)
    assert bed.sourced() == value + f" {WORD}".encode()
    assert bed.words() == (None if words is None else [*words, WORD])
    assert bed.plan(SET) == Plan()

    bed.apply({"ttm.pages_limit": "1", "iommu": "pt"})
    assert bed.sourced() == value + b" ttm.pages_limit=1 iommu=pt"

    bed.apply({"ttm.pages_limit": None, "iommu": None})
    assert bed.read(BASE) == before
    assert bed.read(DROP_IN) is None
    assert not (tmp_path / "hostile").exists()


HOPELESS = {
    "open quote": (f"{NAME}='quiet\n", ":1: a quote that is not closed"),
    "exit": (f"{NAME}=quiet\nexit 0\n", ":2: exit"),
    "exit in a condition": ("# a\nif true; then exit; fi\n", ":2: exit"),
    "open condition": ("if true; then\nX=1\n", ":3: a syntax error"),
    "readonly, assigned": (f"readonly {NAME}=a\n{NAME}=b\n", f":2: {NAME}, which is read-only"),
    "NUL": (f"{NAME}=a\n\0\n", ":2: a NUL byte"),
    "open here-document": ("cat <<E\n", ":1: a here-document that is not closed"),
}


@BOTH
@pytest.mark.parametrize("case", HOPELESS)
def test_plan_for_a_file_that_ends_the_shell_is_an_obstacle_that_says_where(
    bootloader: Bootloader, case: str, tmp_path: Path
) -> None:
    text, expected = HOPELESS[case]
    bed = Bed(tmp_path, bootloader, text)
    plan = bed.plan(SET)
    assert len(plan.obstacles) == 1
    assert plan.obstacles[0].startswith(f"/{BASE}{expected}")
    assert not plan.edits
    assert not plan.commands
    assert bed.words() is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{NAME}=a \\", ":1: a backslash at the end"),
        ("return\n", ":1: return"),
        (". ./other\n", ":1: '.', which only a shell can follow"),
        (f"# a\nreadonly {NAME}=a\n", f":2: {NAME}, which is read-only"),
    ],
)
def test_plan_of_grub_where_nothing_can_be_appended_is_an_obstacle(tmp_path: Path, text: str, expected: str) -> None:
    (obstacle,) = Bed(tmp_path, Grub(), text).plan(SET).obstacles
    assert obstacle.startswith(f"/{BASE}{expected}")
    assert WORD in obstacle


@pytest.mark.parametrize("text", [f"{NAME}=a\nreturn\n", f"{NAME}=a\n. ./other 2>/dev/null || true\n"])
def test_plan_of_a_drop_in_after_a_file_that_only_returns_is_made(tmp_path: Path, text: str) -> None:
    assert Bed(tmp_path, GrubDropIn(), text).plan(SET).edits


def test_plan_of_grub_for_a_link_is_an_obstacle(tmp_path: Path) -> None:
    bed = Bed(tmp_path, Grub(), None)
    bed.write("etc/grub.real", "")
    (tmp_path / "etc/default").mkdir(parents=True)
    (tmp_path / BASE).symlink_to("../grub.real")
    assert bed.plan(SET).obstacles == (f"/{BASE} is a symbolic link: put a file in its place, then run this again",)


def test_plan_of_a_drop_in_beside_a_link_is_made(tmp_path: Path) -> None:
    bed = Bed(tmp_path, GrubDropIn(), None)
    bed.write("etc/grub.real", f"{NAME}=quiet\n")
    (tmp_path / "etc/default").mkdir(parents=True)
    (tmp_path / BASE).symlink_to("../grub.real")
    bed.apply(SET)
    assert bed.words() == ["quiet", WORD]


def test_plan_of_a_drop_in_that_is_a_link_is_an_obstacle(tmp_path: Path) -> None:
    bed = Bed(tmp_path, GrubDropIn(), "")
    (tmp_path / DROP_IN).parent.mkdir()
    (tmp_path / DROP_IN).symlink_to("/etc/passwd")
    assert bed.plan(SET).obstacles == (f"/{DROP_IN} is a symbolic link: remove it, then run this again",)


def test_plan_of_grub_for_a_file_that_is_not_utf_8_is_an_obstacle(tmp_path: Path) -> None:
    (obstacle,) = Bed(tmp_path, Grub(), b"# a\n# gr\xf6\xdfe\n").plan(SET).obstacles
    assert obstacle.startswith(f"/{BASE}:2 is not UTF-8")


def test_plan_of_a_drop_in_beside_a_file_that_is_not_utf_8_is_made(tmp_path: Path) -> None:
    bed = Bed(tmp_path, GrubDropIn(), b"# gr\xf6\xdfe\nGRUB_CMDLINE_LINUX_DEFAULT=quiet\n")
    bed.apply(SET)
    assert bed.words() == ["quiet", WORD]


@BOTH
def test_plan_for_a_file_without_end_is_an_error(bootloader: Bootloader, tmp_path: Path) -> None:
    bed = Bed(tmp_path, bootloader, b"#" * READ_BYTES_MAX)
    with pytest.raises(SensorError, match=f"^/{BASE}: it is longer than 4 MiB"):
        bed.plan(SET)


LATER = {
    f'{NAME}="quiet"\n': f"/etc/default/grub.d/zz.cfg:1 sets {NAME} anew",
    f"# a\n{NAME}=\n": f"/etc/default/grub.d/zz.cfg:2 sets {NAME} anew",
    f"if true; then {NAME}=a; fi\n": "/etc/default/grub.d/zz.cfg:1: whether",
    f'{NAME}="${NAME} ttm.pages_limit=5"\n': "/etc/default/grub.d/zz.cfg:1 says ttm.pages_limit=5",
    "exit\n": "/etc/default/grub.d/zz.cfg:1: exit",
    "X='\n": "/etc/default/grub.d/zz.cfg:1: a quote that is not closed",
}


@pytest.mark.parametrize("text", LATER)
def test_plan_of_a_drop_in_that_a_later_one_makes_void_is_an_obstacle(tmp_path: Path, text: str) -> None:
    bed = Bed(tmp_path, GrubDropIn(), "")
    bed.write("etc/default/grub.d/zz.cfg", text)
    (obstacle,) = bed.plan(SET).obstacles
    assert obstacle.startswith(LATER[text])


@pytest.mark.parametrize("name", ["50-cloudimg-settings.cfg", "89.cfg", "zz.cfg.disabled", ".zz.cfg"])
def test_plan_of_a_drop_in_after_one_that_assigns_is_made(tmp_path: Path, name: str) -> None:
    bed = Bed(tmp_path, GrubDropIn(), f"{NAME}=splash\n")
    bed.write(f"etc/default/grub.d/{name}", f"{NAME}=quiet\n")
    bed.apply(SET)
    words = bed.words()
    assert words is not None
    assert words[-1] == WORD
    sourced = bed.sourced()
    assert sourced is not None
    assert sourced.decode().split() == words


@BOTH
@pytest.mark.parametrize("hiding", ['"quiet --"', "'dyndbg=\"open'"])
def test_plan_where_what_stands_before_hides_our_words_is_an_obstacle(
    bootloader: Bootloader, hiding: str, tmp_path: Path
) -> None:
    (obstacle,) = Bed(tmp_path, bootloader, f"# a\n{NAME}={hiding}\n").plan(SET).obstacles
    assert obstacle.startswith(f"/{BASE}:2 ends in -- or opens a quote")


@BOTH
def test_plan_for_somebody_elses_words_appends_for_modules_and_refuses_otherwise(
    bootloader: Bootloader, tmp_path: Path
) -> None:
    text = f"GRUB_CMDLINE_LINUX='ttm.pages_limit=5'\n{NAME}='iommu=soft amdgpu.gttsize=7'\n"
    bed = Bed(tmp_path, bootloader, text)
    assert bed.plan(UNSET).obstacles == (f"/{BASE}:1 says ttm.pages_limit=5: remove it there, then run this again",)
    assert bed.plan({"iommu": "pt"}).obstacles == (f"/{BASE}:2 says iommu=soft: remove it there, then run this again",)
    assert bed.plan({"iommu": "soft", "ttm.pages_limit": "5"}) == Plan()
    bed.apply({**SET, "amdgpu.gttsize": "8"})
    assert bed.words() == ["ttm.pages_limit=5", "iommu=soft", "amdgpu.gttsize=7", WORD, "amdgpu.gttsize=8"]
    assert is_set(bootloader.words(bed.machine) or (), {**SET, "amdgpu.gttsize": "8"})
    bed.apply({"ttm.pages_limit": "5", "amdgpu.gttsize": "7"})
    assert bed.read(BASE) == text.encode()
    assert bed.read(DROP_IN) is None


@BOTH
@pytest.mark.parametrize(
    "value", ["1 init=/bin/sh", "$(touch x)", "`x`", '"', "'", "\\", "1\n2", "a;b", "\x1b[2J", "é"]
)
def test_plan_refuses_values_that_mean_something_to_a_shell(bootloader: Bootloader, value: str, tmp_path: Path) -> None:
    plan = Bed(tmp_path, bootloader, "").plan({"ttm.pages_limit": value})
    assert len(plan.obstacles) == 1
    assert plan.obstacles[0].isprintable()


@pytest.mark.parametrize("end", ["", "\n", "X=1\n", "# a"])
def test_plan_of_grub_finds_its_lines_wherever_they_are(tmp_path: Path, end: str) -> None:
    bed = Bed(tmp_path, Grub(), f"{NAME}=quiet\n{LINES}\n{end}")
    assert bed.plan(SET) == Plan()
    bed.apply(UNSET)
    assert bed.read(BASE) == f"{NAME}=quiet\n{end}".encode()


def test_plan_of_grub_whose_lines_were_made_void_moves_them_to_the_end(tmp_path: Path) -> None:
    bed = Bed(tmp_path, Grub(), f"{LINES}\n{NAME}=quiet\n")
    bed.apply(SET)
    assert bed.read(BASE) == f"{NAME}=quiet\n{LINES}\n".encode()


@pytest.mark.parametrize(
    "text",
    [
        f"{COMMENT}\n{NAME}=quiet\n",
        f"# a\n{COMMENT}",
        f'{COMMENT}\r\n{NAME}="${NAME} {WORD}"\r\n',
        f"{LINES}\n{LINES}\n",
        f'{COMMENT}\n{NAME}="${NAME} $(touch x)"\n',
    ],
)
def test_plan_for_our_lines_changed_by_hand_is_an_obstacle(tmp_path: Path, text: str) -> None:
    (obstacle,) = Bed(tmp_path / "bare", Grub(), text).plan(UNSET).obstacles
    assert obstacle.startswith(f"/{BASE}, line ")
    bed = Bed(tmp_path / "drop-in", GrubDropIn(), "")
    bed.write(DROP_IN, text)
    assert bed.plan(UNSET).obstacles == (f"/{DROP_IN} is not as it was written: move it away, then run this again",)


@BOTH
def test_plan_without_a_menu_of_mkconfigs_is_an_obstacle(bootloader: Bootloader, tmp_path: Path) -> None:
    bed = Bed(tmp_path, bootloader, "")
    bed.write(MENU, "menuentry 'by hand' {\n\tlinux /vmlinuz\n}\n")
    (obstacle,) = bed.plan(SET).obstacles
    assert obstacle.startswith(f"/{MENU} was not written by grub-mkconfig")
    (tmp_path / MENU).unlink()
    (obstacle,) = bed.plan(SET).obstacles
    assert obstacle.startswith(f"/{MENU} is not there")


@BOTH
def test_detect_needs_the_tool_and_its_configuration(bootloader: Bootloader, tmp_path: Path) -> None:
    bed = Bed(tmp_path, bootloader, "")
    assert bootloader.detect(bed.machine)
    other = Grub() if isinstance(bootloader, GrubDropIn) else GrubDropIn()
    assert other.detect(bed.machine) is None
    assert other.plan(bed.machine, SET).obstacles
    (tmp_path / BASE).unlink()
    assert bootloader.detect(bed.machine) is None
    assert bootloader.words(bed.machine) is None
    assert bootloader.entries(bed.machine) is None


@BOTH
@pytest.mark.parametrize(
    ("path", "text"),
    [
        (BASE, "GRUB_ENABLE_BLSCFG=true\n"),
        (BASE, 'GRUB_ENABLE_BLSCFG="true"\n. ./other\n'),
        (MENU, "### BEGIN /etc/grub.d/10_linux ###\ninsmod blscfg\nblscfg\n### END /etc/grub.d/10_linux ###\n"),
        ("usr/sbin/grubby", ""),
    ],
)
def test_detect_where_entries_are_files_of_their_own_is_none(
    bootloader: Bootloader, path: str, text: str, tmp_path: Path
) -> None:
    bed = Bed(tmp_path, bootloader, "")
    bed.write("boot/loader/entries/a.conf", "title a\n")
    assert bootloader.detect(bed.machine)
    bed.write(path, text)
    assert bootloader.detect(bed.machine) is None


def test_entries_of_a_menu_are_those_of_this_systems_kernels() -> None:
    text = Path(__file__).parents[2].joinpath("bootloaders/ubuntu-grub/root", MENU).read_text()
    entries = grub_menu.menu_entries(text, "/m")
    assert entries is not None
    root = "root=UUID=0e1f6f8e-9d2b-44a6-a3f5-6f0b7a3c9d10 ro"
    normal = (
        f"{root} quiet splash crashkernel=2G-4G:320M,4G-32G:512M,32G-64G:1024M,64G-128G:2048M,128G-:4096M $vt_handoff"
    )
    assert [(entry.place, entry.command_line, entry.is_recovery) for entry in entries] == [
        ("/m: Ubuntu", normal, False),
        ("/m: Advanced options for Ubuntu>Ubuntu, with Linux 6.8.0-49-generic", normal, False),
        (
            "/m: Advanced options for Ubuntu>Ubuntu, with Linux 6.8.0-49-generic (recovery mode)",
            f"{root} recovery nomodeset dis_ucode_ldr",
            True,
        ),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("linux /v a=b  c", "a=b c"),
        ("linux16 /v 'a b' c", '"a b" c'),
        ('linuxefi /v dyndbg="file x +p"', '"dyndbg=file x +p"'),
        ("linux /v a\\ b", '"a b"'),
        ("linux /v a # comment", "a"),
        ("linux /v a#b", "a#b"),
        ("linux /v it\\'s", "it\\'s"),
        ('linux /v "a\\"b"', 'a\\"b'),
        ("linux /v", ""),
    ],
)
def test_entries_have_the_command_line_as_the_kernel_is_given_it(line: str, expected: str) -> None:
    menu = (
        f"### BEGIN /etc/grub.d/10_linux ###\nmenuentry 'It'\\''s' {{\n\t{line}\n}}\n### END /etc/grub.d/10_linux ###\n"
    )
    entries = grub_menu.menu_entries(menu, "/m")
    assert entries is not None
    assert [(entry.place, entry.command_line) for entry in entries] == [("/m: It's", expected)]


@given(st.text(max_size=200))
def test_entries_of_any_text_are_entries_or_none(text: str) -> None:
    menu = f"### BEGIN /etc/grub.d/10_linux ###\n{text}\n### END /etc/grub.d/10_linux ###\n"
    entries = grub_menu.menu_entries(menu, "/m")
    assert entries is None or all(entry.place.startswith("/m: ") for entry in entries)


LINE = st.tuples(
    st.sampled_from([f"{NAME}=", f"{NAME}=", "GRUB_CMDLINE_LINUX=", f"export {NAME}="]),
    st.lists(
        st.sampled_from([
            "'quiet splash'", '"quiet"', f'"${NAME} a=b"', f"${NAME}", "x.y=1", "\\ ", "$(echo q)", "'it \"is\"'", '""',
            '"a \\\nb"', "'c\nd'", "é", "`echo r`", '"${X:-y}"', '"\\$z"',
        ]),
        max_size=3,
    ).map("".join),
    st.sampled_from(["", " # it's", ";", "\r", " \\\n", "\t"]),
).map("".join)  # fmt: skip
FILE = st.tuples(
    st.lists(st.one_of(LINE, st.sampled_from(["", "# a 'b", "if true; then :; fi", LINES])), max_size=6, unique=True),
    st.sampled_from(["", "\n", "\n\n"]),
).map(lambda pair: "\n".join(pair[0]) + pair[1])


@BOTH
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(base=FILE)
def test_set_in_any_file_adds_our_words_for_sh_and_unset_gives_back_the_bytes(
    bootloader: Bootloader, tmp_path_factory: pytest.TempPathFactory, base: str
) -> None:
    is_bare = isinstance(bootloader, Grub)
    text = base.replace(LINES, "#")
    bed = Bed(tmp_path_factory.mktemp("any"), bootloader, text)
    value = bed.sourced()
    plan = bed.plan(SET)
    if plan.obstacles:
        assert is_bare
        assert text.rstrip("\n").endswith("\\")
        return
    assert value is not None
    bed.apply(SET)
    assert bed.sourced() == value + f" {WORD}".encode()
    assert bed.plan(SET) == Plan()
    if is_bare:
        after = bed.read(BASE)
        assert after is not None
        assert after.startswith(text.encode())
    bed.apply(UNSET)
    assert bed.read(BASE) == text.encode()
    assert bed.read(DROP_IN) is None
