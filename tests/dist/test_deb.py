"""What the .deb holds, and that it does not depend on where and when it was built."""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

import debian
import pytest
from harness import ROOT
from packages import Packages, run, version
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from greenboost_py.service.layout import SYSTEM, Rights, service_files

PLACE = "usr/lib/greenboost"
LOCK = ROOT / "scripts/dist/deb/requirements.lock"
EXECUTABLES = {f"{PLACE}/bin/greenboost"}


@pytest.fixture(scope="session")
def deb(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, as `make deb` builds it."""
    return debian.build(packages.wheel, tmp_path_factory.mktemp("deb"))


@pytest.fixture(scope="session")
def tree(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in it."""
    return debian.unpack(deb, tmp_path_factory.mktemp("tree") / "tree")


def site(tree: Path) -> Path:
    (found,) = (tree / PLACE / "lib").glob("python3.*/site-packages")
    return found


def test_deb_is_named_and_described_as_debian_does(deb: Path) -> None:
    architecture = run(["dpkg", "--print-architecture"]).strip()
    assert deb.name == f"greenboost_{version()}-1_{architecture}.deb"
    control = Parser().parsestr(run(["dpkg-deb", "--field", deb]))
    assert (control["Package"], control["Version"], control["Architecture"]) == (
        "greenboost",
        f"{version()}-1",
        architecture,
    )
    major, minor = map(int, run(["/usr/bin/python3", "-c", "import sys; print(*sys.version_info[:2])"]).split())
    needed = re.split(", *", control["Depends"])
    assert {f"python3 (>= {major}.{minor})", f"python3 (<< {major}.{minor + 1})"} <= set(needed)
    assert any(one.startswith("libc6 (>= ") for one in needed)


def test_deb_holds_every_file_of_the_wheel(packages: Packages, tree: Path) -> None:
    with zipfile.ZipFile(packages.wheel) as wheel:
        names = [name for name in wheel.namelist() if name.startswith("greenboost_py/") and not name.endswith("/")]
        assert len(names) > 250
        for name in names:
            held = (site(tree) / name).read_bytes()
            assert held == wheel.read(name) or name.endswith(".so"), name
    assert {str(path.relative_to(site(tree))) for path in (site(tree) / "greenboost_py").rglob("*.*")} <= {
        str(parent) for name in names for parent in (Path(name), *Path(name).parents)
    }


def test_deb_holds_nothing_that_others_may_write_or_that_gives_rights(deb: Path) -> None:
    data = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = archive.getmembers()
    assert {(member.uid, member.gid) for member in members} == {(0, 0)}
    assert [member.name for member in members if member.mode & 0o7022 and not member.issym()] == []
    assert {
        member.name.removeprefix("./") for member in members if member.isfile() and member.mode & 0o111
    } == EXECUTABLES


def test_deb_has_each_file_in_debians_place(tree: Path) -> None:
    pages = {path.name for path in (tree / "usr/share/man/man1").iterdir()}
    assert pages == {f"{path.name}.gz" for path in (ROOT / "docs/man").iterdir()}
    overview = gzip.decompress((tree / "usr/share/man/man1/greenboost.1.gz").read_bytes())
    assert overview == (ROOT / "docs/man/greenboost.1").read_bytes()
    for path in ("bash-completion/completions/greenboost", "zsh/vendor-completions/_greenboost"):
        assert "_GREENBOOST_COMPLETE" in (tree / "usr/share" / path).read_text()
    assert "_GREENBOOST_COMPLETE" in (tree / "usr/share/fish/vendor_completions.d/greenboost.fish").read_text()
    assert (tree / "DEBIAN/conffiles").read_text() == "/etc/greenboost/config.toml\n"
    assert (tree / "etc/greenboost/config.d").is_dir()
    assert (
        os.path.normpath(tree / PLACE / "bin" / (tree / PLACE / "bin/python3").readlink()) == f"{tree}/usr/bin/python3"
    )
    assert not list(tree.rglob("*.pyc"))


def test_service_of_the_deb_is_the_one_that_is_installed_without_it(tree: Path) -> None:
    (unit,) = tree.glob("**/systemd/system/greenboostd.service")
    there = {
        SYSTEM.unit: unit,
        SYSTEM.notifier: tree / "usr/lib/systemd/user/greenboost-notify.service",
        SYSTEM.accounts: tree / "usr/lib/sysusers.d/greenboost.conf",
        "etc/dbus-1/system.d/org.greenboost.conf": tree / "usr/share/dbus-1/system.d/org.greenboost.conf",
        SYSTEM.configuration: tree / SYSTEM.configuration,
    }
    files = {file.path: file.text for file in service_files(SYSTEM, "/usr/bin/greenboost", [], Rights())}
    assert files.keys() == there.keys()
    for path, text in files.items():
        said = there[path].read_text()
        assert said == text.replace('Written by "greenboost service install".', "From the package greenboost."), path
    assert there[SYSTEM.accounts].read_text() in (tree / "DEBIAN/preinst").read_text()


def test_every_library_of_the_deb_comes_with_its_licence(tree: Path) -> None:
    libraries = {path.name.partition("-")[0] for path in site(tree).glob("*.dist-info")} - {"greenboost"}
    folder = tree / "usr/share/doc/greenboost/third-party"
    said = {
        path.name.partition(".")[0]: gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for path in folder.iterdir()
    }
    assert said.keys() == libraries
    for name, text in said.items():
        assert b"copyright" in text.lower() or b"Licence: BSD" in text, name


def test_deb_is_clean_to_lintian(deb: Path) -> None:
    debian.need("lintian")
    done = subprocess.run(
        ["lintian", "--allow-root", "--tag-display-limit=0", str(deb)], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stdout.splitlines() if not line.startswith("N:")] == []
    assert done.returncode == 0


def test_deb_built_elsewhere_at_another_time_has_the_same_bytes(deb: Path, packages: Packages, tmp_path: Path) -> None:
    settings = {"TZ": "Asia/Kolkata", "LC_ALL": "C", "DPKG_DEB_THREADS_MAX": "1"}
    other = debian.build(packages.wheel, tmp_path / "a longer name of a folder", umask=0o077, **settings)
    assert hashlib.sha256(other.read_bytes()).hexdigest() == hashlib.sha256(deb.read_bytes()).hexdigest()


def locked() -> dict[str, str]:
    lines = [line for line in LOCK.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def test_libraries_of_the_deb_are_those_of_the_lock(tree: Path) -> None:
    found = {}
    for path in site(tree).glob("*.dist-info/METADATA"):
        metadata = Parser().parsestr(path.read_text("utf-8"))
        found[canonicalize_name(metadata["Name"])] = metadata["Version"]
    assert found.pop("greenboost") == version()
    assert found == locked()
    assert (tree / "usr/share/doc/greenboost/requirements.lock").read_text() == LOCK.read_text()


def test_lock_is_what_the_project_asks_for() -> None:
    have = locked()
    left_out = set(re.findall("^# ([a-z0-9-]+): ", LOCK.read_text(), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for text in project["dependencies"]:
        wanted = Requirement(text)
        name = canonicalize_name(wanted.name)
        assert name in left_out or have[name] in wanted.specifier, text


def test_libraries_of_the_deb_have_what_they_ask_for(tree: Path) -> None:
    left_out = set(re.findall("^# ([a-z0-9-]+): ", LOCK.read_text(), re.MULTILINE))
    for path in site(tree).glob("*.dist-info/METADATA"):
        for text in Parser().parsestr(path.read_text("utf-8")).get_all("Requires-Dist") or ():
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                name = canonicalize_name(wanted.name)
                assert name in left_out or locked()[name] in wanted.specifier, f"{path.parent.name}: {text}"


def test_build_without_debians_tools_says_which_and_is_no_error_where_it_is_optional(tmp_path: Path) -> None:
    command = [
        sys.executable,
        ROOT / "scripts/dist/deb/build.py",
        "--wheel",
        "x",
        "--work",
        tmp_path,
        "--out",
        tmp_path,
    ]
    for options, code in (([], 1), (["--optional"], 0)):
        done = subprocess.run(
            [*command, *options], env={"PATH": "/nowhere"}, capture_output=True, text=True, check=False
        )
        said = "make: no .deb without debhelper, dpkg-dev (Debian, Ubuntu: apt-get install debhelper dpkg-dev)\n"
        assert (done.returncode, done.stdout + done.stderr) == (code, said)


# In a Debian of its own


CLIENT = """
import sys
from cuda.bindings import driver

def check(result):
    assert result[0] == driver.CUresult.CUDA_SUCCESS, result
    return result[1] if len(result) > 1 else None

check(driver.cuInit(0))
check(driver.cuCtxSetCurrent(check(driver.cuDevicePrimaryCtxRetain(check(driver.cuDeviceGet(0))))))
blocks = [check(driver.cuMemAlloc(16 << 20)) for _ in range(4)]
print("holds", flush=True)
for line in sys.stdin:
    blocks.append(check(driver.cuMemAlloc(16 << 20)))
    check(driver.cuMemFree(blocks.pop(0)))
    print("holds", flush=True)
for block in blocks:
    check(driver.cuMemFree(block))
print("holds nothing", flush=True)
"""

MODULES = "cffi click jeepney pynvml rich.console gguf.constants prometheus_client.core cuda.bindings.driver yaml"


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[debian.Root]:
    """A Debian without the package; nobody changes it."""
    folder = tmp_path_factory.mktemp("root")
    yield debian.make_root(folder / "root")
    shutil.rmtree(folder)


@pytest.fixture
def root(bare: debian.Root, tmp_path: Path) -> Iterator[debian.Root]:
    """One that may be changed."""
    run(["cp", "--archive", "--reflink=auto", bare.folder, tmp_path / "root"])
    yield debian.Root(tmp_path / "root")
    shutil.rmtree(tmp_path / "root")


def watch_sysusers(root: debian.Root) -> Path:
    """Has systemd-sysusers write down whether the bus could see its policy when it ran."""
    tool = root.folder / "usr/bin/systemd-sysusers"
    tool.rename(tool.with_suffix(".real"))
    tool.write_text(
        "#!/bin/sh\n[ -e /usr/share/dbus-1/system.d/org.greenboost.conf ] && echo seen || echo unseen >>/tmp/order\n"
        'exec /usr/bin/systemd-sysusers.real "$@"\n'
    )
    tool.chmod(0o755)
    return root.folder / "tmp/order"


def test_install_and_purge_leave_a_system_as_it_was(root: debian.Root, deb: Path) -> None:
    order = watch_sysusers(root)
    files, accounts = root.files(), root.accounts()
    root.install(deb)
    assert order.read_text().splitlines()[0] == "unseen"
    passwd = (root.folder / "etc/passwd").read_text()
    assert re.search("^greenboost:x:[0-9]+:[0-9]+:GreenBoost's daemon:/:/usr/sbin/nologin$", passwd, re.MULTILINE)
    links = [root.folder / link for link in SYSTEM.links]
    assert all(link.is_symlink() and (root.folder / str(link.readlink()).lstrip("/")).is_file() for link in links)
    mine = root.folder / "etc/greenboost/config.d/10-mine.toml"
    mine.write_text("")
    root.run("apt-get", "remove", "--yes", "--quiet", "greenboost")
    assert not (root.folder / PLACE).exists()
    assert (root.folder / SYSTEM.configuration).exists() and mine.exists()
    root.run("apt-get", "purge", "--yes", "--quiet", "greenboost")
    assert root.files() == files
    assert root.accounts() == accounts


def test_installed_command_works_whatever_the_user_has_of_python(root: debian.Root, deb: Path) -> None:
    root.install(deb)
    assert root.run("greenboost", "--version") == f"greenboost {version()}\n"
    assert root.run("man", "-w", "greenboost").strip() == "/usr/share/man/man1/greenboost.1.gz"
    python = f"/{PLACE}/bin/python3"
    root.run(python, "-I", "-c", "".join(f"import {name}\n" for name in MODULES.split()))
    trap = root.folder / "tmp/trap"
    for name in ("click", "greenboost_py"):
        (trap / name).mkdir(parents=True)
        (trap / name / "__init__.py").write_text("raise SystemExit('somebody else')")
    home = root.folder / "root/.local/lib/python3.11/site-packages/click"
    home.mkdir(parents=True)
    (home / "__init__.py").write_text("raise SystemExit('the user')")
    assert root.run("greenboost", "--version", PYTHONPATH="/tmp/trap").startswith("greenboost ")
    shown = json.loads(root.run("greenboost", "service", "status", "--json"))
    assert (shown["installed"], shown["package"]) == (True, "/usr/lib/systemd/system/greenboostd.service")
    compiled = list((root.folder / PLACE).glob("lib/*/site-packages/click/__pycache__/*.pyc"))
    assert compiled, "every start would compile"


def test_run_of_an_installed_command_lets_a_program_overflow(root: debian.Root, deb: Path) -> None:
    root.install(deb)
    driver = root.bring_driver()
    command = [f"/{PLACE}/bin/python3", "-c", CLIENT]
    settings = {"LD_LIBRARY_PATH": driver, "FAKECUDA_VRAM": "40MiB"}
    without = subprocess.run(
        root.command(*command),
        env=root.environment(**settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert b"CUDA_ERROR_OUT_OF_MEMORY" in without.stderr
    process = root.start("greenboost", "run", "--", *command, **settings)
    assert process.communicate() == ("holds\nholds nothing\n", None)
    assert process.returncode == 0


def test_upgrade_leaves_a_running_programs_library_whole(root: debian.Root, deb: Path, tmp_path: Path) -> None:
    root.install(deb)
    newer = debian.bump(deb, tmp_path, "99.0-1")
    (library,) = (root.folder / PLACE).rglob("libgreenboost.so")
    before = library.stat().st_ino
    settings = {"LD_LIBRARY_PATH": root.bring_driver(), "FAKECUDA_VRAM": "40MiB"}
    process = root.start("greenboost", "run", "--", f"/{PLACE}/bin/python3", "-c", CLIENT, **settings)
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == "holds\n"
        with library.open("rb") as held:
            old = held.read()
            root.install(newer)
            held.seek(0)
            assert held.read() == old
        assert library.stat().st_ino != before
        assert library.read_bytes() == old + b"\0"
        process.stdin.write("again\n")
        process.stdin.flush()
        assert process.stdout.readline() == "holds\n"
    finally:
        out, _ = process.communicate()
    assert (out, process.returncode) == ("holds nothing\n", 0)
    assert "99.0-1" in root.run("dpkg-query", "--show", "greenboost")


def test_rights_and_services_of_others_are_taken_back_with_the_package(root: debian.Root, deb: Path) -> None:
    unit = root.folder / "etc/systemd/system/other.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    files = root.files()
    root.install(deb)
    root.run("greenboost", "service", "install", "--root", "/", "--allow-terminate")
    root.run("greenboost", "service", "enable", "other", "--root", "/", "--yes")
    grown = {str(path.relative_to(root.folder)) for path in (root.folder / "etc/systemd/system").rglob("*.conf")}
    assert grown >= {SYSTEM.drop_ins["terminate"], "etc/systemd/system/other.service.d/90-greenboost.conf"}
    assert not (root.folder / SYSTEM.unit).exists()
    root.run("apt-get", "purge", "--yes", "--quiet", "greenboost")
    assert root.files() == files


def test_package_takes_the_place_of_a_service_that_was_installed_without_it(root: debian.Root, deb: Path) -> None:
    files = root.files()
    shell = "greenboost_py.cli.main"
    source = f"import sys; sys.argv[1:] = {['service', 'install', '--root', str(root.folder), '--executable', '/opt/greenboost']}"
    run([sys.executable, "-c", f"{source}; from {shell} import main; main()"])
    link = root.folder / SYSTEM.links[0]
    link.symlink_to(f"/{SYSTEM.unit}")
    root.run("systemd-sysusers", f"/{SYSTEM.accounts}")
    root.install(deb)
    for path in (SYSTEM.unit, SYSTEM.notifier, SYSTEM.accounts, SYSTEM.record):
        assert path is not None
        assert not (root.folder / path).exists(), path
    assert str(link.readlink()).endswith("lib/systemd/system/greenboostd.service")
    assert "ExecStart=/usr/bin/greenboost" in (root.folder / "usr/lib/systemd/system/greenboostd.service").read_text()
    root.run("apt-get", "purge", "--yes", "--quiet", "greenboost")
    left = root.files()
    assert {path for path in left.keys() - files.keys() if "greenboost" in path} == set()
