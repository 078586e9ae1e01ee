"""docs/fleet.md: every step is executed by a test, or says why not."""

from pathlib import Path

import pytest
from bed.steps import PAGE, steps


def test_every_step_of_the_page_is_executed_by_a_test() -> None:
    tests = "\n".join(path.read_text() for path in Path(__file__).parent.rglob("*.py"))
    missing = [name for name in steps() if f'step("{name}")' not in tests]
    assert steps()
    assert not missing, f"{PAGE} has steps that no test executes: {missing}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<!-- step: a -->\n```sh\nls\npwd\n```\n", {"a": "ls\npwd\n"}),
        ("<!-- not executed: no cluster -->\n```sh\nls\n```\n", {}),
        ("```toml\nx = 1\n```\n", {}),
        ("<!-- step: a -->\n```sh\nls\n```\n\ntext\n<!-- step: b -->\n```sh\npwd\n```\n", {"a": "ls\n", "b": "pwd\n"}),
    ],
)
def test_steps_of_a_page_are_its_named_blocks(text: str, found: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(text)
    assert steps(tmp_path / "page.md") == found


@pytest.mark.parametrize(
    "text", ["```sh\nls\n```\n", "<!-- step: a -->\n```sh\nls\n```\n<!-- step: a -->\n```sh\npwd\n```\n"]
)
def test_block_without_a_name_or_with_one_twice_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(text)
    with pytest.raises(ValueError):
        steps(tmp_path / "page.md")
