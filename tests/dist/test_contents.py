"""What is in the packages, and what they ask of a machine."""

import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import check_wheel
import pytest
import sources
from harness import ROOT
from packages import Packages, build, copy_tree, version

LIBRARY = "greenboost_py/lib/libgreenboost.so"


@pytest.fixture
def library(packages: Packages, tmp_path: Path) -> Path:
    """The wheel's library, unpacked."""
    with zipfile.ZipFile(packages.wheel) as archive:
        return Path(archive.extract(LIBRARY, tmp_path))


def test_wheel_is_for_one_platform_and_any_python(packages: Packages) -> None:
    with zipfile.ZipFile(packages.wheel) as archive:
        said = archive.read(f"greenboost-{version()}.dist-info/WHEEL").decode()
    tag = re.search("^Tag: (.*)$", said, re.MULTILINE)
    assert tag is not None and packages.wheel.name == f"greenboost-{version()}-{tag[1]}.whl"
    assert tag[1].startswith("py3-none-manylinux_2_28_")
    assert "Root-Is-Purelib: false" in said


def test_wheel_needs_no_newer_glibc_than_its_name_says(packages: Packages) -> None:
    needed = check_wheel.check(packages.wheel)
    assert needed.startswith("manylinux_2_"), needed


def test_wheel_with_a_symbol_that_is_too_new_is_found(packages: Packages, tmp_path: Path) -> None:
    (tmp_path / "new.c").write_text("#include <pthread.h>\nvoid *f(void) { return pthread_attr_setsigmask_np; }\n")
    compiled = ["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", tmp_path / "new.so", tmp_path / "new.c"]
    if subprocess.run(compiled, capture_output=True).returncode:
        pytest.skip("this glibc is older than 2.32: nothing in it is newer than what the name says")
    bad = tmp_path / packages.wheel.name
    with zipfile.ZipFile(packages.wheel) as good, zipfile.ZipFile(bad, "w") as archive:
        for entry in good.infolist():
            archive.writestr(
                entry, (tmp_path / "new.so").read_bytes() if entry.filename == LIBRARY else good.read(entry)
            )
    with pytest.raises(check_wheel.WheelError, match=r"made for manylinux_2_28_\w+, but needs .*GLIBC_2\.3[24]"):
        check_wheel.check(bad)


def test_wheel_has_manual_pages_completion_licence_and_what_prometheus_reads(packages: Packages) -> None:
    with zipfile.ZipFile(packages.wheel) as archive:
        share = f"greenboost-{version()}.data/data/share"
        held = {name.removeprefix(f"{share}/"): archive.read(name) for name in archive.namelist() if share in name}
        assert (ROOT / "LICENSE").read_bytes() == archive.read(f"greenboost-{version()}.dist-info/licenses/LICENSE")
    completion = {
        "bash-completion/completions/greenboost": "bash/greenboost",
        "zsh/site-functions/_greenboost": "zsh/_greenboost",
        "fish/vendor_completions.d/greenboost.fish": "fish/greenboost.fish",
    }
    expected = {f"man/man1/{page.name}": page for page in (ROOT / "docs/man").iterdir()}
    expected |= {place: ROOT / "docs/completion" / source for place, source in completion.items()}
    expected |= {f"greenboost/prometheus/{file.name}": file for file in (ROOT / "scripts/prometheus").iterdir()}
    expected |= {f"greenboost/grafana/{file.name}": file for file in (ROOT / "docs/grafana").glob("*.json")}
    assert held == {place: source.read_bytes() for place, source in expected.items()}


def test_wheel_has_every_module_of_the_checkout(packages: Packages) -> None:
    with zipfile.ZipFile(packages.wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("greenboost_py/") and name.endswith(".py")}
    assert held == {
        str(path) for path in sources.files(ROOT) if path.parts[0] == "greenboost_py" and path.suffix == ".py"
    }


def test_library_has_a_build_id_and_nothing_of_who_built_it(library: Path) -> None:
    notes = subprocess.run(["readelf", "--notes", library], capture_output=True, text=True, check=True).stdout
    assert re.search(r"Build ID: [0-9a-f]{16,}", notes)
    content = library.read_bytes()
    assert [path for path in (str(ROOT), "/tmp/", "/home/", "/root/") if path.encode() in content] == []


def test_sdist_has_sources_alone(packages: Packages) -> None:
    with tarfile.open(packages.sdist) as archive:
        members = archive.getmembers()
    prefix = f"greenboost-{version()}/"
    names = {member.name.removeprefix(prefix) for member in members}
    assert {"PKG-INFO", ".source-date-epoch", "pyproject.toml", "shim/hooks.def", "tests/shim/harness.py"} <= names
    assert names - {"PKG-INFO", ".source-date-epoch"} == {str(path) for path in sources.files(ROOT)}
    assert [name for name in names if name.startswith("build/") or name.endswith((".so", ".o", ".pyc"))] == []
    assert [member.name for member in members if member.issym() and member.linkname.startswith("/")] == []
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members} == {(0, 0, "", "")}


def test_version_is_in_one_place(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree")
    place = tree / "greenboost_py/__init__.py"
    place.write_text(place.read_text().replace(version(), "7.8.9"))
    build(tree, tmp_path, "--sdist")
    with tarfile.open(tmp_path / "greenboost-7.8.9.tar.gz") as archive:
        info = archive.extractfile("greenboost-7.8.9/PKG-INFO")
        assert info is not None and b"\nVersion: 7.8.9\n" in info.read()


def test_no_other_file_names_the_version() -> None:
    """But for the changelog, and pictures and recordings of what was."""
    looked_at = [path for path in sources.files(ROOT) if path.parts[0] != "tests" and path.suffix != ".svg"]
    named = [str(path) for path in looked_at if re.search(rf"(?<![\w.]){re.escape(version())}(?![\w.])", text_of(path))]
    assert set(named) <= {"greenboost_py/__init__.py", "CHANGELOG.md"}


def text_of(path: Path) -> str:
    return "" if (ROOT / path).is_symlink() else (ROOT / path).read_text()
