"""Entries of the Boot Loader Specification: what is read, whose they are, and edits that leave all else as it is."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import lay

from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.kernel_params import bls
from greenboost_py.kernel_params.command_line import split, value_of
from greenboost_py.kernel_params.machine import Machine

ID = "9f4a51c0b5e04a6bb0f5b7c3a1d2e3f4"
OTHER_ID = "0123456789abcdef0123456789abcdef"
ENTRY = b"""# Boot Loader Specification type#1 entry
title      Debian GNU/Linux 12 (bookworm)
version\t6.1.0-28-amd64
  machine-id 9F4A51C0B5E04A6BB0F5B7C3A1D2E3F4
sort-key   debian

#options   commented=1
options    root=LABEL=x ro  quiet\t
options\tconsole=tty0
linux      /debian/6.1.0-28-amd64/linux
initrd     /debian/6.1.0-28-amd64/microcode /debian/6.1.0-28-amd64/initrd
initrd     /extra
grub_class debian
"""


def entry(data: bytes, path: str = "boot/loader/entries/x.conf") -> bls.BlsEntry:
    return bls.parse_entry(path, data)


def machine(root: Path, **files: str) -> Machine:
    lay(root, {"etc/machine-id": f"{ID}\n", **files})
    return Machine(SysRoot(root), False)


def test_parse_entry_reads_every_key_that_matters() -> None:
    read = entry(ENTRY)
    assert read.title == "Debian GNU/Linux 12 (bookworm)"
    assert read.version == "6.1.0-28-amd64"
    assert read.machine_id == ID
    assert read.sort_key == "debian"
    assert read.linux == "/debian/6.1.0-28-amd64/linux"
    assert read.efi is None
    assert read.initrd == ("/debian/6.1.0-28-amd64/microcode", "/debian/6.1.0-28-amd64/initrd", "/extra")
    assert read.options == (bls.OptionsLine(8, "root=LABEL=x ro  quiet"), bls.OptionsLine(9, "console=tty0"))
    assert read.command_line == "root=LABEL=x ro  quiet console=tty0"


def test_parse_entry_of_a_program_has_no_kernel() -> None:
    assert entry(b"title Windows\nefi /shellx64.efi\noptions -nomap\n").linux is None
    assert entry(b"title UKI\nuki /EFI/Linux/x.efi\n").efi == "/EFI/Linux/x.efi"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"options caf\xe9\n", "UTF-8"),
        (b"options a\0b\n", "NUL"),
        (b"options " + b"x" * bls.ENTRY_BYTES_MAX, "bytes"),
    ],
)
def test_parse_entry_of_what_is_none_is_an_error_that_names_it(data: bytes, text: str) -> None:
    with pytest.raises(SensorError, match=rf"^/boot/loader/entries/x\.conf: .*{text}"):
        entry(data)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"options\n", b"options   \n", b"#", b"\xef\xbb\xbf", b" " * 60_000])
def test_parse_entry_of_little_has_no_command_line(data: bytes) -> None:
    assert entry(data).options == ()


@pytest.mark.parametrize(
    ("options", "has"),
    [
        (b"$kernelopts $tuned_params", True),
        (b"root=x ${kernelopts}", True),
        (b"root=x ro $tuned_params", True),
        (b"root=x price=$5", False),
        (b"root=x", False),
    ],
)
def test_has_variables_is_whether_grub_has_to_fill_something_in(options: bytes, has: bool) -> None:
    assert entry(b"linux /x\noptions " + options).has_variables is has


@pytest.mark.parametrize(
    ("name", "stem", "is_rescue"),
    [
        (f"{ID}-0-rescue.conf", f"{ID}-0-rescue", True),
        ("fedora-6.1.conf", "fedora-6.1", False),
        ("fedora-6.1+3.conf", "fedora-6.1", False),
        ("fedora-6.1+2-1.conf", "fedora-6.1", False),
        ("fedora-6.1+rt.conf", "fedora-6.1+rt", False),
    ],
)
def test_stem_is_the_name_without_tries(name: str, stem: str, is_rescue: bool) -> None:
    read = entry(b"linux /x\n", f"efi/loader/entries/{name}")
    assert (read.stem, read.is_rescue) == (stem, is_rescue)


def test_read_entries_reads_a_partition_that_is_seen_twice_once(tmp_path: Path) -> None:
    here = machine(tmp_path, **{"boot/loader/entries/a.conf": "linux /a\n", "efi/loader/entries/b.conf": "linux /b\n"})
    (tmp_path / "boot/efi").mkdir()
    shutil.copytree(tmp_path / "efi/loader", tmp_path / "boot/efi/loader")
    (tmp_path / "efi/loader/entries/.b.conf.greenboost-tmp").touch()
    paths = [read.path for read in bls.read_entries(here)]
    assert paths == ["boot/loader/entries/a.conf", "efi/loader/entries/b.conf"]


@pytest.mark.parametrize(
    ("name", "data", "files", "expected"),
    [
        ("x.conf", f"machine-id {ID}\n", {}, True),
        ("x.conf", f"machine-id {OTHER_ID}\n", {}, False),
        ("x.conf", f"machine-id {ID}\n", {"etc/machine-id": "uninitialized\n"}, None),
        (f"{ID}-6.1.conf", "", {}, True),
        (f"{OTHER_ID}-6.1.conf", "", {}, False),
        ("tok-6.1.conf", "", {"etc/kernel/entry-token": "tok\n", "usr/lib/modules/6.1/modules.dep": ""}, True),
        ("tok-6.1+3-0.conf", "", {"etc/kernel/entry-token": "tok\n", "usr/lib/modules/6.1/modules.dep": ""}, True),
        ("tok-6.2.conf", "", {"etc/kernel/entry-token": "tok\n", "usr/lib/modules/6.1/modules.dep": ""}, None),
        ("debian-6.1.conf", "", {"etc/os-release": 'ID="debian"\n', "lib/modules/6.1/modules.dep": ""}, True),
        ("debian-6.1.conf", "", {"etc/os-release": "ID=arch\n", "lib/modules/6.1/modules.dep": ""}, None),
        ("arch-lts.conf", "", {"etc/os-release": "ID=arch\n", "lib/modules/6.1/modules.dep": ""}, None),
        (f"{OTHER_ID}-6.1.conf", "", {"etc/machine-info": f"KERNEL_INSTALL_MACHINE_ID={OTHER_ID}\n"}, True),
    ],
)
def test_is_of_machine_goes_by_the_machine_id_and_the_name(
    tmp_path: Path, name: str, data: str, files: dict[str, str], expected: bool | None
) -> None:
    read = entry(data.encode(), f"boot/loader/entries/{name}")
    assert bls.is_of_machine(machine(tmp_path, **files), read) is expected


@pytest.mark.parametrize("token", ["../../etc", "-x", "a b", "tok\tx", "é"])
def test_entry_tokens_of_a_hostile_token_has_none_that_is_no_name(tmp_path: Path, token: str) -> None:
    tokens = bls.entry_tokens(machine(tmp_path, **{"etc/kernel/entry-token": f"{token}\n"}))
    assert all("/" not in one and " " not in one for one in tokens)
    assert token.strip() == "-x" or tokens == ()


@pytest.mark.parametrize(
    ("before", "settings", "after"),
    [
        (b"options a b\n", {"c": "1"}, b"options a b c=1\n"),
        (b"options a b", {"c": "1"}, b"options a b c=1"),
        (b"options a b\r\nlinux /x\r\n", {"c": "1"}, b"options a b c=1\r\nlinux /x\r\n"),
        (b"\toptions\ta b \t\n", {"c": "1"}, b"\toptions\ta b c=1 \t\n"),
        (b"options a=1\noptions b\n", {"a": "2", "c": "3"}, b"options a=2\noptions b c=3\n"),
        (b"options a=1 x\noptions b a=3\n", {"a": "2"}, b"options a=2 x\noptions b\n"),
        (b"options a=1 x\noptions b a=3\n", {"a": None}, b"options x\noptions b\n"),
        (b"options a=1\nlinux /x\n", {"a": None}, b"linux /x\n"),
        (b"linux /x\n", {"c": "1"}, b"linux /x\noptions c=1\n"),
        (b"linux /x", {"c": "1"}, b"linux /x\noptions c=1\n"),
        (b"options options=1\n", {"c": "1"}, b"options options=1 c=1\n"),
        (b"options a -- x\noptions y\n", {"c": "1"}, b"options a c=1 -- x\noptions y\n"),
        (b"options a -- x\noptions c=2\n", {"c": "1"}, b"options a c=1 -- x\noptions c=2\n"),
        (b"#options c=1\noptions a\n", {"c": "1"}, b"#options c=1\noptions a c=1\n"),
    ],
)
def test_edit_entry_changes_the_words_and_nothing_else(
    before: bytes, settings: dict[str, str | None], after: bytes
) -> None:
    assert bls.edit_entry(entry(before), settings) == after
    assert bls.edit_entry(entry(after), settings) == after


@pytest.mark.parametrize("options", [b"$kernelopts", b'"root=x ro"', b'"a" b="c"', b'x="a'])
def test_edit_entry_of_what_readers_differ_on_is_refused(options: bytes) -> None:
    with pytest.raises(SensorError, match=r"^/boot/loader/entries/x\.conf: its options"):
        bls.edit_entry(entry(b"linux /x\noptions " + options + b"\n"), {"c": "1"})


def test_edit_entry_that_would_end_within_quotes_is_refused() -> None:
    with pytest.raises(SensorError, match="quotes"):
        bls.edit_entry(entry(b'options "a b" c\n'), {"d": '"e f"'})


WORDS = st.lists(st.sampled_from(["quiet", "ro", "root=LABEL=x", "iommu=pt", "iommu=off", "a=1", "ttm.pages-limit=3"]))


@given(st.lists(WORDS, max_size=4), st.sampled_from([None, "5", ""]), st.sampled_from(["\n", "\r\n"]))
def test_edit_entry_says_what_is_asked_for_and_keeps_all_other_words(
    lines: list[list[str]], value: str | None, end: str
) -> None:
    data = "".join(f"options {' '.join(words)}{end}" for words in lines) + f"linux /x{end}"
    after = entry(bls.edit_entry(entry(data.encode()), {"ttm.pages_limit": value}))
    words = split(after.command_line)
    assert value_of(words, "ttm.pages_limit") == value
    assert [word for word in words if not word.startswith("ttm")] == [
        word for words in lines for word in words if not word.startswith("ttm")
    ]
    assert after.linux == "/x"


@pytest.mark.skipif(shutil.which("bootctl") is None, reason="bootctl is not installed (package systemd-boot)")
def test_parse_entry_reads_what_bootctl_reads(tmp_path: Path) -> None:
    (tmp_path / "loader/entries").mkdir(parents=True)
    (tmp_path / "EFI/systemd").mkdir(parents=True)
    data = b'title\tA  b\nlinux /x\n # no comment here\noptions a  b\t\n\toptions c="d e"\n#options no\noptions  f\n'
    (tmp_path / "loader/entries/x.conf").write_bytes(data)
    script = 'mount --make-rprivate / && mount --bind "$1" "$1" && bootctl --esp-path="$1" list --no-pager'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path)],
        env={"SYSTEMD_RELAX_ESP_CHECKS": "1", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and done.stderr.startswith(("unshare:", "mount:")):
        pytest.skip(f"no private mounts here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    read = entry(data)
    assert f"options: {read.command_line}" in done.stdout
    assert f"title: {read.title}" in done.stdout
