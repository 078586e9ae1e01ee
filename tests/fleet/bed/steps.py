"""The steps of docs/fleet.md, which tests execute as they stand there.

A step is a block ```sh that a comment names, which no reader sees:

    <!-- step: slurm-plugin -->
    ```sh
    ...
    ```

One that cannot be executed here says why: <!-- not executed: there is no cluster -->.
"""

import re
from functools import cache
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs/fleet.md"
_BLOCK = re.compile(
    r"(?:<!-- (?P<kind>step|not executed): (?P<what>.*?) -->\n)?```sh\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@cache
def steps(page: Path = PAGE) -> dict[str, str]:
    """The steps by their names, in the page's order.

    Raises:
        ValueError: a block has neither a name nor a reason, or a name is there twice.
    """
    found: dict[str, str] = {}
    for block in _BLOCK.finditer(page.read_text()):
        if block["kind"] is None:
            raise ValueError(f"{page}: a block of commands without a name: {block['text'][:80]!r}")
        if block["kind"] == "not executed":
            continue
        if block["what"] in found:
            raise ValueError(f"{page}: two steps are called {block['what']!r}")
        found[block["what"]] = block["text"]
    return found


def step(name: str) -> str:
    """The commands of a step.

    Raises:
        KeyError: there is none of that name.
    """
    return steps()[name]
