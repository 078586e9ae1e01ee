import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from greenboost_py.base.errors import GreenboostError
from greenboost_py.base.files import Tree
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.cli import cdi

SPEC, AT_BOOT = "etc/cdi/greenboost.json", "etc/tmpfiles.d/greenboost-cdi.conf"
Run = Callable[..., Result]


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A machine's root, open to all, with a library in it."""
    host = tmp_path / "host"
    library = host / "opt/lib/libgreenboost.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"\x7fELF\0libc.so.6\0")
    for folder in (library, *library.parents):
        if folder.is_relative_to(tmp_path):
            folder.chmod(0o755)
    return host


@pytest.fixture
def run(host: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `greenboost cdi` on that machine."""
    monkeypatch.setattr(cdi, "SysRoot", lambda root="/": SysRoot(host if root == "/" else root))
    monkeypatch.setattr(cdi, "Tree", lambda root="/": Tree(host if root == "/" else root))
    monkeypatch.setattr(cdi, "closed_to_others", lambda places: None)
    monkeypatch.setenv("GREENBOOST_LIBRARY", str(host / "opt/lib/libgreenboost.so"))
    monkeypatch.delenv("GREENBOOST_SOCKET", raising=False)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cdi.command, arguments, standalone_mode=False)

    return run


def files(host: Path) -> dict[str, str]:
    return {
        str(file.relative_to(host)): file.read_text()
        for file in host.rglob("*")
        if file.is_file() and "lib" not in file.parts
    }


def test_generate_prints_the_spec_and_writes_nothing(run: Run, host: Path, tmp_path: Path) -> None:
    done = run("generate", "--host-limit", "32GiB", "--no-disable", "--socket", f"{tmp_path}/lease.sock")
    environment = json.loads(done.stdout)["devices"][0]["containerEdits"]["env"]
    assert {"GREENBOOST_HOST_LIMIT=32GiB", "GREENBOOST_DISABLE=0"} <= set(environment)
    assert f"note: no daemon listens at {tmp_path}/lease.sock" in done.stderr
    assert files(host) == {}


def test_install_writes_the_spec_says_what_is_next_and_does_it_once(run: Run, host: Path) -> None:
    done = run("install")
    assert done.exception is None
    assert done.stdout.splitlines()[:2] == [f"wrote /{AT_BOOT}", f"wrote /{SPEC}"]
    assert "--device greenboost.dev/gpu=all" in done.stdout.splitlines()[2]
    assert (host / "run/greenboost").is_dir()
    assert (host / SPEC).stat().st_mode & 0o777 == 0o644
    before = files(host)
    assert before[AT_BOOT].splitlines()[1] == "d /run/greenboost 0755 - - -"
    assert run("install").stdout.startswith(f"Nothing to change: /{SPEC} is in place.\n")
    assert files(host) == before
    assert run("install", "--vram-limit", "1GiB").stdout.startswith(f"wrote /{SPEC}\n")


def test_dry_run_shows_what_would_be_done_and_does_nothing(run: Run, host: Path) -> None:
    shown = run("install", "--dry-run").stdout
    assert shown.startswith(f"would write /{AT_BOOT}\nwould write /{SPEC}\n{{\n")
    assert files(host) == {}
    assert not (host / "run").exists()
    run("install")
    assert run("remove", "--dry-run").stdout == f"would remove /{SPEC}\n"
    assert SPEC in files(host)


def test_remove_takes_away_what_install_wrote_and_is_content_with_nothing(run: Run, host: Path) -> None:
    run("install")
    assert run("remove").stdout == f"removed /{SPEC}\nremoved /{AT_BOOT}\n"
    assert files(host) == {}
    assert run("remove").stdout == f"Nothing to remove: there is no /{SPEC}.\n"


@pytest.mark.parametrize("command", ["install", "remove"])
def test_file_of_somebody_elses_is_left_alone_without_force(run: Run, host: Path, command: str) -> None:
    (host / SPEC).parent.mkdir(parents=True)
    (host / SPEC).write_text('{"kind": "other.org/gpu"}')
    refused = run(command)
    assert isinstance(refused.exception, GreenboostError)
    assert f"/{SPEC} is not a spec of greenboost's" in str(refused.exception)
    assert files(host) == {SPEC: '{"kind": "other.org/gpu"}'}
    assert run(command, "--force").exception is None
    assert "other.org" not in "".join(files(host).values())


def test_copy_of_the_library_is_what_is_mounted_and_is_replaced_by_rename(run: Run, host: Path) -> None:
    run("install", "--copy-library", "/srv/greenboost")
    copy = host / "srv/greenboost/libgreenboost.so"
    assert '"hostPath": "/srv/greenboost/libgreenboost.so"' in files(host)[SPEC]
    assert copy.read_bytes() == b"\x7fELF\0libc.so.6\0"
    with copy.open("rb") as old:
        (host / "opt/lib/libgreenboost.so").write_bytes(b"\x7fELF newer\0libc.so.6\0")
        assert run("install", "--copy-library", "/srv/greenboost").stdout.startswith(
            "wrote /srv/greenboost/libgreenboost.so\n"
        )
        assert old.read() == b"\x7fELF\0libc.so.6\0"
    assert copy.read_bytes() == b"\x7fELF newer\0libc.so.6\0"


def test_ceilings_are_mounted_from_the_install_on_that_finds_them(run: Run, host: Path) -> None:
    run("install")
    assert '"/etc/greenboost/ceilings"' not in files(host)[SPEC]
    (host / "etc/greenboost").mkdir()
    (host / "etc/greenboost/ceilings").write_text("HOST_LIMIT=1GiB\n")
    assert run("install").stdout.startswith(f"wrote /{SPEC}\n")
    assert '"/etc/greenboost/ceilings"' in files(host)[SPEC]


def test_root_of_another_host_gets_the_hosts_paths_and_nothing_for_boot(run: Run, host: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    done = run("install", "--root", str(other), "--copy-library", "/opt/gb", "--directory", "/var/run/cdi")
    assert (done.exception, done.stderr) == (None, "")
    assert {str(file.relative_to(other)) for file in other.rglob("*") if file.is_file()} == {
        "opt/gb/libgreenboost.so",
        "var/run/cdi/greenboost.json",
    }
    assert '"hostPath": "/opt/gb/libgreenboost.so"' in (other / "var/run/cdi/greenboost.json").read_text()
    assert files(host) == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("install", "--root", "/"), "--copy-library"),
        (("install", "--root", "/nonexistent"), "there is no such folder"),
        (("install", "--copy-library", "lib"), "write an absolute path"),
        (("install", "--directory", "cdi"), "write an absolute path"),
        (("install", "--socket", "/run/lease.sock"), "its whole directory /run would be in every container"),
        (("generate", "--socket", "/lease.sock"), "its whole directory / would be in every container"),
        (("generate", "--host-limit", "lots"), "--host-limit"),
        (("remove", "--directory", "cdi"), "write an absolute path"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_writes_nothing(
    run: Run, host: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = run(*arguments)
    assert done.exception is not None
    text = getattr(done.exception, "message", str(done.exception))
    assert said in text
    assert "\n" not in text
    assert files(host) == {}


def test_library_that_no_container_could_load_is_refused(run: Run, host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = host / "opt/lib/libgreenboost.so"
    library.write_bytes(b"\x7fELF\0libc.musl-x86_64.so.1\0")
    assert "is not linked to glibc" in str(run("install").exception)
    library.unlink()
    assert "there is no such file" in str(run("install").exception)
    assert files(host) == {}


def test_library_in_a_closed_folder_is_refused_and_may_be_copied(
    run: Run, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cdi, "closed_to_others", lambda places: "/root" if "opt/lib" in places[0] else None)
    refused = run("install")
    assert "/root is closed to other users" in str(refused.exception)
    assert "--copy-library DIR" in str(refused.exception)
    assert files(host) == {}
    assert run("install", "--copy-library", "/srv/greenboost").exception is None


def test_socket_of_the_environment_that_is_no_path_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENBOOST_SOCKET", "lease.sock")
    assert str(run("install").exception) == "GREENBOOST_SOCKET=lease.sock: not an absolute path"
