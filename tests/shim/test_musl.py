"""A program without glibc, as in an Alpine image: the library loads, says so once, and is as good as not there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import SANITIZER_RUNTIME, SHIM, environment

pytestmark = [
    pytest.mark.skipif(bool(SANITIZER_RUNTIME), reason="a sanitizer's library has needs of its own"),
    pytest.mark.skipif(shutil.which("musl-gcc") is None, reason="no musl-gcc (Debian: musl-tools)"),
]

SAID = "no glibc in this program (musl, as on Alpine): GreenBoost does nothing in it"

LOOKS_UP = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	void *self = dlopen(NULL, RTLD_NOW);
	int right = dlsym(self, "puts") == (void *)puts && dlsym(RTLD_DEFAULT, "puts") == (void *)puts &&
			dlsym(RTLD_NEXT, "puts") == (void *)puts && dlsym(self, "") == NULL;
	int hidden = dlsym(RTLD_DEFAULT, "cuInit") == NULL && dlerror() != NULL && dlsym(self, "cuMemAlloc_v2") == NULL &&
			dlsym(RTLD_DEFAULT, "nvmlInit_v2") == NULL;
	printf("%d %d\n", right, hidden);
	fflush(stdout);
	return argc > 1 ? system(argv[1]) : 7;
}
"""

LOOKS_LIKE_GLIBC = r"""
#include <dlfcn.h>

const char *gnu_get_libc_version(void) { return "2.36"; }
void *dlvsym(void *handle, const char *name, const char *version) { return version ? dlsym(handle, name) : 0; }
"""

DRIVER = """
int cuInit(unsigned flags) { return 40 + (int)flags; }
int cuMemAlloc_v2(unsigned long long *address, unsigned long bytes) { *address = bytes; return 42; }
"""

USES_DRIVER = r"""
#include <dlfcn.h>
#include <stdio.h>

int cuInit(unsigned flags);

int main(void)
{
	unsigned long long address = 0;
	void *driver = dlopen("libcuda.so.1", RTLD_NOW);
	int (*allocate)(unsigned long long *, unsigned long) = dlsym(driver, "cuMemAlloc_v2");
	int linked = cuInit(1), found = allocate(&address, 5);
	printf("%d %d %llu\n", linked, found, address);
	return 0;
}
"""


def build(folder: Path, name: str, source: str, *flags: str) -> Path:
    (folder / f"{name}.c").write_text(source)
    subprocess.run(["musl-gcc", "-o", folder / name, folder / f"{name}.c", *flags], check=True)
    return folder / name


def run(*command: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment(**settings), capture_output=True, text=True, timeout=60, check=False)


def symbols(library: Path | str, *kinds: str) -> set[str]:
    listing = subprocess.run(["nm", "-D", library], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in listing.splitlines())
    return {row[-1].split("@")[0] for row in rows if row[-2] in kinds}


def test_library_refers_strongly_to_nothing_that_musl_lacks(tmp_path: Path) -> None:
    program = build(tmp_path, "program", LOOKS_UP)
    headers = subprocess.run(["readelf", "-l", program], capture_output=True, text=True, check=True).stdout
    musl = re.search(r"program interpreter: (.*)\]", headers)
    assert musl is not None
    needed = symbols(SHIM, "U")
    assert "mmap" in needed
    assert needed - symbols(musl[1], *"TWVDBRi") == set()


def test_musl_program_gets_right_answers_and_one_line(tmp_path: Path) -> None:
    program = build(tmp_path, "program", LOOKS_UP)
    ended = run(program)
    assert (ended.returncode, ended.stdout) == (7, "1 1\n")
    assert [line.partition("entry: ")[2] for line in ended.stderr.splitlines()] == [SAID]


def test_children_of_a_musl_program_do_not_say_it_again(tmp_path: Path) -> None:
    program = build(tmp_path, "program", LOOKS_UP)
    ended = run(program, f"{program}; {program}")
    assert ended.stdout == "1 1\n" * 3
    assert ended.stderr.count(SAID) == 1


@pytest.mark.parametrize("settings", [{"log": "off"}, {"disable": "1"}])
def test_musl_program_of_a_user_who_wants_no_line_gets_none(tmp_path: Path, settings: dict[str, str]) -> None:
    ended = run(build(tmp_path, "program", LOOKS_UP), **settings)
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "1 1\n", "")


def test_musl_program_with_the_names_of_glibc_is_still_one(tmp_path: Path) -> None:
    """As gcompat gives it: there dlvsym calls dlsym, which is ours."""
    ended = run(build(tmp_path, "program", LOOKS_LIKE_GLIBC + LOOKS_UP, "-rdynamic"))
    assert (ended.returncode, ended.stdout) == (7, "1 1\n")
    assert ended.stderr.count(SAID) == 1


def test_musl_program_that_has_a_driver_calls_it_as_if_nothing_were_there(tmp_path: Path) -> None:
    build(tmp_path, "libcuda.so.1", DRIVER, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1")
    program = build(tmp_path, "program", USES_DRIVER, str(tmp_path / "libcuda.so.1"))
    ended = run(program, LD_LIBRARY_PATH=str(tmp_path), vram_limit="1")
    assert (ended.returncode, ended.stdout) == (0, "41 42 5\n"), ended.stderr
    assert ended.stderr.count(SAID) == 1
