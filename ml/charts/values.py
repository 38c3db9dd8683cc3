"""Charts of values: features, predicted against actual, residuals, fit."""

from collections.abc import Sequence

import altair as alt

from ml.charts.chart_data import ChartData
from ml.charts.theme import (
    BLACK,
    BLUE,
    GREEN,
    HEIGHT,
    MAX_LABEL,
    ORANGE,
    SKY,
    SQUARE,
    VERMILLION,
    WIDTH,
    Picture,
    table,
    title,
    whole,
)
from ml.signature import Classes, Signature
from ml.training.summary import FeatureSample, Number

PANELS = 3
"""Number of panels side by side."""
PANEL_WIDTH, PANEL_HEIGHT = 230, 200
MAX_CLASSES = 20
"""Maximum number of classes shown of a target."""
CURVES = [SKY, ORANGE, GREEN, VERMILLION, BLACK]
"""Colours of the curves; the last one is that of the trained model."""
GOLDEN = 0.6180339887
"""Golden ratio minus 1: the fractional parts of its multiples are spread evenly."""


def features(chart_data: ChartData) -> Picture:
    """Return a panel for each feature, against the target."""
    sample = chart_data.sample.features
    assert sample
    alone = len(sample.columns) == 1
    width, height = (WIDTH, HEIGHT) if alone else (PANEL_WIDTH, PANEL_HEIGHT)
    panels = [
        alt.Chart(_column(sample, values, chart_data.signature))
        .mark_circle(size=22, opacity=0.55, color=BLUE)
        .encode(
            x=alt.X("x:Q", title=name).scale(zero=False).axis(tickCount=5),
            **_target(chart_data.signature, first=i % PANELS == 0),
        )
        .properties(width=width, height=height)
        for i, (name, values) in enumerate(sample.columns.items())
    ]
    shown, rows = len(panels), len(sample.targets)
    of = f"the first {shown} of {sample.features} features, " if sample.features > shown else ""
    return alt.concat(
        *panels,
        columns=PANELS,
        title=title("Each feature against the target", f"{of}{rows:,} training rows"),
    )


def predictions(chart_data: ChartData) -> Picture:
    """Return predicted against actual values, and the diagonal of equal values."""
    pairs, name = chart_data.sample.pairs, _name(chart_data.signature)
    assert pairs
    seen = [*pairs.actual, *(value for value in pairs.predicted if value is not None)]
    ends = [min(seen), max(seen)]
    scale = alt.Scale(domain=ends, nice=False, zero=False, padding=8)
    diagonal = (
        alt.Chart(table(x=ends, y=ends))
        .mark_line(color=VERMILLION, strokeDash=[6, 4])
        .encode(x=alt.X("x:Q").scale(scale), y=alt.Y("y:Q").scale(scale))
    )
    points = (
        alt.Chart(table(x=pairs.actual, y=pairs.predicted))
        .mark_circle(size=30, opacity=0.5, color=BLUE)
        .encode(
            x=alt.X("x:Q", title=f"actual {name}").scale(scale).axis(tickCount=8),
            y=alt.Y("y:Q", title=f"predicted {name}").scale(scale).axis(tickCount=8),
        )
    )
    found = chart_data.regression
    r2 = "" if found.r2 is None else f", R² = {found.r2:.4f}"
    return alt.layer(points, diagonal).properties(
        width=SQUARE,
        height=SQUARE,
        title=title("Predicted against actual", f"{chart_data.evaluated_on()}{r2}; dashed: equal"),
    )


def residuals(chart_data: ChartData) -> Picture:
    """Return a histogram of the residuals."""
    found, name = chart_data.regression, _name(chart_data.signature)
    histogram = found.residuals.histogram
    edges, counts = (histogram.edges, histogram.counts) if histogram else ([0.0], [])
    bars = (
        alt.Chart(table(low=edges[:-1], high=edges[1:], rows=counts))
        .mark_bar(color=SKY, stroke="white", strokeWidth=0.5)
        .encode(
            x=alt.X("low:Q", bin="binned", title=f"actual minus predicted {name}"),
            x2="high:Q",
            y=alt.Y("rows:Q", title="rows", axis=whole(max(counts, default=0))),
        )
    )
    zero = alt.Chart(table(x=[0])).mark_rule(color=BLACK, strokeDash=[6, 4]).encode(x="x:Q")
    spread = ""
    if found.residuals.mean is not None and found.residuals.std is not None:
        spread = f", mean {found.residuals.mean:.3g}, deviation {found.residuals.std:.3g}"
    return alt.layer(bars, zero).properties(
        width=WIDTH, height=HEIGHT, title=title("Residuals", chart_data.evaluated_on() + spread)
    )


def fit(chart_data: ChartData) -> Picture:
    """Return the fitted curve after several epochs, over the data."""
    [(feature, values)] = chart_data.sample.features.columns.items()  # type: ignore[union-attr]
    assert chart_data.sample.features
    assert chart_data.sample.fit
    curves, grid = chart_data.sample.fit.curves, chart_data.sample.fit.grid
    points = (
        alt.Chart(table(x=values, y=chart_data.sample.features.targets))
        .mark_circle(size=28, opacity=0.45, color="#777777")
        .encode(x="x:Q", y="y:Q")
    )
    epochs = [f"{curve.epoch:,}" for curve in curves]
    rows = [
        (label, x, y)
        for label, curve in zip(epochs, curves, strict=True)
        for x, y in zip(grid, curve.values, strict=True)
    ]
    labels, xs, ys = zip(*rows, strict=True)
    lines = (
        alt.Chart(table(epoch=labels, x=xs, y=ys))
        .mark_line()
        .encode(
            x=alt.X("x:Q", title=feature).scale(zero=False, nice=False, padding=8),
            y=alt.Y("y:Q", title=_name(chart_data.signature)).scale(zero=False),
            color=alt.Color(
                "epoch:N", title="epochs done", sort=epochs, scale=alt.Scale(range=CURVES)
            ),
            # Earlier curves are wider, so that they show beneath later ones.
            strokeWidth=alt.StrokeWidth(
                "epoch:O", sort=epochs, legend=None, scale=alt.Scale(range=[8, 2])
            ),
        )
    )
    return alt.layer(points, lines).properties(
        width=WIDTH,
        height=HEIGHT,
        title=title("The fit as it was learned", f"{len(values):,} training rows"),
    )


def _name(signature: Signature) -> str:
    assert not isinstance(signature.output, Classes)
    return signature.output.name


def _column(
    sample: FeatureSample, values: Sequence[Number], signature: Signature
) -> alt.InlineData:
    if not isinstance(signature.output, Classes):
        return table(x=values, y=sample.targets)
    names = signature.output.names
    rows = [
        (x, names[int(target)], i * GOLDEN % 1)
        for i, (x, target) in enumerate(zip(values, sample.targets, strict=True))
        if target < MAX_CLASSES
    ]
    xs, ys, jitter = zip(*rows, strict=True) if rows else ((), (), ())
    return table(x=xs, y=ys, jitter=jitter)


def _target(signature: Signature, first: bool) -> dict[str, alt.SchemaBase]:
    """Return the encoding of the target; only the `first` panel of a row has labels."""
    if not isinstance(signature.output, Classes):
        name = signature.output.name if first else None
        return {"y": alt.Y("y:Q", title=name).scale(zero=False)}
    names = signature.output.names[:MAX_CLASSES]
    axis = alt.Axis(labelLimit=MAX_LABEL, labels=first, ticks=first)
    return {
        "y": alt.Y("y:N", title=None, sort=names, axis=axis).scale(domain=names),
        "yOffset": alt.YOffset("jitter:Q").scale(domain=[-0.3, 1.3]),
    }
