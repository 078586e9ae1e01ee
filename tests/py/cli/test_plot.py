"""`greenboost plot` as a command."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from greenboost_py.pressure.levels import Level
from greenboost_py.screen.frame import Frame, Ram, Resource
from greenboost_py.screen.recording import Writer

COMMAND = [sys.executable, "-c", "from greenboost_py.cli.main import main; main()", "plot"]

WITHOUT_MATPLOTLIB = """
import sys
sys.modules["matplotlib"] = None
from greenboost_py.cli.main import main
main()
"""

GIB = 1 << 30

FRAME = Frame(1e9, 0.0, False, Ram(8 * GIB, 4 * GIB, GIB, GIB), resources=(Resource("ram", Level.OK, 8, 4, None, 0.0),))


def plot(*arguments: object, command: list[str] = COMMAND) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=240)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A recording of three frames."""
    path = tmp_path / "a.jsonl"
    with path.open("wb", buffering=0) as file:
        writer = Writer(file, 1.0, 1 << 20)
        for number in range(3):
            writer.write(replace(FRAME, elapsed_s=float(number)))
    return path


def test_plot_makes_the_pictures_it_is_asked_for(recording: Path, tmp_path: Path) -> None:
    svg, png = tmp_path / "b.svg", tmp_path / "c.PNG"
    done = plot(recording, "--output", svg, "--output", png)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [str(svg), str(png)]
    assert b"<svg " in svg.read_bytes()[:1000]
    assert png.read_bytes().startswith(b"\x89PNG")


def test_plot_without_output_is_an_svg_beside_the_recording(recording: Path) -> None:
    done = plot(recording)
    assert (done.returncode, done.stdout) == (0, f"{recording.with_suffix('.svg')}\n")


def test_plot_of_a_recording_that_was_cut_has_what_is_there(recording: Path) -> None:
    recording.write_bytes(recording.read_bytes()[:-30])
    assert plot(recording).returncode == 0


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "{file}: it has no frame"),
        (b"hello\n", "{file}:1: not a recording; `greenboost record FILE` makes one"),
        (b"\0" * 5_000_000, "{file}:1: the line is longer than 1 MiB, which no frame is"),
    ],
)
def test_plot_of_what_is_no_recording_is_one_line(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(data)
    done = plot(file)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"greenboost: {said.format(file=file)}")
    assert not file.with_suffix(".svg").exists()


def test_plot_of_a_malformed_line_names_it(recording: Path) -> None:
    lines = recording.read_bytes().splitlines(keepends=True)
    lines.insert(2, b'{"at_s": "noon"}\n')
    recording.write_bytes(b"".join(lines))
    done = plot(recording)
    assert done.returncode == 1
    assert done.stderr == f"greenboost: {recording}:3: at_s should be a number, not 'noon'\n"


def test_plot_of_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = plot(tmp_path / "a.jsonl")
    assert (done.returncode, done.stderr) == (1, f"greenboost: {tmp_path}/a.jsonl: no such file or directory\n")


def test_plot_into_a_folder_that_is_not_there_is_one_line(recording: Path, tmp_path: Path) -> None:
    done = plot(recording, "--output", tmp_path / "no/a.svg")
    assert (done.returncode, done.stderr) == (1, f"greenboost: {tmp_path}/no/a.svg: no such file or directory\n")


def test_plot_of_another_kind_of_picture_is_wrong_usage(recording: Path) -> None:
    done = plot(recording, "--output", "a.pdf")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "greenboost plot: a.pdf: the picture's name must end in .svg or .png\n"


def test_plot_without_matplotlib_is_one_line_with_the_command(recording: Path) -> None:
    done = plot("plot", recording, command=[sys.executable, "-c", WITHOUT_MATPLOTLIB])
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr == f"greenboost: drawing needs matplotlib: {sys.executable} -m pip install 'matplotlib>=3.8,<4'\n"
    )


def test_plot_without_matplotlib_and_pip_says_where_to_draw(recording: Path) -> None:
    trap = "import importlib.util; found = importlib.util.find_spec\n"
    trap += "importlib.util.find_spec = lambda name, *more: None if name == 'pip' else found(name, *more)\n"
    done = plot("plot", recording, command=[sys.executable, "-c", trap + WITHOUT_MATPLOTLIB])
    assert done.returncode == 1
    assert done.stderr.startswith("greenboost: drawing needs matplotlib: this greenboost came without; draw with one")


def test_plot_of_a_huge_recording_takes_little_memory(tmp_path: Path) -> None:
    """64 MiB of frames in less memory than that on top of what a small one takes."""
    small, large = tmp_path / "small.jsonl", tmp_path / "large.jsonl"
    with small.open("wb", buffering=0) as file:
        Writer(file, 1.0, 1 << 20).write(FRAME)
    header, frame = small.read_bytes().splitlines(keepends=True)
    padding = b'"padding":"' + b"x" * 250_000 + b'",'
    with large.open("wb") as file:
        file.write(header)
        for number in range(270):
            line = frame.replace(b'"elapsed_s":0.0', b'"elapsed_s":%d' % number)
            file.write(line.replace(b"{", b"{" + padding, 1))
    assert large.stat().st_size > 64 << 20
    assert _peak_kib(large) < _peak_kib(small) + (48 << 10)


def _peak_kib(file: Path) -> int:
    """The largest resident set of the command, drawing a file."""
    measured = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    return int(plot(*COMMAND, file, command=[sys.executable, "-c", measured]).stdout)
