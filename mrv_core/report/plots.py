# SPDX-License-Identifier: MIT
"""Small line charts as inline SVG, without a plotting library: the same report always gives the same bytes.

A chart shows one number over the epochs, or over time. Where a value is missing the line has a gap; where it is not
finite, or too large to draw, the gap carries a cross. Colours come from the style sheet of the page (`chart`, `line`,
`dot`, ...).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any, Final, TypeAlias

from markupsafe import Markup

from mrv_core.report.text import flatten, is_number, non_finite, plain, visible

WIDTH: Final = 340
HEIGHT: Final = 190
_RIGHT, _TOP, _BOTTOM = 14, 12, 30
_MOST_DOTS: Final = 80
"""Above this many points single dots would touch each other, so only the line is drawn."""
_MOST_POINTS: Final = 600
"""Above this many points, two a pixel, the line keeps the extremes of each bucket."""
_LARGEST: Final = 1e100
"""Numbers beyond this are marked instead of drawn, so that no arithmetic on the axis can overflow."""

_EPOCH: Final = "epoch"

Point: TypeAlias = tuple[int, float]


@dataclass(frozen=True, slots=True)
class Series:
    """One number over the epochs, or over time.

    Attributes:
        name: Name of the metric; dotted where it was nested.
        points: (epoch or seconds, value), oldest first, finite values only.
        marks: (epoch or seconds, what stands there instead of a number), for instance `NaN`.
        segments: The points in runs without a gap.
        along: What the numbers are over: `epoch`, or `s` for seconds.
    """

    name: str
    points: tuple[Point, ...]
    marks: tuple[tuple[int, str], ...]
    segments: tuple[tuple[Point, ...], ...]
    along: str = _EPOCH

    def place(self, along: int) -> str:
        """Name a place on the horizontal axis: `epoch 3`, `12 s`."""
        return f"{_EPOCH} {along}" if self.along == _EPOCH else f"{along} {self.along}"

    @property
    def is_constant(self) -> bool:
        """Whether the number is the same in every one of several epochs, so that a chart would show nothing."""
        values = {value for _, value in self.points}
        return len(values) == 1 and len(self.points) > 1 and len(self.segments) == 1 and not self.marks


def series_of(rows: Sequence[tuple[int, Any]]) -> list[Series]:
    """Return one series for each number that appears in the metrics, in order of first appearance.

    Args:
        rows: (epoch, metrics) for every epoch, oldest first; metrics of any JSON form.
    """
    table = [(epoch, flatten(metrics)) for epoch, metrics in rows]
    names = dict.fromkeys(name for _, values in table for name, value in values.items() if _is_plottable(value))
    return [_series(name, [(epoch, values.get(name)) for epoch, values in table]) for name in names]


def _is_plottable(value: Any) -> bool:
    return is_number(value) or non_finite(value) is not None


def _series(name: str, values: Iterable[tuple[int, Any]]) -> Series:
    segments: list[list[Point]] = [[]]
    marks: list[tuple[int, str]] = []
    for epoch, value in values:
        if is_number(value) and abs(value) <= _LARGEST:
            segments[-1].append((epoch, float(value)))
            continue
        if _is_plottable(value):
            marks.append((epoch, plain(value)))
        segments.append([])
    runs = tuple(tuple(run) for run in segments if run)
    return Series(name, tuple(point for run in runs for point in run), tuple(marks), runs)


@dataclass(frozen=True, slots=True)
class _Axis:
    """A linear scale from numbers to coordinates, with its ticks."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _step(span: float, most: int) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that cuts `span` into at most `most` parts."""
    unit = 10.0 ** floor(log10(span / most))
    return next(unit * factor for factor in (1, 2, 5, 10, 20) if span / (unit * factor) <= most)


def _value_axis(values: Sequence[float]) -> _Axis:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    size = max(abs(low), abs(high))
    if high - low <= size * 1e-9 or high - low < 1e-200:  # a constant: show it in the middle
        pad = size * 0.1 if size > 1e-200 else 1.0
        low, high = low - pad, high + pad
    step = _step(high - low, 4)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    ticks = tuple(index * step for index in range(first, last + 1))
    return _Axis(ticks[0], ticks[-1], HEIGHT - _BOTTOM, _TOP, ticks, tuple(_label(tick, step) for tick in ticks))


def _epoch_axis(epochs: Sequence[int], left: float) -> _Axis:
    low, high = min(epochs), max(epochs)
    step = max(1, round(_step(high - low, 6))) if high > low else 1
    ticks = tuple(float(tick) for tick in range(ceil(low / step) * step, high + 1, step))
    if low == high:
        return _Axis(low - 1, high + 1, left, WIDTH - _RIGHT, ticks, (str(low),))
    return _Axis(low, high, left, WIDTH - _RIGHT, ticks, tuple(str(int(tick)) for tick in ticks))


def _label(value: float, step: float) -> str:
    if abs(value) < step / 2:
        return "0"
    exponent = floor(log10(step) + 1e-9)
    if exponent >= -4 and abs(value) < 1e6:
        return f"{value:.{max(0, -exponent)}f}"
    return f"{value:.{max(1, floor(log10(abs(value)) + 1e-9) - exponent + 1)}g}"


def line_chart(series: Series, *, css_class: str = "") -> Markup:
    """Draw a series as one `<svg>` element with axes, a dot and a hover title for each point.

    Args:
        series: With at least one point or mark.
        css_class: Further class of the element, a constant of the caller.
    """
    epochs = [epoch for epoch, _ in series.points] + [epoch for epoch, _ in series.marks]
    up = _value_axis([value for _, value in series.points])
    across = _epoch_axis(epochs, left=max(48.0, 20 + 6.5 * max(map(len, up.labels))))
    parts = [
        *_grid(series.along, across, up),
        Markup('<path class="line" d="{}"/>').format(_path(series, across, up)),
        *_marks(series, across),
        *_dots(series, across, up),
    ]
    head = Markup('<svg class="chart {}" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        css_class, WIDTH, HEIGHT, describe(series)
    )
    return head + Markup("").join(parts) + Markup("</svg>")


def describe(series: Series) -> str:
    """Return one sentence that says what a chart shows, for those who do not see it."""
    name = visible(series.name)
    places = "epochs" if series.along == _EPOCH else "places"
    marked = f", no number to draw in {len(series.marks)} {places}" if series.marks else ""
    if not series.points:
        return f"{name}: no value{marked}"
    values = [value for _, value in series.points]
    first, last = series.points[0], series.points[-1]
    return (
        f"{name}: {plain(first[1])} in {series.place(first[0])}, {plain(last[1])} in {series.place(last[0])}, "
        f"lowest {plain(min(values))}, highest {plain(max(values))}{marked}"
    )


def _grid(along: str, across: _Axis, up: _Axis) -> Iterator[Markup]:
    bottom, left, right = HEIGHT - _BOTTOM, f"{across.start:.1f}", WIDTH - _RIGHT
    for tick, label in zip(up.ticks, up.labels, strict=True):
        y = f"{up.at(tick):.1f}"
        yield Markup('<path class="grid" d="M{} {}H{}"/>').format(left, y, right)
        yield Markup('<text class="tick" x="{}" y="{}" dy=".32em" text-anchor="end">{}</text>').format(
            f"{across.start - 8:.1f}", y, label
        )
    for tick, label in zip(across.ticks, across.labels, strict=True):
        x = f"{across.at(tick):.1f}"
        yield Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>').format(x, bottom + 17, label)
    yield Markup('<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>').format(
        f"{across.start - 12:.1f}", bottom + 17, along
    )
    yield Markup('<path class="axis" d="M{} {}H{}"/>').format(left, bottom, right)


def _path(series: Series, across: _Axis, up: _Axis) -> str:
    parts = []
    for run in series.segments:
        places = [f"{across.at(epoch):.1f} {up.at(value):.1f}" for epoch, value in _thin(run)]
        parts.append(
            f"M{places[0]}L" + " ".join(places[1:] or places)
        )  # a lone point: a line of no length, drawn round
    return "".join(parts)


def _thin(run: Sequence[Point]) -> Iterable[Point]:
    """Return the points to draw: all of them, or lowest and highest of each of a few hundred buckets."""
    if len(run) <= _MOST_POINTS:
        return run
    size = ceil(len(run) / (_MOST_POINTS // 2))
    buckets = (run[start : start + size] for start in range(0, len(run), size))
    extremes = ((min(bucket, key=_value), max(bucket, key=_value)) for bucket in buckets)
    return [point for pair in extremes for point in sorted(set(pair))]


def _value(point: Point) -> float:
    return point[1]


def _marks(series: Series, across: _Axis) -> Iterator[Markup]:
    bottom = HEIGHT - _BOTTOM
    by_pixel = {round(across.at(epoch)): (epoch, text) for epoch, text in series.marks}
    for x, (epoch, text) in by_pixel.items():
        yield Markup(
            '<g class="mark"><path class="gap" d="M{0} {1}V{2}"/><path d="M{3} {4}l8 8m0 -8l-8 8"/>'
            '<rect class="hit" x="{5}" y="{1}" width="12" height="{6}"/><title>{7}: {8}</title></g>'
        ).format(x, _TOP, bottom, x - 4, bottom - 12, x - 6, bottom - _TOP, series.place(epoch), visible(text))


def _dots(series: Series, across: _Axis, up: _Axis) -> Iterator[Markup]:
    if len(series.points) > _MOST_DOTS:
        return
    for epoch, value in series.points:
        x, y = f"{across.at(epoch):.1f}", f"{up.at(value):.1f}"
        yield Markup(
            '<g class="point"><circle class="hit" cx="{0}" cy="{1}" r="9"/>'
            '<circle class="dot" cx="{0}" cy="{1}" r="2.8"/><title>{2}: {3}</title></g>'
        ).format(x, y, series.place(epoch), repr(value))
