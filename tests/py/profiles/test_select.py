import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import lay

from greenboost_py.base.errors import ConfigError, UsageError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.profiles.assignments import variables
from greenboost_py.profiles.command import Command, look_at
from greenboost_py.profiles.profile import Match, Profile
from greenboost_py.profiles.recognise import recognise
from greenboost_py.profiles.select import Selection, select, settings
from greenboost_py.profiles.shelf import FILE_BYTES_MAX, SYSTEM_FOLDER, Origin, Source, sources, user_folder

TRAIN = Command("python3", script="/w/train.py", imports=frozenset({"torch", "os"}), neighbours=frozenset({"data"}))


def chosen(command: Command, *profiles: Profile, origins: tuple[Origin, ...] = ()) -> str | None:
    given = [*origins, *[Origin.SHIPPED] * len(profiles)]
    found = recognise(list(zip(profiles, given, strict=False)), command)
    return None if found is None else f"{found.profile.name}: {found.reason}"


def profile(name: str, *matches: Match, before: tuple[str, ...] = ()) -> Profile:
    return Profile(name, f"/{name}.toml", matches=matches, before=before)


TORCH = profile("torch", Match(imports=("torch",)))


# What fits best


@pytest.mark.parametrize(
    "match",
    [
        Match(program=("python3",)),
        Match(script=("train*.py",)),
        Match(imports=("os",), script=("train.py",), beside=("x", "data")),
    ],
)
def test_recognise_takes_what_names_the_program_before_what_it_imports(match: Match) -> None:
    assert chosen(TRAIN, TORCH, profile("z", match), profile("none"), profile("b", Match(imports=("os",)))) is not None
    assert str(chosen(TRAIN, TORCH, profile("z", match))).startswith("z: ")


@pytest.mark.parametrize(
    "match",
    [
        Match(program=("python",)),
        Match(script=("train.py",), beside=("comfy",)),
        Match(program=("python3",), argument=("serve",)),
        Match(program=("python3",), words=("*.gguf",)),
        Match(module=("*",)),
        Match(imports=("Torch",)),
    ],
)
def test_recognise_needs_everything_to_hold(match: Match) -> None:
    assert chosen(TRAIN, profile("z", match)) is None


def test_recognise_of_two_that_fit_alike_takes_the_one_that_goes_before() -> None:
    vllm = profile("vllm", Match(imports=("os",)), before=("torch",))
    assert chosen(TRAIN, TORCH, vllm) == "vllm: imports os"
    circle = profile("torch", Match(imports=("torch",)), before=("vllm",))
    assert chosen(TRAIN, circle, vllm) == "torch: imports torch"
    assert chosen(TRAIN, TORCH, profile("a", Match(imports=("os",)))) == "a: imports os"
    user = (Origin.USER, Origin.SHIPPED)
    assert chosen(TRAIN, TORCH, profile("a", Match(imports=("os",))), origins=user) == "torch: imports torch"


def test_recognise_takes_the_best_of_a_profiles_matches() -> None:
    both = profile("both", Match(imports=("torch",)), Match(script=("train.py",), beside=("data",)))
    assert chosen(TRAIN, both, profile("z", Match(script=("train.py",)))) == "both: script train.py, beside data"


# Where they come from


def write(root: Path, folder: str, name: str, text: str) -> Path:
    lay(root / folder, {name: text})
    return root / folder / name


USER = "home/u/.config/greenboost/profiles.d"
HOME = {"HOME": "/home/u"}


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        (HOME, USER),
        ({"HOME": "/home/u", "XDG_CONFIG_HOME": "/c"}, "c/greenboost/profiles.d"),
        ({"HOME": "/home/u", "XDG_CONFIG_HOME": "c"}, USER),
        ({"HOME": "u"}, ""),
        ({}, ""),
    ],
)
def test_user_folder_is_the_configurations(environment: dict[str, str], folder: str) -> None:
    assert user_folder(environment) == folder


def test_a_users_profile_goes_before_the_administrators_and_that_before_ours(tmp_path: Path) -> None:
    root = SysRoot(tmp_path)
    assert sources(root, HOME)["pytorch"].origin is Origin.SHIPPED
    write(tmp_path, SYSTEM_FOLDER, "pytorch.toml", "")
    assert sources(root, HOME)["pytorch"].path == "/etc/greenboost/profiles.d/pytorch.toml"
    write(tmp_path, USER, "pytorch.toml", "")
    assert sources(root, HOME)["pytorch"].path == f"/{USER}/pytorch.toml"
    assert sources(root, {})["pytorch"].origin is Origin.SYSTEM


def test_what_is_no_profile_in_the_folder_is_left_out(tmp_path: Path) -> None:
    shipped = set(sources(SysRoot(tmp_path), {}))
    for name in (".hidden.toml", "README", "a.toml~", "b.conf"):
        write(tmp_path, USER, name, "")
    assert set(sources(SysRoot(tmp_path), HOME)) == shipped
    (tmp_path / SYSTEM_FOLDER).parent.mkdir(parents=True)
    (tmp_path / SYSTEM_FOLDER).write_text("a file")
    assert set(sources(SysRoot(tmp_path), HOME)) == shipped


@pytest.mark.parametrize(
    ("name", "content", "mistake"),
    [
        ("a b.toml", b"", "no name for a profile"),
        ("a\n.toml", b"", "no name for a profile"),
        ("-x.toml", b"", "no name for a profile"),
        ("big.toml", b"#" * (FILE_BYTES_MAX + 1), "longer than 64 KiB"),
        ("broken.toml", b"[set]\nx = 1", "/broken.toml:2: there is no option 'x'"),
    ],
)
def test_a_profile_that_cannot_be_used_stops_only_who_asks_for_it(
    tmp_path: Path, name: str, content: bytes, mistake: str
) -> None:
    write(tmp_path, USER, name, "").write_bytes(content + b"\n#'python3' \"\\\"")
    root = SysRoot(tmp_path)
    command = look_at(["python3", "-c", "import torch"], "python3", root, "/")
    selection = select(root, HOME, command)
    assert selection.profile is not None and selection.profile.name == "pytorch"
    (line,) = selection.mistakes
    assert mistake in line and line.isprintable()
    assert select(root, HOME, command, "pytorch").mistakes == ()
    with pytest.raises(ConfigError) as caught:
        select(root, HOME, command, name.removesuffix(".toml"))
    assert caught.value.lines == (line,)


def test_a_profile_named_none_is_a_mistake_and_none_stays_none(tmp_path: Path) -> None:
    write(tmp_path, USER, "none.toml", "[set]\nmovable = true")
    root = SysRoot(tmp_path)
    assert "no name for a profile" in select(root, HOME, Command("true")).mistakes[0]
    assert select(root, HOME, Command("true"), "none") == Selection(reason="asked for")


def test_a_profile_that_is_no_file_is_a_mistake(tmp_path: Path) -> None:
    write(tmp_path, USER, "x.toml", "").unlink()
    os.mkfifo(tmp_path / USER / "x.toml")
    (tmp_path / USER / "y.toml").symlink_to("nowhere")
    found = sources(SysRoot(tmp_path), HOME)
    assert found["x"].mistake == f"/{USER}/x.toml: not a regular file; it should be a TOML file"
    assert found["y"].mistake == f"/{USER}/y.toml: it may not be read by this user; make it readable"


def test_select_by_name_says_which_there_are() -> None:
    command = Command("true")
    with pytest.raises(UsageError, match=r"there is no profile 'x'; there are comfyui, .*, and none"):
        select(SysRoot("/nowhere"), {}, command, "x")
    assert select(SysRoot("/nowhere"), {}, Command("ollama", ("serve",)), "none") == Selection(reason="asked for")
    assert select(SysRoot("/nowhere"), {}, command) == Selection()


# What they set


def test_settings_leave_what_is_set_already(tmp_path: Path) -> None:
    write(tmp_path, USER, "mine.toml", "[set]\nmovable = true\nadvertise = '4GiB'\nlog = 'off'")
    mine = sources(SysRoot(tmp_path), HOME)["mine"].load()
    found = settings(mine, {"GREENBOOST_MOVABLE": "", "GREENBOOST_ADVERTISE": "on"})
    assert [setting.because for setting in found] == ["yours is ''", "yours is 'on'", ""]
    assert variables(found) == {"GREENBOOST_LOG": "off"}


# The quick look misses nothing

NAMES = st.sampled_from(
    ["a", "ab", "abc", "x.y", "torch", "main.py", "*", "a*", "?b", "[ab]c", "it's", 'say "x"', "\\d"]
)


@given(
    NAMES,
    st.sampled_from(["program", "module", "script", "imports"]),
    NAMES,
    st.sampled_from(["'{}'", '"{}"', "'''{}'''"]),
)
def test_may_match_is_true_for_whatever_is_recognised(pattern: str, key: str, name: str, quote: str) -> None:
    text = f"# it's mine\n[[match]]\n{key} = [{quote.format(pattern)}]\n"
    source = Source("p", "/p.toml", Origin.USER, text.encode())
    try:
        loaded = source.load()
    except ConfigError:
        return
    is_import = key == "imports" and name.isidentifier()
    command = Command(
        program=name if key == "program" else "",
        module=name if key == "module" else "",
        script=f"/w/{name}" if key == "script" else "",
        source=f"import {name}" if is_import else None,
        imports=frozenset({name}) if is_import else frozenset(),
    )
    if recognise([(loaded, Origin.USER)], command) is not None:
        assert source.may_match(command)
