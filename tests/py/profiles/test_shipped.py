"""Every profile that comes with greenboost: it says what it should, and its examples are its own."""

import shlex
from pathlib import Path

import pytest
from trees import lay

from greenboost_py.base.options import load_options
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.profiles.assignments import variables
from greenboost_py.profiles.command import look_at
from greenboost_py.profiles.select import select, settings
from greenboost_py.profiles.shelf import Origin, Source, sources

SHIPPED = sources(SysRoot("/nowhere"), {})
DECIDED = {"advertise", "vram_reserve", "retry_first", "placement", "movable"}
EXAMPLES = [(name, example) for name, source in SHIPPED.items() for example in source.load().examples]


def test_the_programs_that_are_promised_have_a_profile() -> None:
    assert {"comfyui", "jax", "llama-cpp", "ollama", "pytorch", "vllm"} <= set(SHIPPED)
    assert {source.origin for source in SHIPPED.values()} == {Origin.SHIPPED}


@pytest.mark.parametrize("source", SHIPPED.values(), ids=SHIPPED)
def test_profile_sets_options_that_there_are_to_values_they_accept(source: Source) -> None:
    options = {option.id: option for option in load_options()}
    for choice in source.load().choices:
        assert choice.value is None or options[choice.option].check(choice.value) == choice.value
        assert choice.variable == options[choice.option].env_name


@pytest.mark.parametrize("source", SHIPPED.values(), ids=SHIPPED)
def test_profile_decides_what_matters_once_each_with_a_reason(source: Source) -> None:
    profile = source.load()
    decided = [choice.option for choice in profile.choices]
    assert len(decided) == len(set(decided))
    assert set(decided) >= DECIDED
    assert profile.description and profile.examples and profile.matches
    assert all(choice.why for choice in profile.choices)
    assert all(choice.source for choice in profile.choices if any(character.isdigit() for character in choice.why))
    assert set(profile.before) <= set(SHIPPED) - {profile.name}


@pytest.mark.parametrize("source", SHIPPED.values(), ids=SHIPPED)
def test_profile_is_written_so_that_the_quick_look_can_leave_it_out(source: Source) -> None:
    plain = look_at(["true"], "bin/true", SysRoot("/nowhere"), "/")
    assert not source.may_match(plain)


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[example.command for _, example in EXAMPLES])
def test_example_is_recognised_as_its_profile_and_as_no_other(name: str, example: object, tmp_path: Path) -> None:
    from greenboost_py.profiles.profile import Example

    assert isinstance(example, Example)
    lay(tmp_path, example.files)
    root, argv = SysRoot(), shlex.split(example.command)
    selection = select(root, {}, look_at(argv, argv[0], root, str(tmp_path)))
    assert selection.profile is not None and selection.profile.name == name, selection.reason
    assert selection.mistakes == ()


@pytest.mark.parametrize("name", ["pytorch", "vllm"])
@pytest.mark.parametrize("variable", ["PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"])
def test_retry_first_is_left_out_where_the_allocator_does_not_retry(name: str, variable: str) -> None:
    profile = SHIPPED[name].load()
    assert variables(settings(profile, {})) == {"GREENBOOST_RETRY_FIRST": "1"}
    assert variables(settings(profile, {variable: "expandable_segments:True"})) == {"GREENBOOST_RETRY_FIRST": "1"}
    assert variables(settings(profile, {variable: "a:1,backend:cudaMallocAsync"})) == {}


def test_profiles_are_in_the_distribution(repository: Path) -> None:
    assert '"greenboost_py.profiles" = ["data/*.toml"]' in (repository / "pyproject.toml").read_text()
