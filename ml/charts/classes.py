"""Charts of a classification: confusion matrix, calibration, misclassified images."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import altair as alt

from ml.charts.axes import counted
from ml.charts.chart_data import ChartData
from ml.charts.theme import (
    BLACK,
    BLUE,
    GREY,
    SHARES,
    SQUARE,
    VERMILLION,
    Picture,
    names_axis,
    table,
    title,
)
from ml.evaluation.schemas import Bin

MAX_CLASSES = 25
"""Maximum number of classes in a confusion matrix; of more, the most confused are shown."""
COUNTED = 15
"""Maximum number of classes for which every cell shows its count."""
CELL, LONGEST_CELL = 26, 42
SMALLEST = 180
"""Minimum side of a confusion matrix, in pixels."""
SHEET = 5
"""Number of images in a row of the sheet."""
ROWS_PER_POINT = 4
"""Minimum number of rows for each point of a calibration, on average."""
FRAME = 12
"""Distance of 0 and 1 from the frame of a calibration, in pixels."""
Z95 = 1.959964
"""Standard normal deviate of a two-sided 95% interval."""
IMAGE, PITCH = 96, 150
"""Side of an image, and distance between the starts of two images, in pixels."""


def confusion(chart_data: ChartData) -> Picture:
    """Return the confusion matrix; darker cells have a greater share of their class's rows."""
    found = chart_data.classification
    matrix = found.confusion or []
    chosen, names = _most_confused(matrix), [scores.name for scores in found.classes]
    cells = [
        (names[i], names[j], matrix[i][j] / max(1, sum(matrix[i])), matrix[i][j])
        for i in chosen
        for j in chosen
    ]
    actual, predicted, share, rows = zip(*cells, strict=True)
    order = [names[i] for i in chosen]
    size = max(SMALLEST, len(chosen) * (LONGEST_CELL if len(chosen) <= COUNTED else CELL))
    base = alt.Chart(table(actual=actual, predicted=predicted, share=share, rows=rows)).encode(
        x=alt.X("predicted:N", sort=order).axis(
            names_axis(order, labelAngle=-45 if _are_long(order) else 0)
        ),
        y=alt.Y("actual:N", sort=order).axis(names_axis(order)),
    )
    heat = base.mark_rect(stroke="white", strokeWidth=1).encode(
        color=alt.Color("share:Q", title=["share of the", "class's rows"])
        # On a linear scale, the few mistakes of a good model would be invisible.
        .scale(type="pow", exponent=0.4, domain=[0, 1], range=SHARES, interpolate="rgb")
        .legend(format="~%", values=[0, 0.01, 0.1, 0.5, 1])
    )
    layers: list[alt.Chart | alt.LayerChart] = [heat]
    if len(chosen) <= COUNTED:
        layers.append(
            base.transform_filter("datum.rows > 0")
            .mark_text(fontSize=11)
            .encode(
                text=alt.Text("rows:Q", format=",d"),
                color=alt.condition("datum.share > 0.12", alt.value("white"), alt.value(BLACK)),
            )
        )
    drawn, subtitle = sum(rows), chart_data.evaluated_on()
    selection = ""
    if len(chosen) < len(names):
        subtitle = f"{drawn:,} of {subtitle} drawn"
        selection = f"the {len(chosen)} most confused of {len(names):,} classes"
    return alt.layer(*layers).properties(
        width=size, height=size, title=title("Confusion matrix", subtitle, selection)
    )


def calibration(chart_data: ChartData) -> Picture:
    """Return accuracy by predicted probability, and the diagonal of perfect calibration."""
    found = chart_data.classification
    points = _calibration_points(found.calibration.bins, found.rows)
    intervals = [wilson(point.accuracy, point.rows) for point in points]
    scale = alt.Scale(domain=[0, 1], nice=False, padding=FRAME)
    axis = alt.Axis(format="~%", values=[0, 0.2, 0.4, 0.6, 0.8, 1])
    base = alt.Chart(
        table(
            x=[point.confidence for point in points],
            y=[point.accuracy for point in points],
            low=[low for low, _ in intervals],
            high=[high for _, high in intervals],
            rows=[point.rows for point in points],
        )
    ).encode(
        x=alt.X("x:Q", title="mean probability of the answers", scale=scale, axis=axis),
        y=alt.Y("y:Q", title="share of the answers that are right", scale=scale, axis=axis),
    )
    diagonal = (
        alt.Chart(table(x=[0, 1], y=[0, 1]))
        .mark_line(color=GREY, strokeDash=[6, 4])
        .encode(x="x:Q", y="y:Q")
    )
    rows = [point.rows for point in points] or [1]
    sizes = alt.Scale(type="sqrt", domain=[0, max(rows)], range=[20, 300])
    legend = alt.Legend(values=sorted({min(rows), max(rows)}), format=",d")
    error = found.calibration.error
    gap = "" if error is None else f", expected calibration error {error:.2%}"
    return alt.layer(
        diagonal,
        base.mark_rule(color=BLUE, strokeWidth=1.5, opacity=0.5).encode(
            y=alt.Y("low:Q"), y2="high:Q"
        ),
        base.mark_circle(color=BLUE, opacity=0.9).encode(
            size=alt.Size("rows:Q", title="rows", scale=sizes, legend=legend)
        ),
    ).properties(
        width=SQUARE,
        height=SQUARE,
        title=title(
            "Calibration",
            f"{chart_data.evaluated_on()}{gap}",
            "dashed: perfect; upright lines: 95% intervals",
        ),
    )


def misclassified(chart_data: ChartData) -> Picture:
    """Return a sheet of misclassified images, the most confident mistakes first."""
    mistakes = chart_data.sample.mistakes
    assert mistakes is not None
    found = chart_data.classification
    wrong = round((1 - found.accuracy) * found.rows)
    shown = "the surest mistakes first"
    if len(mistakes) < wrong:
        shown = f"the {counted(len(mistakes), 'surest mistake')} drawn"
    subtitle = f"{wrong:,} of {chart_data.evaluated_on()}" + (f", {shown}" if mistakes else "")
    across, down = min(len(mistakes), SHEET) or 1, -(-len(mistakes) // SHEET) or 1
    sheet = table(
        x=[i % SHEET for i in range(len(mistakes))],
        y=[i // SHEET for i in range(len(mistakes))],
        url=[f"data:image/png;base64,{mistake.png}" for mistake in mistakes],
        actual=[f"is {mistake.actual}" for mistake in mistakes],
        predicted=[_verdict(m.predicted, m.probability) for m in mistakes],
    )
    base = alt.Chart(sheet).encode(
        x=alt.X("x:Q").axis(None).scale(domain=[-0.5, across - 0.5], nice=False),
        y=alt.Y("y:Q").axis(None).scale(domain=[-0.5, down - 0.5], nice=False, reverse=True),
    )
    chart: Picture = (
        alt.layer(
            base.mark_image(width=IMAGE, height=IMAGE, yOffset=-18).encode(url="url:N"),
            base.mark_text(dy=IMAGE / 2 - 5, color=BLACK, fontSize=12, limit=PITCH - 8).encode(
                text="actual:N"
            ),
            base.mark_text(
                dy=IMAGE / 2 + 11, color=VERMILLION, fontSize=12, limit=PITCH - 8
            ).encode(text="predicted:N"),
        )
        .properties(
            width=max(3, across) * PITCH,
            height=down * PITCH,
            title=title("Misclassified images", subtitle),
        )
        .configure_view(stroke=None)
    )
    return chart


class CalibrationPoint(NamedTuple):
    """Rows of neighbouring bins: their number, mean confidence and accuracy."""

    rows: int
    confidence: float
    accuracy: float


def _calibration_points(bins: Sequence[Bin], rows: int) -> list[CalibrationPoint]:
    """Return a point for each bin that is not empty. Of few rows, neighbouring bins are merged
    until there are `ROWS_PER_POINT` for each point: a single row is either right or wrong."""
    widths = [n for n in range(1, len(bins) + 1) if len(bins) % n == 0]
    most = max(1, rows // ROWS_PER_POINT)
    width = next(n for n in widths if len(bins) // n <= most)
    return [
        CalibrationPoint(*sums)
        for start in range(0, len(bins), width)
        if (sums := _pooled(bins[start : start + width]))
    ]


def _pooled(bins: Sequence[Bin]) -> tuple[int, float, float] | None:
    """Return rows, mean confidence and accuracy of `bins` together; None without rows."""
    known = [
        (b.count, b.confidence, b.accuracy)
        for b in bins
        if b.confidence is not None and b.accuracy is not None
    ]
    rows = sum(count for count, *_ in known)
    if not rows:
        return None
    confidence = sum(count * confidence for count, confidence, _ in known) / rows
    accuracy = sum(count * accuracy for count, _, accuracy in known) / rows
    return rows, min(confidence, 1.0), min(accuracy, 1.0)


def wilson(share: float, rows: int) -> tuple[float, float]:
    """Return the 95% interval of a share observed in `rows` rows.

    Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    z2 = Z95**2 / rows
    centre = (share + z2 / 2) / (1 + z2)
    half = Z95 * math.sqrt(share * (1 - share) / rows + z2 / (4 * rows)) / (1 + z2)
    return max(0.0, centre - half), min(1.0, centre + half)


def _most_confused(matrix: list[list[int]]) -> list[int]:
    """Return the indices of the `MAX_CLASSES` classes with the most errors, in class order."""
    errors = [
        sum(row) + sum(other[i] for other in matrix) - 2 * row[i] for i, row in enumerate(matrix)
    ]
    worst = sorted(range(len(matrix)), key=lambda i: -errors[i])
    return sorted(worst[:MAX_CLASSES])


def _are_long(names: list[str]) -> bool:
    return max(map(len, names)) > 4


def _verdict(name: str, probability: float | None) -> str:
    return f"taken for {name}" if probability is None else f"{probability:.0%} sure of {name}"
