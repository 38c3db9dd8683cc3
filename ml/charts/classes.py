"""Charts of a classification: confusion matrix, calibration, misclassified images."""

import altair as alt

from ml.charts.chart_data import ChartData
from ml.charts.theme import BLACK, BLUE, GREY, SQUARE, VERMILLION, Picture, table, title

MAX_CLASSES = 25
"""Maximum number of classes in a confusion matrix; of more, the most confused are shown."""
COUNTED = 15
"""Maximum number of classes for which every cell shows its count."""
CELL, LONGEST_CELL = 26, 42
SHEET = 5
"""Number of images in a row of the sheet."""
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
    size = len(chosen) * (LONGEST_CELL if len(chosen) <= COUNTED else CELL)
    base = alt.Chart(table(actual=actual, predicted=predicted, share=share, rows=rows)).encode(
        x=alt.X("predicted:N", sort=order).axis(labelAngle=-45 if _are_long(order) else 0),
        y=alt.Y("actual:N", sort=order),
    )
    heat = base.mark_rect(stroke="white", strokeWidth=1).encode(
        color=alt.Color("share:Q", title=["share of the", "class's rows"])
        # On a linear scale, the few mistakes of a good model would be invisible.
        .scale(
            type="pow", exponent=0.4, domain=[0, 1], range=["#ffffff", "#08306b"], interpolate="rgb"
        )
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
    selection = f", the {len(chosen)} most confused of {len(names)} classes"
    subtitle = chart_data.evaluated_on() + (selection if len(chosen) < len(names) else "")
    return alt.layer(*layers).properties(
        width=size, height=size, title=title("Confusion matrix", subtitle)
    )


def calibration(chart_data: ChartData) -> Picture:
    """Return accuracy by predicted probability, and the diagonal of perfect calibration."""
    found = chart_data.classification.calibration
    bins = [b for b in found.bins if b.confidence is not None and b.accuracy is not None]
    scale = alt.Scale(domain=[0, 1])
    diagonal = (
        alt.Chart(table(x=[0, 1], y=[0, 1]))
        .mark_line(color=GREY, strokeDash=[6, 4])
        .encode(x=alt.X("x:Q").scale(scale), y=alt.Y("y:Q").scale(scale))
    )
    points = alt.Chart(
        table(
            x=[b.confidence for b in bins],
            y=[b.accuracy for b in bins],
            rows=[b.count for b in bins],
        )
    ).encode(
        x=alt.X("x:Q", title="mean probability of the answers").axis(format="~%"),
        y=alt.Y("y:Q", title="share of the answers that are right").axis(format="~%"),
    )
    error = "" if found.error is None else f", expected calibration error {found.error:.2%}"
    return alt.layer(
        diagonal,
        points.mark_circle(color=BLUE, opacity=0.9).encode(
            size=alt.Size("rows:Q", title="rows").scale(type="log", range=[30, 300])
        ),
    ).properties(
        width=SQUARE,
        height=SQUARE,
        title=title("Calibration", f"{chart_data.evaluated_on()}{error}"),
    )


def misclassified(chart_data: ChartData) -> Picture:
    """Return a sheet of misclassified images, the most confident mistakes first."""
    mistakes = chart_data.sample.mistakes
    assert mistakes is not None
    found = chart_data.classification
    wrong = round((1 - found.accuracy) * found.rows)
    order = ", the surest mistakes first" if mistakes else ""
    subtitle = f"{wrong:,} of {chart_data.evaluated_on()}{order}"
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
