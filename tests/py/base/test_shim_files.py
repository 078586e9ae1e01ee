from pathlib import Path

import pytest

from greenboost_py.base import shim_files
from greenboost_py.base.errors import InstallError, LibraryError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package, in an empty folder."""
    folder = tmp_path / "greenboost_py"
    folder.mkdir()
    monkeypatch.setattr(shim_files, "package_dir", lambda: folder)
    return folder


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def test_shim_file_of_this_checkout_is_the_source_itself(repository: Path) -> None:
    assert shim_files.shim_file("options.def") == repository / "shim" / "options.def"


def test_shim_file_prefers_what_was_installed_with_the_package(package: Path) -> None:
    put(package.parent / "shim/options.def")
    installed = put(package / "_shim/options.def")
    assert shim_files.shim_file("options.def") == installed


def test_shim_file_in_neither_place_names_where_it_should_be(package: Path) -> None:
    with pytest.raises(InstallError, match=r"_shim/options\.def is missing"):
        shim_files.shim_file("options.def")


def test_library_is_the_one_that_the_environment_names(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(package / "lib/libgreenboost.so")
    named = put(tmp_path / "other.so")
    monkeypatch.chdir(tmp_path)
    assert shim_files.library({"GREENBOOST_LIBRARY": "other.so"}) == named


def test_library_that_the_environment_names_wrongly_is_an_error(package: Path) -> None:
    put(package / "lib/libgreenboost.so")
    with pytest.raises(LibraryError, match="GREENBOOST_LIBRARY=/nowhere: there is no such file"):
        shim_files.library({"GREENBOOST_LIBRARY": "/nowhere"})


def test_library_is_the_installed_one_before_the_built_one(package: Path) -> None:
    built = put(package.parent / "build/libgreenboost.so")
    assert shim_files.library({"GREENBOOST_LIBRARY": ""}) == built
    installed = put(package / "lib/libgreenboost.so")
    assert shim_files.library({}) == installed


def test_library_not_built_in_a_checkout_says_how(package: Path) -> None:
    put(package.parent / "Makefile")
    with pytest.raises(LibraryError, match="run 'make build'"):
        shim_files.library({})


def test_library_missing_from_an_installation_says_install_again(package: Path) -> None:
    with pytest.raises(LibraryError, match="install greenboost again"):
        shim_files.library({})
