"""Charts as SVG, made here: no script draws them. Colours are classes, so that they follow light and dark.

A chart has axes with titles, a grid with values, and an accessible name. Its table beside it has the same figures, so
the drawing is one image to a screen reader.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from bedrock_chat.console.panels import Chart, ChartKind, Series, Unit
from bedrock_chat.console.writing import axis_value

WIDTH: Final = 560
WIDE: Final = 1100
HEIGHT: Final = 280
LEFT, RIGHT, TOP, BOTTOM = 72, 12, 14, 56
"""Room for the titles and values of the axes."""
MOST_LABELS: Final = 10
MOST_TICKS: Final = 5
COLOURS: Final = 8
"""Classes `console-series-0` and so on are in the style sheet."""

WIDEST_BAR: Final = 60

BAR_HEIGHT: Final = 30
VALUE_ROOM: Final = 80
BAR_LEFT: Final = 170
LONGEST_LABEL: Final = 22


def draw(chart: Chart, *, is_wide: bool = False) -> SafeString:
    """The SVG of a chart. A wide one has the room of the whole page."""
    width = WIDE if is_wide else WIDTH
    if chart.kind is ChartKind.BARS:
        height, parts = _lying(chart, width)
    else:
        plot = _Plot(chart, width, *scale(chart))
        height, parts = HEIGHT, [*_grid(plot), *_labels(plot), *_values(plot)]
    return format_html(
        '<svg class="console-chart{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>',
        " console-chart-wide" if is_wide else "",
        width,
        height,
        chart.title,
        format_html_join("", "{}", ((part,) for part in parts)),
    )


def scale(chart: Chart) -> tuple[float, int]:
    """The highest value of the axis, which is not below any value, and into how many round steps it is divided."""
    if chart.kind is ChartKind.STACKED:
        totals = [sum(series.values[index] or 0 for series in chart.series) for index in range(len(chart.labels))]
        highest = max(totals, default=0)
    else:
        highest = max((value for series in chart.series for value in series.values if value is not None), default=0)
    if highest <= 0:
        return 1.0, 1
    power = 10.0 ** math.floor(math.log10(highest / MOST_TICKS))
    parts = (1, 2, 5, 10, 20) if chart.unit is Unit.COUNT else (1, 2, 2.5, 5, 10, 20)
    step = next(power * part for part in parts if power * part * MOST_TICKS >= highest)
    if chart.unit is Unit.COUNT:
        step = max(1.0, step)
    ticks = math.ceil(highest / step - 1e-9)
    return step * ticks, ticks


@dataclass(frozen=True, slots=True)
class _Plot:
    """A chart with upright bars or lines, and where its values lie in the drawing."""

    chart: Chart
    width: int
    top: float
    ticks: int

    @property
    def right(self) -> float:
        return self.width - RIGHT

    def x(self, index: float) -> float:
        """The left edge of the place of a label."""
        return LEFT + (self.right - LEFT) * index / max(1, len(self.chart.labels))

    def y(self, value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / self.top)


def _grid(plot: _Plot) -> Iterator[SafeString]:
    for tick in range(plot.ticks + 1):
        value = plot.top * tick / plot.ticks
        y = round(plot.y(value), 1)
        yield format_html('<line class="console-grid" x1="{}" x2="{}" y1="{}" y2="{}"/>', LEFT, plot.right, y, y)
        yield format_html(
            '<text x="{}" y="{}" text-anchor="end">{}</text>', LEFT - 8, y + 4, axis_value(value, plot.chart.unit)
        )
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    yield format_html(
        '<text class="console-axis" x="14" y="{}" text-anchor="middle" transform="rotate(-90 14 {})">{}</text>',
        middle,
        middle,
        plot.chart.value_axis,
    )


def _labels(plot: _Plot) -> Iterator[SafeString]:
    labels = plot.chart.labels
    step = max(1, math.ceil(len(labels) / (MOST_LABELS * plot.width / WIDTH)))
    for index in range(0, len(labels), step):
        yield format_html(
            '<text x="{}" y="{}" text-anchor="middle">{}</text>',
            round(plot.x(index + 0.5), 1),
            HEIGHT - BOTTOM + 18,
            labels[index],
        )
    yield format_html(
        '<text class="console-axis" x="{}" y="{}" text-anchor="middle">{}</text>',
        (LEFT + plot.right) / 2,
        HEIGHT - 8,
        plot.chart.label_axis,
    )


def _values(plot: _Plot) -> Iterator[SafeString]:
    chart = plot.chart
    if chart.kind is ChartKind.LINES:
        for number, series in enumerate(chart.series):
            yield from _line(plot, series, number)
        return
    place = plot.x(1) - plot.x(0)
    width = min(place * 0.8, WIDEST_BAR)
    for index, label in enumerate(chart.labels):
        below = 0.0
        for number, series in enumerate(chart.series):
            value = series.values[index] or 0
            if value <= 0:
                continue
            upper, lower = plot.y(below + value), plot.y(below)
            yield format_html(
                '<rect class="console-series-{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
                number % COLOURS,
                round(plot.x(index) + (place - width) / 2, 1),
                round(upper, 1),
                round(width, 1),
                round(max(lower - upper, 0.5), 1),
                f"{label}, {series.name}: {axis_value(value, chart.unit)}",
            )
            below += value


def _line(plot: _Plot, series: Series, number: int) -> Iterator[SafeString]:
    """A line, broken where there is no value, and a dot for each value."""
    path, is_broken = [], True
    dots = []
    for index, value in enumerate(series.values):
        if value is None:
            is_broken = True
            continue
        x, y = round(plot.x(index + 0.5), 1), round(plot.y(value), 1)
        path.append(f"{'M' if is_broken else 'L'}{x} {y}")
        is_broken = False
        text = f"{plot.chart.labels[index]}, {series.name}: {axis_value(value, plot.chart.unit)}"
        dots.append((number % COLOURS, x, y, text))
    yield format_html('<path class="console-line console-series-{}" d="{}"/>', number % COLOURS, " ".join(path))
    for dot in dots:
        yield format_html('<circle class="console-series-{}" cx="{}" cy="{}" r="3"><title>{}</title></circle>', *dot)


def _lying(chart: Chart, full_width: int) -> tuple[int, list[SafeString]]:
    """Bars that lie under each other, their names at the left. Returns the height of the drawing, and its parts."""
    (top, ticks), room = scale(chart), full_width - BAR_LEFT - VALUE_ROOM
    bottom = TOP + BAR_HEIGHT * len(chart.labels)
    parts = []
    for tick in range(ticks + 1):
        x = BAR_LEFT + room * tick / ticks
        text = axis_value(top * tick / ticks, chart.unit)
        parts += [
            format_html('<line class="console-grid" x1="{}" x2="{}" y1="{}" y2="{}"/>', x, x, TOP, bottom),
            format_html('<text x="{}" y="{}" text-anchor="middle">{}</text>', x, bottom + 18, text),
        ]
    [series] = chart.series
    for index, (label, some) in enumerate(zip(chart.labels, series.values, strict=True)):
        value = some or 0.0
        y, width = TOP + BAR_HEIGHT * index, round(max(room * value / top, 1), 1)
        written = axis_value(value, chart.unit)
        short = label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"
        bar = '<rect class="console-series-0" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>'
        parts += [
            format_html('<text x="{}" y="{}" text-anchor="end">{}</text>', BAR_LEFT - 8, y + 20, short),
            format_html(bar, BAR_LEFT, y + 5, width, BAR_HEIGHT - 10, f"{label}: {written}"),
            format_html('<text x="{}" y="{}">{}</text>', BAR_LEFT + width + 6, y + 20, written),
        ]
    title = '<text class="console-axis" x="{}" y="{}" text-anchor="middle">{}</text>'
    parts.append(format_html(title, BAR_LEFT + room / 2, bottom + 40, chart.value_axis))
    return bottom + 48, parts
