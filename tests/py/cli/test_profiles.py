import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from trees import lay

from greenboost_py.cli import main, profile_option

Env = dict[str, str]


def greenboost(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    source = "from greenboost_py.cli.main import main; main()"
    env = {**os.environ, "XDG_CONFIG_HOME": "/nowhere", **environment}
    return subprocess.run(
        [sys.executable, "-c", source, "profiles", *arguments], capture_output=True, text=True, check=False, env=env
    )


def write(folder: Path, name: str, text: str) -> Env:
    lay(folder / "greenboost/profiles.d", {name: text})
    return {"XDG_CONFIG_HOME": str(folder)}


def test_profiles_lists_them_and_where_a_persons_own_comes_from(tmp_path: Path) -> None:
    env = write(tmp_path, "mine.toml", "description = 'Mine'\n[set]\nvram-limit = '4GiB'\n")
    done = greenboost(**env)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "ollama       Ollama: its server and the runners that it starts" in lines
    at = lines.index("mine         Mine")
    assert lines[at + 1 : at + 3] == [
        "             sets vram-limit 4GiB",
        f"             from {tmp_path}/greenboost/profiles.d/mine.toml",
    ]


def test_profiles_of_one_gives_the_reasons() -> None:
    done = greenboost("jax")
    assert "  advertise left alone: JAX takes 75 %" in done.stdout
    assert "    source: docs.jax.dev, GPU memory allocation" in done.stdout.splitlines()


def test_profiles_as_json_has_everything(tmp_path: Path) -> None:
    env = write(tmp_path, "broken.toml", "x = 1")
    done = greenboost("--json", **env)
    shown = json.loads(done.stdout)
    by_name = {profile["name"]: profile for profile in shown["profiles"]}
    assert by_name["pytorch"]["sets"]["retry-first"]["value"] == "1"
    assert by_name["pytorch"]["origin"] == "shipped"
    assert by_name["vllm"]["leaves"]["advertise"]["why"]
    assert done.returncode == 1
    assert [f"greenboost: {error}" for error in shown["errors"]] == done.stderr.splitlines()
    assert "broken.toml:1: there is no key 'x' here" in done.stderr


@pytest.mark.parametrize("name", ["nope", "none", "../jax"])
def test_profiles_of_a_name_that_there_is_not_is_one_line(name: str) -> None:
    done = greenboost(name)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"greenboost: there is no profile {name!r}; there are comfyui, ")


def test_profile_names_are_completed() -> None:
    context = main.cli.make_context("greenboost", ["profiles"], resilient_parsing=True)
    (parameter,) = [one for one in context.command.params if one.name == "version"]
    offered = [item.value for item in profile_option.complete(context, parameter, "")]
    assert {"pytorch", "none"} <= set(offered)
    assert [item.value for item in profile_option.complete(context, parameter, "vl")] == ["vllm"]
