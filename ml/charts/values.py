"""Charts of values: predicted against actual, residuals, fit."""

from collections.abc import Sequence

import altair as alt

from ml.charts.axes import counted, domain, figure, number_axis, number_format, number_range
from ml.charts.chart_data import ChartData, TargetData
from ml.charts.theme import (
    BLACK,
    BLUE,
    GREEN,
    HEIGHT,
    ORANGE,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    PANELS,
    SKY,
    SQUARE,
    VERMILLION,
    WIDTH,
    Picture,
    opacity,
    table,
    title,
    whole,
)
from ml.signature import Signature, Value

CURVES = [SKY, GREEN, ORANGE, VERMILLION, BLACK]
"""Colours of the curves; the last one is that of the trained model."""
Layers = alt.LayerChart | alt.FacetChart
LEGEND_ROWS = 16
"""Maximum rows of a legend in a chart's height."""


def predictions(chart_data: ChartData) -> Picture:
    """Return predicted against actual values, and the diagonal of equal values; of several targets,
    a panel of each."""
    targets, rows = chart_data.targets, chart_data.evaluated_on()
    drawn = sum(value is not None for value in targets[0].pairs.predicted)
    if drawn < chart_data.evaluation.rows:
        rows = f"{drawn:,} of {rows} drawn"
    heading, note = "Predicted against actual", "dashed: equal"
    if len(targets) > 1:
        panels = [
            _predicted_by_actual(target).properties(
                width=PANEL_WIDTH, height=PANEL_WIDTH, title=title(target.name, _r2(target))
            )
            for target in targets
        ]
        return _panels(panels, chart_data, heading, rows, note)
    [target] = targets
    subtitle = ", ".join(filter(None, (rows, _r2(target))))
    return _predicted_by_actual(target).properties(
        width=SQUARE, height=SQUARE, title=title(heading, subtitle, note)
    )


def _predicted_by_actual(target: TargetData) -> Layers:
    pairs, name = target.pairs, target.name
    seen = [*pairs.actual, *pairs.predicted]
    ends = domain(*number_range(seen))
    scale = alt.Scale(domain=ends, nice=False, zero=False, padding=8)
    axis = number_axis(name, seen, ticks=8)
    diagonal = (
        alt.Chart(table(x=ends, y=ends))
        .mark_line(color=VERMILLION, strokeDash=[6, 4], strokeWidth=1.5)
        .encode(x="x:Q", y="y:Q")
    )
    points = (
        alt.Chart(table(x=pairs.actual, y=pairs.predicted))
        .mark_circle(size=30, opacity=opacity(len(pairs.actual)), color=BLUE)
        .encode(
            x=alt.X("x:Q", title=f"actual {name}", scale=scale, axis=axis),
            y=alt.Y("y:Q", title=f"predicted {name}", scale=scale, axis=axis),
        )
    )
    return alt.layer(points, diagonal)


def _r2(target: TargetData) -> str:
    r2 = target.scores.r2
    return "" if r2 is None else f"R² = {_short(r2)}"


def residuals(chart_data: ChartData) -> Picture:
    """Return a histogram of the residuals; of several targets, one of each."""
    targets, rows = chart_data.targets, chart_data.evaluated_on()
    if len(targets) > 1:
        panels = [
            _histogram(target).properties(
                width=PANEL_WIDTH, height=PANEL_HEIGHT, title=title(target.name, _spread(target))
            )
            for target in targets
        ]
        return _panels(panels, chart_data, "Residuals", rows)
    [target] = targets
    subtitle = ", ".join(filter(None, (rows, _spread(target))))
    return _histogram(target).properties(
        width=WIDTH, height=HEIGHT, title=title("Residuals", subtitle)
    )


def _histogram(target: TargetData) -> Layers:
    histogram, name = target.scores.residuals.histogram, target.name
    edges, counts = (histogram.edges, histogram.counts) if histogram else ([0.0], [])
    bars = (
        alt.Chart(table(low=edges[:-1], high=edges[1:], rows=counts))
        .mark_bar(color=SKY, stroke="white", strokeWidth=0.5)
        .encode(
            x=alt.X("low:Q", bin="binned", title=f"actual minus predicted {name}").axis(
                format=number_format(edges[0], edges[-1]), tickCount=8
            ),
            x2="high:Q",
            y=alt.Y("rows:Q", title="rows", axis=whole(max(counts, default=0))),
        )
    )
    zero = alt.Chart(table(x=[0])).mark_rule(color=BLACK, strokeDash=[6, 4]).encode(x="x:Q")
    return alt.layer(bars, zero)


def _spread(target: TargetData) -> str:
    mean, deviation = target.scores.residuals.mean, target.scores.residuals.std
    if mean is None or deviation is None:
        return ""
    return f"mean {figure(mean)}, deviation {figure(deviation)}"


def _panels(
    panels: Sequence[Layers], chart_data: ChartData, heading: str, rows: str, note: str = ""
) -> Picture:
    """Return the panels of several targets as one picture."""
    subtitle = ", ".join(filter(None, (chart_data.targets_drawn(len(panels)), rows)))
    picture: Picture = alt.concat(*panels, columns=PANELS, title=title(heading, subtitle, note))
    return picture


def fit(chart_data: ChartData) -> Picture:
    """Return the fitted curve after several epochs, below the data."""
    sample, found = chart_data.sample.features, chart_data.sample.fit
    assert sample
    assert found
    assert isinstance(sample.targets, list)
    [(feature, values)] = sample.columns.items()
    target = _name(chart_data.signature)
    snapshots = [
        f"{curve.epoch:,}" + ("" if curve.loss is None else f": {figure(curve.loss)}")
        for curve in found.curves
    ]
    rows = [
        (snapshot, f"{curve.epoch:,}", x, y)
        for snapshot, curve in zip(snapshots, found.curves, strict=True)
        for x, y in zip(found.grid, curve.values, strict=True)
    ]
    labels, epochs, xs, ys = zip(*rows, strict=True)
    low, high = domain(*number_range([*values, *found.grid]))
    lines = (
        alt.Chart(table(snapshot=labels, epoch=epochs, x=xs, y=ys))
        .mark_line()
        .encode(
            x=alt.X("x:Q", title=feature)
            .scale(domain=[low, high], nice=False, zero=False, padding=8)
            .axis(number_axis(feature, values, ticks=8)),
            y=alt.Y("y:Q", title=target)
            .scale(zero=False)
            .axis(number_axis(target, sample.targets, ticks=6)),
            color=alt.Color(
                "snapshot:N",
                title="epochs done: loss",
                sort=snapshots,
                scale=_curve_colours(snapshots),
                legend=alt.Legend(columns=-(-len(snapshots) // LEGEND_ROWS), symbolLimit=0),
            ),
            # Earlier curves are wider, so that they show beneath later ones.
            strokeWidth=alt.StrokeWidth(
                "snapshot:O", sort=snapshots, legend=None, scale=alt.Scale(range=[4, 1.5])
            ),
        )
    )
    points = (
        alt.Chart(table(x=values, y=sample.targets))
        .mark_circle(
            size=38, opacity=opacity(len(values)) + 0.3, color=BLUE, stroke="white", strokeWidth=0.8
        )
        .encode(x="x:Q", y="y:Q")
    )
    drawn = sum(value is not None for value in values)
    total = sample.rows or len(values)
    rows_drawn = counted(total, "training row")
    return alt.layer(lines, points).properties(
        width=WIDTH,
        height=HEIGHT,
        title=title(
            "The fit as it was learned",
            rows_drawn if drawn == total else f"{drawn:,} of {rows_drawn} drawn",
        ),
    )


def _curve_colours(snapshots: list[str]) -> alt.Scale:
    if len(snapshots) <= len(CURVES):
        return alt.Scale(domain=snapshots, range=CURVES[-len(snapshots) :])
    return alt.Scale(domain=snapshots, scheme=alt.SchemeParams("viridis", extent=[1, 0]))


def _name(signature: Signature) -> str:
    assert isinstance(signature.output, Value)
    return signature.output.name


def _short(number: float) -> str:
    """Return a coefficient with four decimals, or few digits if it is far below 0."""
    return f"{number:.4f}" if number > -100 else figure(number)
