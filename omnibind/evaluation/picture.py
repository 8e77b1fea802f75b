"""Figures with their intervals as an SVG picture: no plotting library for three kinds of mark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from omnibind.evaluation.bootstrap import Figure

__all__ = ["Series", "whiskers"]

LEFT, RIGHT, TOP, WIDTH = 170, 20, 60, 720
LINE = 16
COLOURS = ("#1b4f8a", "#c8553d", "#588157", "#9467bd", "#b08900", "#7a7a7a", "#17a2a2")


@dataclass(frozen=True, kw_only=True)
class Series:
    """One model's figures by label; all between 0 and 1."""

    name: str
    values: Mapping[str, Figure]


def whiskers(title: str, series: Sequence[Series]) -> str:
    """A dot for each value, a line for its interval, a tick for chance.

    Args:
        title: above it.
        series: the first gives the order of the labels.
    """
    labels = list(dict.fromkeys(label for one in series for label in one.values))
    marks: list[str] = []
    y = TOP
    for label in labels:
        here = [(k, one.values[label]) for k, one in enumerate(series) if label in one.values]
        marks.append(_text(LEFT - 10, y + 4, label, anchor="end"))
        for k, value in here:
            marks += _mark(y, value, COLOURS[k % len(COLOURS)])
            y += LINE
        y += LINE // 2
    size = f'width="{WIDTH}" height="{y + 30}" viewBox="0 0 {WIDTH} {y + 30}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">'
    ground = '<rect width="100%" height="100%" fill="white"/>'
    named = [_text(10, 20, title, size=14), *_legend(series)]
    return "\n".join([head, ground, *_grid(y), *named, *marks, "</svg>", ""])


def _x(value: float) -> float:
    return LEFT + value * (WIDTH - LEFT - RIGHT)


def _mark(y: int, value: Figure, colour: str) -> Iterator[str]:
    chance = _x(value.chance)
    yield f'<path d="M{chance:.1f} {y - 5}v10" stroke="#999"/>'
    yield f'<path d="M{_x(value.low):.1f} {y}H{_x(value.high):.1f}" stroke="{colour}"/>'
    yield f'<circle cx="{_x(value.value):.1f}" cy="{y}" r="4" fill="{colour}"/>'


def _grid(bottom: int) -> Iterator[str]:
    for tenth in range(0, 11, 2):
        x = _x(tenth / 10)
        yield f'<path d="M{x:.1f} {TOP - 12}V{bottom}" stroke="#ddd"/>'
        yield _text(x, bottom + 18, f"{tenth / 10:g}", anchor="middle")


def _legend(series: Sequence[Series]) -> Iterator[str]:
    x = 10
    for k, one in enumerate(series):
        yield f'<circle cx="{x + 4}" cy="34" r="4" fill="{COLOURS[k % len(COLOURS)]}"/>'
        yield _text(x + 12, 38, one.name)
        x += 24 + 7 * len(one.name)


def _text(x: float | int, y: int, said: str, *, anchor: str = "start", size: int = 11) -> str:
    where = f'x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-size="{size}"'
    return f"<text {where}>{escape(said)}</text>"
