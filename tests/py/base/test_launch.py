import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from greenboost_py.base import launch
from greenboost_py.base.errors import CannotRunError, LibraryError, ProgramNotFoundError

Compile = Callable[..., Path]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A dynamic program of this machine's, of our own."""
    true = shutil.which("true")
    if true is None:
        pytest.skip("this machine has no true(1)")
    path = tmp_path / "program"
    shutil.copyfile(true, path)
    path.chmod(0o755)
    return path


def script(path: Path, first_line: str) -> Path:
    path.write_text(f"{first_line}\nexit 0\n")
    path.chmod(0o755)
    return path


def patched(source: Path, target: Path, offset: int, data: bytes) -> Path:
    content = bytearray(source.read_bytes())
    content[offset : offset + len(data)] = data
    target.write_bytes(content)
    target.chmod(0o755)
    return target


# find_program


def test_find_program_takes_the_first_that_can_be_executed(tmp_path: Path) -> None:
    for folder in "abc":
        (tmp_path / folder).mkdir()
    (tmp_path / "a/tool").write_text("not executable")
    first = script(tmp_path / "b/tool", "#!/bin/sh")
    script(tmp_path / "c/tool", "#!/bin/sh")
    assert launch.find_program("tool", f"{tmp_path}/none:{tmp_path}/a:{tmp_path}/b:{tmp_path}/c") == str(first)


def test_find_program_with_an_empty_folder_looks_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "tool", "#!/bin/sh")
    monkeypatch.chdir(tmp_path)
    assert launch.find_program("tool", "/nowhere:") == "./tool"


def test_find_program_with_a_slash_is_not_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "tool", "#!/bin/sh")
    monkeypatch.chdir(tmp_path)
    assert launch.find_program("./tool", "/nowhere") == "./tool"


@pytest.mark.parametrize("name", ["no-such-program", "", "/no/such/program", "nul\0name", "x" * 5000])
def test_find_program_that_is_nowhere_is_not_found(name: str, tmp_path: Path) -> None:
    with pytest.raises(ProgramNotFoundError, match="there is no such program"):
        launch.find_program(name, str(tmp_path))


def test_find_program_that_cannot_be_executed_says_why(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("")
    with pytest.raises(CannotRunError, match=r"tool is not executable.*chmod \+x"):
        launch.find_program("tool", str(tmp_path))
    (tmp_path / "folder").mkdir()
    with pytest.raises(CannotRunError, match="folder is a directory"):
        launch.find_program(str(tmp_path / "folder"), "")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CannotRunError, match="pipe is not a regular file"):
        launch.find_program(str(tmp_path / "pipe"), "")


# check_loads


def test_check_loads_lets_a_dynamic_program_through(program: Path, library: Path) -> None:
    launch.check_loads(str(program), library)


def test_check_loads_of_a_static_program_says_so(compile_c: Compile, tmp_path: Path, library: Path) -> None:
    static = compile_c(tmp_path / "static", "int main(void) { return 0; }", "-static")
    with pytest.raises(CannotRunError, match="static is linked statically"):
        launch.check_loads(str(static), library)


def test_check_loads_of_another_architecture_names_both(program: Path, tmp_path: Path, library: Path) -> None:
    other = patched(program, tmp_path / "other", 18, b"\x16\x00")  # e_machine: s390x
    with pytest.raises(CannotRunError, match=r"other is s390x, and GreenBoost's library is for \S+"):
        launch.check_loads(str(other), library)


def test_check_loads_of_a_32_bit_program_says_so(tmp_path: Path, library: Path) -> None:
    small = tmp_path / "small"
    small.write_bytes(b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x02\x00\x03\x00" + bytes(32))
    with pytest.raises(CannotRunError, match="small is 32-bit, for i386"):
        launch.check_loads(str(small), library)


def test_check_loads_of_a_truncated_program_says_so(program: Path, library: Path) -> None:
    os.truncate(program, 70)
    with pytest.raises(CannotRunError, match="program: it is cut short"):
        launch.check_loads(str(program), library)


def test_check_loads_of_a_file_of_unknown_format_leaves_it_to_the_kernel(tmp_path: Path, library: Path) -> None:
    launch.check_loads(str(script(tmp_path / "text", "echo no first line")), library)
    launch.check_loads(str(script(tmp_path / "nobody", "#!")), library)


def test_check_loads_of_a_script_looks_at_its_interpreter(compile_c: Compile, tmp_path: Path, library: Path) -> None:
    launch.check_loads(str(script(tmp_path / "good", "#! /bin/sh -e")), library)
    static = compile_c(tmp_path / "static", "int main(void) { return 0; }", "-static")
    with pytest.raises(CannotRunError, match=r"bad: its interpreter .*/static is linked statically"):
        launch.check_loads(str(script(tmp_path / "bad", f"#!{static}")), library)
    with pytest.raises(CannotRunError, match=r"worse: its interpreter .*/static is linked statically"):
        launch.check_loads(str(script(tmp_path / "worse", f"#!{tmp_path / 'bad'} -x")), library)


def test_check_loads_of_a_script_without_its_interpreter_is_not_found(tmp_path: Path, library: Path) -> None:
    with pytest.raises(ProgramNotFoundError, match="its interpreter '/no/such/python' does not exist"):
        launch.check_loads(str(script(tmp_path / "script", "#!/no/such/python")), library)


def test_check_loads_of_a_script_with_an_unusable_interpreter_says_why(tmp_path: Path, library: Path) -> None:
    with pytest.raises(CannotRunError, match="its interpreter cannot be run: /tmp is a directory"):
        launch.check_loads(str(script(tmp_path / "script", "#!/tmp")), library)


def test_check_loads_of_a_script_that_interprets_itself_ends(tmp_path: Path, library: Path) -> None:
    path = tmp_path / "script"
    with pytest.raises(CannotRunError, match="and so on"):
        launch.check_loads(str(script(path, f"#!{path}")), library)


def some_other_user(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.statvfs(path).f_flag & os.ST_NOSUID:
        pytest.skip("temporary files are on a nosuid file system")
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    monkeypatch.setattr(os, "getgid", lambda: 54321)


@pytest.mark.parametrize(("mode", "word"), [(0o4755, "setuid"), (0o2755, "setgid")])
def test_check_loads_of_a_privileged_program_says_so(
    program: Path, library: Path, monkeypatch: pytest.MonkeyPatch, mode: int, word: str
) -> None:
    program.chmod(mode)
    launch.check_loads(str(program), library)  # its owner gains nothing by it
    some_other_user(program, monkeypatch)
    with pytest.raises(CannotRunError, match=f"program is {word}: the system loads no foreign library"):
        launch.check_loads(str(program), library)


def test_check_loads_of_a_program_with_capabilities_says_so(
    program: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # struct vfs_cap_data, revision 2 with the effective flag: cap_net_raw.
    capabilities = (0x02000001).to_bytes(4, "little") + (1 << 13).to_bytes(4, "little") + bytes(12)
    try:
        os.setxattr(program, "security.capability", capabilities)
    except OSError as error:
        pytest.skip(f"file capabilities cannot be set here: {error.strerror}")
    some_other_user(program, monkeypatch)
    with pytest.raises(CannotRunError, match="program is given capabilities by its file"):
        launch.check_loads(str(program), library)


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"", "is not a library"), (b"text", "is not a library"), (b"\x7fELF", "cut short")]
)
def test_check_loads_with_a_broken_library_says_so(
    program: Path, tmp_path: Path, content: bytes, complaint: str
) -> None:
    (tmp_path / "lib.so").write_bytes(content)
    with pytest.raises(LibraryError, match=f"lib.so.*{complaint}"):
        launch.check_loads(str(program), tmp_path / "lib.so")


def test_check_loads_with_a_library_for_another_machine_says_so(program: Path, tmp_path: Path, library: Path) -> None:
    other = patched(library, tmp_path / "lib.so", 18, b"\x16\x00")
    with pytest.raises(LibraryError, match=r"lib\.so is for s390x, and this machine runs"):
        launch.check_loads(str(program), other)


# preload


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        ("", "/a/lib.so"),
        ("/x.so", "/a/lib.so:/x.so"),
        ("/x.so /y.so", "/a/lib.so:/x.so:/y.so"),
        (" :/x.so::", "/a/lib.so:/x.so"),
        ("/a/lib.so", "/a/lib.so"),
        ("/x.so:/a/lib.so:/y.so", "/a/lib.so:/x.so:/y.so"),
        ("libjemalloc.so.2", "/a/lib.so:libjemalloc.so.2"),
    ],
)
def test_preload_puts_the_library_first_and_keeps_the_rest(existing: str, expected: str) -> None:
    assert launch.preload(Path("/a/lib.so"), existing) == expected


@pytest.mark.parametrize("path", ["/a b/lib.so", "/a:b/lib.so"])
def test_preload_of_a_path_that_cannot_be_said_is_an_error(path: str) -> None:
    with pytest.raises(LibraryError, match="a blank or a colon cannot be in LD_PRELOAD"):
        launch.preload(Path(path), "")
