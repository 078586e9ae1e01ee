import os
from pathlib import Path

import pytest
from trees import lay

from greenboost_py.base.errors import GreenboostError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.service.layout import SYSTEM, user_layout
from greenboost_py.service.units import Unit, find_unit, unit_name

ETC, USR = "etc/systemd/system", "usr/lib/systemd/system"
OLLAMA = "[Service]\nExecStart=/usr/local/bin/ollama serve\nUser=ollama\n"


def put(root: Path, path: str, text: str) -> Path:
    lay(root, {path: text})
    return root / path


def find(root: Path, name: str = "ollama.service") -> Unit:
    return find_unit(SysRoot(root), SYSTEM, name)


@pytest.mark.parametrize("given", ["ollama", "ollama.service", "a@b", "foo@", "dbus-org.x", "a:b_c\\x2d"])
def test_unit_name_of_a_service_is_its_file(given: str) -> None:
    assert unit_name(given) == (given if given.endswith(".service") else f"{given}.service")


@pytest.mark.parametrize(
    "given",
    [
        *("", ".", "..", "../x", "/etc/x", "a/b", "a b", "a\nb", "-x", "--", "a\0", "ü", "$(id)", "a;b", "x" * 300),
        *("foo.timer", "foo.socket", "greenboostd", "greenboostd.service", "greenboost-notify", ".service", "a..b"),
    ],
)
def test_unit_name_of_anything_else_is_one_line(given: str) -> None:
    with pytest.raises(GreenboostError) as caught:
        unit_name(given)
    assert str(caught.value).isprintable()


def test_find_unit_takes_the_first_place_and_the_drop_ins_of_all(tmp_path: Path) -> None:
    put(tmp_path, f"{USR}/ollama.service", "[Service]\nExecStart=/usr/bin/old\n")
    put(tmp_path, f"{ETC}/ollama.service", OLLAMA)
    put(tmp_path, f"{USR}/ollama.service.d/10-a.conf", "[Service]\nUser=a\n")
    put(tmp_path, f"{USR}/ollama.service.d/20-b.conf", "[Service]\nUser=hidden\n")
    put(tmp_path, f"{ETC}/ollama.service.d/20-b.conf", "[Service]\nGroup=b\n")
    put(tmp_path, f"{ETC}/service.d/50-all.conf", "[Service]\nPrivateTmp=yes\n")
    put(tmp_path, f"{ETC}/ollama.service.d/90-greenboost.conf", "[Service]\nUser=ours\n")
    put(tmp_path, f"{ETC}/ollama.service.d/README", "[Service]\nUser=no\n")
    unit = find(tmp_path)
    assert (unit.path, unit.last("User"), unit.last("Group"), unit.last("PrivateTmp")) == (
        f"{ETC}/ollama.service",
        "a",
        "b",
        "yes",
    )
    assert unit.words("ExecStart") == ["/usr/local/bin/ollama", "serve"]


def test_find_unit_of_a_masked_drop_in_leaves_it_out(tmp_path: Path) -> None:
    put(tmp_path, f"{ETC}/ollama.service", OLLAMA)
    put(tmp_path, f"{USR}/ollama.service.d/10-a.conf", "[Service]\nUser=hidden\n")
    (tmp_path / f"{ETC}/ollama.service.d").mkdir()
    (tmp_path / f"{ETC}/ollama.service.d/10-a.conf").symlink_to("/dev/null")
    assert find(tmp_path).last("User") == "ollama"


def test_find_unit_of_an_instance_reads_its_template_and_prefixes(tmp_path: Path) -> None:
    put(tmp_path, f"{USR}/llm-run@.service", OLLAMA)
    put(tmp_path, f"{ETC}/llm-run@.service.d/a.conf", "[Service]\nUser=template\n")
    put(tmp_path, f"{ETC}/llm-run@x.service.d/a.conf", "[Service]\nUser=instance\n")
    put(tmp_path, f"{ETC}/llm-.service.d/b.conf", "[Service]\nGroup=prefix\n")
    unit = find(tmp_path, "llm-run@x.service")
    assert (unit.name, unit.last("User"), unit.last("Group")) == ("llm-run@x.service", "instance", "prefix")


def test_find_unit_of_an_alias_is_the_unit_itself(tmp_path: Path) -> None:
    put(tmp_path, f"{USR}/ollama.service", OLLAMA)
    (tmp_path / ETC).mkdir(parents=True)
    (tmp_path / ETC / "llm.service").symlink_to(f"/{USR}/ollama.service")
    assert find(tmp_path, "llm.service").name == "ollama.service"
    (tmp_path / ETC / "own.service").symlink_to("/opt/own.service")
    put(tmp_path, "opt/own.service", OLLAMA)
    assert find(tmp_path, "own.service").name == "own.service"


@pytest.mark.parametrize("how", ["link", "empty"])
def test_find_unit_that_is_masked_says_how_to_unmask_it(tmp_path: Path, how: str) -> None:
    path = put(tmp_path, f"{ETC}/ollama.service", "")
    put(tmp_path, f"{USR}/ollama.service", OLLAMA)
    if how == "link":
        path.unlink()
        path.symlink_to("/dev/null")
    with pytest.raises(GreenboostError, match=r"ollama\.service is masked .*'systemctl unmask ollama\.service'"):
        find(tmp_path)


def test_find_unit_that_is_not_there_or_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(GreenboostError, match=r"there is no unit ollama\.service; 'systemctl list-unit-files"):
        find(tmp_path)
    (tmp_path / ETC).mkdir(parents=True)
    place = tmp_path / ETC / "ollama.service"
    place.symlink_to("ollama.service")
    with pytest.raises(GreenboostError):
        find(tmp_path)
    place.unlink()
    place.symlink_to("other.service")
    (tmp_path / ETC / "other.service").symlink_to("ollama.service")
    with pytest.raises(GreenboostError, match="there is no unit"):
        find(tmp_path)
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(GreenboostError, match="not a regular file; it should be a unit file"):
        find(tmp_path)


def test_find_unit_of_a_user_is_looked_for_in_the_home_first(tmp_path: Path) -> None:
    layout = user_layout({"HOME": "/home/u"})
    put(tmp_path, "usr/lib/systemd/user/comfyui.service", "[Service]\nExecStart=/a\n")
    assert find_unit(SysRoot(tmp_path), layout, "comfyui.service").path.startswith("usr/")
    put(tmp_path, "home/u/.config/systemd/user/comfyui.service", "[Service]\nExecStart=/b\n")
    assert find_unit(SysRoot(tmp_path), layout, "comfyui.service").last("ExecStart") == "/b"
