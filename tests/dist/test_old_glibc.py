"""The library of the wheel, which is built on whatever glibc is here, on glibc 2.31."""

import zipfile
from pathlib import Path

import pytest
from old_glibc import NotHereError, OldGlibc, make_artifacts, unpack
from packages import Packages

CARD = {"FAKECUDA_VRAM": "64MiB"}

GCONV_MODULE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <gconv.h>
#include <stdio.h>
int gconv(void) { return __GCONV_NOCONV; }
int gconv_init(struct __gconv_step *step)
{
	printf("%s %s\\n", dlsym(RTLD_DEFAULT, "puts") ? "found" : "lost", dlsym(RTLD_DEFAULT, "cuInit") ? "driver" : "none");
	step->__min_needed_from = step->__max_needed_from = step->__min_needed_to = step->__max_needed_to = 1;
	return __GCONV_OK;
}
"""
"""What glibc loads by itself into a program that has no libdl, and that brings it along."""

CONVERTS = '#include <iconv.h>\nint main(void) { return iconv_open("UTF-8", "GREENBOOST") == (iconv_t)-1; }\n'


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> OldGlibc:
    try:
        return unpack(tmp_path_factory.mktemp("glibc"))
    except NotHereError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def made(old: OldGlibc, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is compiled against it: clients, the simulated driver, and the library once more."""
    folder = tmp_path_factory.mktemp("made")
    make_artifacts(old, folder)
    return folder


@pytest.fixture(params=["of the wheel", "compiled there"])
def library(request: pytest.FixtureRequest, packages: Packages, made: Path, tmp_path: Path) -> Path:
    if request.param == "compiled there":
        return made / "libgreenboost.so"
    with zipfile.ZipFile(packages.wheel) as archive:
        return Path(archive.extract("greenboost_py/lib/libgreenboost.so", tmp_path))


@pytest.mark.parametrize("door", ["linked", "dlopened", "proc_address", "rtld_default", "threads"])
def test_client_overflows_and_is_right(old: OldGlibc, made: Path, library: Path, door: str) -> None:
    command = [made / "clients" / door, "--vram", "64MiB"]
    ended = old.run(command, library, made / "fake_driver", **CARD)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1].startswith("ok"), ended.stdout
    if door != "threads":
        assert old.run(command, None, made / "fake_driver", **CARD).returncode != 0, "it needs no host memory"


def test_program_without_cuda_is_the_same(old: OldGlibc, made: Path, library: Path) -> None:
    alone, with_it = (old.run([made / "clients/plain"], each, made / "fake_driver") for each in (None, library))
    assert (with_it.returncode, with_it.stdout, with_it.stderr) == (0, alone.stdout, "")


def test_program_without_libdl_is_the_same(old: OldGlibc, made: Path, library: Path, tmp_path: Path) -> None:
    program = old.compile('#include <stdio.h>\nint main(void) { puts("here"); return 7; }\n', tmp_path / "plain")
    ended = old.run([program], library, made / "fake_driver", GREENBOOST_LOG="debug")
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "here\n", "")


def test_module_that_brings_libdl_along_later_finds_what_it_looks_for(
    old: OldGlibc, made: Path, library: Path, tmp_path: Path
) -> None:
    old.compile(GCONV_MODULE, tmp_path / "GREENBOOST.so", "-shared", "-fPIC", "-Wl,--no-as-needed", "-ldl")
    (tmp_path / "gconv-modules").write_text("module GREENBOOST// INTERNAL GREENBOOST 1\n")
    program = old.compile(CONVERTS, tmp_path / "converts")
    for preload in (None, library):
        ended = old.run([program], preload, made / "fake_driver", GCONV_PATH=str(tmp_path))
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "found none\n", ""), preload
