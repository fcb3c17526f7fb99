"""Charts as SVG, made here: no script draws them. Colours are classes, so that they follow light and dark.

A chart has axes with titles, a grid with values, and an accessible name. Its table beside it has the same figures, so
the drawing is one image to a screen reader.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from bedrock_chat.console.writing import axis_value
from bedrock_chat.console.panels import Chart, ChartKind, Series

WIDTH: Final = 720
HEIGHT: Final = 280
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 14, 56
"""Room for the titles and values of the axes."""
MOST_LABELS: Final = 10
TICKS: Final = 4
COLOURS: Final = 8
"""Classes `console-series-0` and so on are in the style sheet."""

BAR_HEIGHT: Final = 30
BAR_LEFT: Final = 210
LONGEST_LABEL: Final = 28


def draw(chart: Chart) -> SafeString:
    """The SVG of a chart."""
    if chart.kind is ChartKind.BARS:
        height, parts = _lying(chart)
    else:
        height, parts = HEIGHT, [*_grid(chart), *_labels(chart), *_values(chart)]
    return format_html(
        '<svg class="console-chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>',
        WIDTH,
        height,
        chart.title,
        format_html_join("", "{}", ((part,) for part in parts)),
    )


def top_of(chart: Chart) -> float:
    """The highest value of the axis: a round number that is not below any value."""
    if chart.kind is ChartKind.STACKED:
        sums = [sum(values[index] or 0 for values in _columns(chart)) for index in range(len(chart.labels))]
        highest = max(sums, default=0)
    else:
        highest = max((value for series in chart.series for value in series.values if value is not None), default=0)
    if highest <= 0:
        return 1.0
    step = 10 ** math.floor(math.log10(highest / TICKS))
    return next(step * part * TICKS for part in (1, 2, 2.5, 5, 10) if step * part * TICKS >= highest)


def _columns(chart: Chart) -> list[Sequence[float | None]]:
    return [series.values for series in chart.series]


def _x(chart: Chart, index: float) -> float:
    """The left edge of the place of a label."""
    return LEFT + (WIDTH - LEFT - RIGHT) * index / max(1, len(chart.labels))


def _y(value: float, top: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)


def _grid(chart: Chart) -> Iterator[SafeString]:
    top = top_of(chart)
    for tick in range(TICKS + 1):
        value = top * tick / TICKS
        y = round(_y(value, top), 1)
        yield format_html('<line class="console-grid" x1="{}" x2="{}" y1="{}" y2="{}"/>', LEFT, WIDTH - RIGHT, y, y)
        yield format_html(
            '<text x="{}" y="{}" text-anchor="end">{}</text>', LEFT - 8, y + 4, axis_value(value, chart.unit)
        )
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    yield format_html(
        '<text class="console-axis" x="14" y="{}" text-anchor="middle" transform="rotate(-90 14 {})">{}</text>',
        middle,
        middle,
        chart.value_axis,
    )


def _labels(chart: Chart) -> Iterator[SafeString]:
    step = math.ceil(len(chart.labels) / MOST_LABELS)
    for index in range(0, len(chart.labels), max(1, step)):
        yield format_html(
            '<text x="{}" y="{}" text-anchor="middle">{}</text>',
            round(_x(chart, index + 0.5), 1),
            HEIGHT - BOTTOM + 18,
            chart.labels[index],
        )
    yield format_html(
        '<text class="console-axis" x="{}" y="{}" text-anchor="middle">{}</text>',
        LEFT + (WIDTH - LEFT - RIGHT) / 2,
        HEIGHT - 8,
        chart.label_axis,
    )


def _values(chart: Chart) -> Iterator[SafeString]:
    top = top_of(chart)
    if chart.kind is ChartKind.LINES:
        for number, series in enumerate(chart.series):
            yield from _line(chart, series, number, top)
        return
    width = _x(chart, 1) - _x(chart, 0)
    for index, label in enumerate(chart.labels):
        below = 0.0
        for number, series in enumerate(chart.series):
            value = series.values[index] or 0
            if value <= 0:
                continue
            upper, lower = _y(below + value, top), _y(below, top)
            yield format_html(
                '<rect class="console-series-{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
                number % COLOURS,
                round(_x(chart, index) + width * 0.1, 1),
                round(upper, 1),
                round(min(width * 0.8, 60), 1),
                round(max(lower - upper, 0.5), 1),
                f"{label}, {series.name}: {axis_value(value, chart.unit)}",
            )
            below += value


def _line(chart: Chart, series: Series, number: int, top: float) -> Iterator[SafeString]:
    """A line, broken where there is no value, and a dot for each value."""
    points = [
        None if value is None else (round(_x(chart, index + 0.5), 1), round(_y(value, top), 1))
        for index, value in enumerate(series.values)
    ]
    path, is_broken = [], True
    for point in points:
        if point is not None:
            path.append(f"{'M' if is_broken else 'L'}{point[0]} {point[1]}")
        is_broken = point is None
    yield format_html('<path class="console-line console-series-{}" d="{}"/>', number % COLOURS, " ".join(path))
    for label, point, value in zip(chart.labels, points, series.values, strict=True):
        if point is not None and value is not None:
            yield format_html(
                '<circle class="console-series-{}" cx="{}" cy="{}" r="3"><title>{}</title></circle>',
                number % COLOURS,
                *point,
                f"{label}, {series.name}: {axis_value(value, chart.unit)}",
            )


def _lying(chart: Chart) -> tuple[int, list[SafeString]]:
    """Bars that lie under each other, with their names at the left. Returns the height of the drawing, and its parts."""
    top, room = top_of(chart), WIDTH - BAR_LEFT - 90
    bottom = TOP + BAR_HEIGHT * len(chart.labels)
    parts = []
    for tick in range(TICKS + 1):
        x = BAR_LEFT + room * tick / TICKS
        value = axis_value(top * tick / TICKS, chart.unit)
        parts += [
            format_html('<line class="console-grid" x1="{}" x2="{}" y1="{}" y2="{}"/>', x, x, TOP, bottom),
            format_html('<text x="{}" y="{}" text-anchor="middle">{}</text>', x, bottom + 18, value),
        ]
    [series] = chart.series
    for index, (label, value) in enumerate(zip(chart.labels, series.values, strict=True)):
        y, width = TOP + BAR_HEIGHT * index, room * (value or 0) / top
        text = label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"
        parts += [
            format_html('<text x="{}" y="{}" text-anchor="end">{}</text>', BAR_LEFT - 8, y + 20, text),
            format_html(
                '<rect class="console-series-0" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
                BAR_LEFT,
                y + 5,
                round(max(width, 1), 1),
                BAR_HEIGHT - 10,
                f"{label}: {axis_value(value or 0, chart.unit)}",
            ),
            format_html(
                '<text x="{}" y="{}">{}</text>',
                round(BAR_LEFT + max(width, 1) + 6, 1),
                y + 20,
                axis_value(value or 0, chart.unit),
            ),
        ]
    title = '<text class="console-axis" x="{}" y="{}" text-anchor="middle">{}</text>'
    parts.append(format_html(title, BAR_LEFT + room / 2, bottom + 40, chart.value_axis))
    return bottom + 48, parts
