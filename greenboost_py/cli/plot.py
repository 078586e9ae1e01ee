"""`greenboost plot`: a recording as a picture."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from greenboost_py.base.errors import FileError, GreenboostError

if TYPE_CHECKING:
    from greenboost_py.screen.frame import Frame
    from greenboost_py.screen.series import Timeline

_KINDS = (".svg", ".png")

_PROGRESS_FROM_BYTES = 8 << 20
"""What is shorter is read within two seconds: a frame takes 0.2 to 0.3 ms, and has 0.5 to 2 KiB."""


def _check_outputs(ctx: click.Context, _: click.Parameter, pictures: tuple[Path, ...]) -> tuple[Path, ...]:
    for picture in pictures:
        if picture.suffix.lower() not in _KINDS:
            raise click.UsageError(f"{picture}: the picture's name must end in {' or '.join(_KINDS)}", ctx)
    return pictures


@click.command(
    epilog="A recording of any length becomes a picture of at most 2048 points across, each the worst of what it stands"
    " for. The same recording gives the same bytes. Needs matplotlib. Exit codes: 0 done; 1 the recording is malformed,"
    " matplotlib is missing, or a picture cannot be written."
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@click.option(
    "--output",
    "pictures",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_check_outputs,
    metavar="PICTURE",
    help="A file that ends in .svg or .png; more than one may be given. [default: FILE's name with .svg]",
)
def command(file: Path, pictures: tuple[Path, ...]) -> None:
    """Draw a recording as a timeline.

    RAM with what GPU drivers hold of it, VRAM and GTT of each GPU, swap, what programs under GreenBoost hold by tier,
    PSI, the level of everything, and the warnings.
    """
    from greenboost_py.screen.series import gather

    with _reading(file) as frames:
        timeline = gather(frames)
    if not timeline.points:
        raise GreenboostError(f"{file}: it has no frame; `greenboost record` writes one every second")
    for picture in pictures or (file.with_suffix(".svg"),):
        data = _render(timeline, picture.suffix.lower().removeprefix("."))
        try:
            picture.write_bytes(data)
        except OSError as error:
            raise FileError(str(picture), error) from error
        click.echo(picture)


@contextmanager
def _reading(file: Path) -> "Iterator[Iterator[Frame]]":
    """The recording's frames; a long one has a progress bar."""
    from greenboost_py.screen.recording import read

    try:
        with file.open("rb") as opened:
            size_bytes = os.fstat(opened.fileno()).st_size
            is_quick = size_bytes < _PROGRESS_FROM_BYTES or not sys.stderr.isatty()
            with click.progressbar(length=size_bytes, label="Reading", file=sys.stderr, hidden=is_quick) as bar:
                yield read(opened, str(file), bar.update)
    except OSError as error:
        raise FileError(str(file), error) from error


def _render(timeline: "Timeline", kind: str) -> bytes:
    try:
        from greenboost_py.screen.picture import render
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "matplotlib":
            raise
        raise GreenboostError(f"drawing needs matplotlib: {_advice()}") from error
    return render(timeline, kind)


def _advice() -> str:
    if importlib.util.find_spec("pip") is None:  # a distribution's package
        return "this greenboost came without; draw with one that pip installed, as greenboost[plot]"
    return f"{sys.executable} -m pip install 'matplotlib>=3.8,<4'"
