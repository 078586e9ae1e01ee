"""A line chart as SVG, both axes logarithmic, legible on a light and on a dark page. Standard library only."""

from itertools import pairwise
from math import log
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 66, 196, 66, 58
LABEL_GAP = 17

STYLE = """
svg { color: #1f2328 }
text { font: 13px system-ui, sans-serif; fill: currentColor }
.title { font-size: 15px; font-weight: 600 }
.grid { stroke: #8c959f; stroke-opacity: 0.35 }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round }
.leader { stroke: #8c959f; fill: none }
@media (prefers-color-scheme: dark) { svg { color: #e6edf3 } }
"""


class Line(NamedTuple):
    """One line of a chart: its label, its points, its colour (one that shows on white and on black; currentColor: ink)."""

    label: str
    colour: str
    points: list[tuple[float, float]]
    dashed: bool = False


class Axis(NamedTuple):
    """One axis: what it says and where its ticks are, each with its text; the first and the last are its ends."""

    label: str
    ticks: list[tuple[float, str]]

    def share(self, value: float) -> float:
        """Where a value lies between the ends: 0 to 1."""
        low, high = self.ticks[0][0], self.ticks[-1][0]
        return log(value / low) / log(high / low)


def _apart(wanted: list[float]) -> list[float]:
    """Heights of labels, in the same order, that are as wanted as can be without one covering another."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    for above, below in pairwise(order):
        placed[below] = max(placed[below], placed[above] + LABEL_GAP)
    lowest: float = HEIGHT - BOTTOM
    for i in reversed(order):  # what went off the lower end pushes the rest up again
        placed[i] = min(placed[i], lowest)
        lowest = placed[i] - LABEL_GAP
    return placed


def draw(title: str, note: str, x: Axis, y: Axis, lines: list[Line]) -> str:
    """The chart. The note stands below the title, each line's label at its right end."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def across(value: float) -> float:
        return LEFT + x.share(value) * (right - LEFT)

    def up(value: float) -> float:
        return bottom - y.share(value) * (bottom - TOP)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(note)}</desc>",
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="26">{escape(title)}</text>',
        f'<text x="{LEFT}" y="47">{escape(note)}</text>',
    ]
    for value, text in y.ticks:
        out.append(f'<path class="grid" d="M{LEFT} {up(value):.1f}H{right}"/>')
        out.append(f'<text x="{LEFT - 9}" y="{up(value) + 4.5:.1f}" text-anchor="end">{escape(text)}</text>')
    for value, text in x.ticks:
        out.append(f'<path class="grid" d="M{across(value):.1f} {TOP}V{bottom}"/>')
        out.append(f'<text x="{across(value):.1f}" y="{bottom + 20}" text-anchor="middle">{escape(text)}</text>')
    out.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x.label)}</text>')
    middle = (TOP + bottom) / 2
    out.append(f'<text transform="translate(18 {middle}) rotate(-90)" text-anchor="middle">{escape(y.label)}</text>')
    for line in lines:
        path = "L".join(f"{across(a):.1f} {up(b):.1f}" for a, b in line.points)
        dashes = ' stroke-dasharray="3 5"' if line.dashed else ""
        out.append(f'<path class="line" stroke="{line.colour}"{dashes} d="M{path}"/>')
    ends = [up(line.points[-1][1]) for line in lines]
    for line, end, label in zip(lines, ends, _apart(ends), strict=True):
        out.append(f'<path class="leader" d="M{right + 4} {end:.1f}L{right + 20} {label:.1f}"/>')
        style = f"fill: {line.colour}; font-weight: 600"
        out.append(f'<text x="{right + 24}" y="{label + 4.5:.1f}" style="{style}">{escape(line.label)}</text>')
    return "\n".join([*out, "</svg>", ""])
