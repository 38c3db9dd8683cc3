"""Charts of a run's history: loss, accuracy and learning rate by epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import altair as alt

from ml.charts.axes import number_format
from ml.charts.chart_data import ChartData
from ml.charts.theme import (
    BLUE,
    GREY,
    HEIGHT,
    ORANGE,
    VERMILLION,
    WIDTH,
    Picture,
    table,
    title,
    whole,
)
from ml.losses import CrossEntropySpec, LossName
from ml.signature import Classes


@dataclass(frozen=True)
class LossTitle:
    """Name of a loss, and its unit: of targets as they are, and of targets that are standardized
    for training."""

    name: str
    unit: str
    standardized: str


LOSS_TITLES: dict[LossName, LossTitle] = {
    "mse": LossTitle("mean squared error", "unit: {} squared", "unit: variance of {}"),
    "mae": LossTitle("mean absolute error", "unit: {}", "unit: standard deviation of {}"),
    "huber": LossTitle("Huber loss", "of {}", "of {} in standard deviations"),
    "cross_entropy": LossTitle("cross-entropy", "unit: nats", "unit: nats"),
}
SPREAD = 50.0
"""Ratio of the greatest to the least loss above which the axis is logarithmic."""
FEW = 40
"""Maximum number of epochs for which each has a mark."""

TRAINING, VALIDATION, TEST, STEPS = "training", "validation", "test", "training, by step"
COLOURS = {STEPS: GREY, TRAINING: BLUE, VALIDATION: ORANGE, TEST: VERMILLION}

LOSSES = {"train_loss": TRAINING, "validation_loss": VALIDATION, "test_loss": TEST}
ACCURACIES = {"validation_accuracy": VALIDATION, "test_accuracy": TEST}

Row = tuple[str, float, float]
"""Series, epoch, value."""


def loss(chart_data: ChartData) -> Picture:
    """Return training, validation and test loss by epoch, and the loss by step if there are more
    steps than epochs."""
    rows = [(LOSSES[name], at.epoch, value) for name, at, value in chart_data.series(*LOSSES)]
    steps = [(STEPS, p.epoch, p.values["loss"]) for p in chart_data.steps if "loss" in p.values]
    if rows and len(steps) <= len(chart_data.epochs):
        steps = []
    base = alt.Chart().encode(
        x=_epochs(chart_data),
        y=_losses(chart_data, [value for *_, value in steps + rows]),
        color=_colours(steps + rows, COLOURS),
    )
    lines = [
        base.mark_line(strokeWidth=1, opacity=0.7).properties(data=_table(steps)),
        base.mark_line(strokeWidth=2, point=len(chart_data.epochs) <= FEW).properties(
            data=_table(rows)
        ),
    ]
    return _layered(lines, "Loss by epoch", _training_only(chart_data), chart_data.epochs_drawn())


def _training_only(chart_data: ChartData) -> str:
    """Return what sets the loss of training rows apart from that of other rows."""
    spec = chart_data.spec
    options: dict[str, object] = {"changed at random": spec.augment}
    if isinstance(spec.loss, CrossEntropySpec):
        options["weighted by class"] = spec.loss.class_weights
        options["smoothed"] = spec.loss.label_smoothing
    done = [words for words, option in options.items() if option]
    return f"training rows are {' and '.join(done)}" if done else ""


def has_loss(chart_data: ChartData) -> bool:
    """Return whether a loss is reported."""
    return bool(chart_data.series(*LOSSES)) or any("loss" in p.values for p in chart_data.steps)


def accuracy(chart_data: ChartData) -> Picture:
    """Return validation and test accuracy by epoch, and the accuracy of the final evaluation."""
    series = [
        (ACCURACIES[name], point.epoch, value)
        for name, point, value in chart_data.series(*ACCURACIES)
    ]
    ends = []
    if chart_data.summary is not None:
        found = chart_data.classification
        is_drawn = any(name == found.split for name, *_ in series)
        name = found.split if is_drawn else f"{found.split}, at the end"
        ends = [(name, _last(chart_data), found.accuracy)]
    colours = {name: VERMILLION for name, *_ in ends} | COLOURS
    base = alt.Chart().encode(
        x=_epochs(chart_data),
        y=alt.Y("value:Q", title="accuracy (share of rows)")
        .axis(format=".1~%")
        .scale(zero=False, padding=12),
        color=_colours(series + ends, colours),
    )
    end = base.properties(data=_table(ends))
    layers = [
        base.mark_line(strokeWidth=2, point=len(chart_data.epochs) <= FEW).properties(
            data=_table(series)
        ),
        end.mark_point(filled=True, opacity=1, size=110, shape="diamond"),
        end.mark_text(align="right", baseline="bottom", dx=6, dy=-8, fontSize=13).encode(
            text=alt.Text("value:Q", format=".2%")
        ),
    ]
    subtitle = (
        "" if series else "without a validation split or test_every, only the end is measured"
    )
    return _layered(layers, "Accuracy by epoch", subtitle, chart_data.epochs_drawn())


def learning_rate(chart_data: ChartData) -> Picture:
    """Return the learning rate at the last step of each epoch."""
    rows = [("lr", point.epoch, value) for _, point, value in chart_data.series("lr")]
    line = (
        alt.Chart(_table(rows))
        .mark_line(color=BLUE, strokeWidth=2, point=len(rows) <= FEW)
        .encode(
            x=_epochs(chart_data),
            y=alt.Y("value:Q", title="learning rate")
            .axis(format="~g")
            .scale(domain=[0, 1.1 * max(value for *_, value in rows)], nice=False),
        )
    )
    schedule = chart_data.spec.schedule.kind.replace("_", " ")
    if schedule != "one cycle" and chart_data.spec.schedule.warmup:
        schedule += " after a warm-up"
    drawn = chart_data.epochs_drawn()
    return _layered([line], "Learning rate by epoch", f"schedule: {schedule}", drawn)


def _layered(layers: Sequence[alt.Chart], text: str, *subtitles: str) -> Picture:
    chart: Picture = alt.layer(*layers)
    return chart.properties(width=WIDTH, height=HEIGHT, title=title(text, *subtitles))


def _losses(chart_data: ChartData, values: Sequence[float]) -> alt.Y:
    """Return the axis of losses, titled with the loss and its unit."""
    low, high = min(values), max(values)
    is_logarithmic = low > 0 and high / low > SPREAD
    loss, output = LOSS_TITLES[chart_data.spec.loss.kind], chart_data.signature.output
    unit = loss.standardized if chart_data.is_target_standardized else loss.unit
    if not isinstance(output, Classes):
        unit = unit.format(output.name if output.kind == "value" else "each target")
    # The scale stands first: a long name would be truncated.
    y = alt.Y("value:Q", title=[loss.name, f"log scale, {unit}" if is_logarithmic else unit])
    y = y.axis(format=number_format(low, high))
    return y.scale(type="log", domain=[low, high]) if is_logarithmic else y


def _epochs(chart_data: ChartData) -> alt.X:
    last = _last(chart_data)
    scale = alt.Scale(domain=[0, max(1, last)], nice=False)
    return alt.X("epoch:Q", title="epochs done", axis=whole(max(1, last)), scale=scale)


def _last(chart_data: ChartData) -> float:
    """Return the last epoch of the history, fractional only before the first one is done."""
    points = chart_data.epochs or chart_data.steps
    return points[-1].epoch if points else chart_data.spec.epochs


def _colours(rows: Sequence[Row], colours: Mapping[str, str]) -> alt.Color:
    """Return the colours of the series in `rows`, in order of appearance."""
    present = list(dict.fromkeys(name for name, *_ in rows))
    scale = alt.Scale(domain=present, range=[colours[name] for name in present])
    return alt.Color("series:N", title=None, scale=scale)


def _table(rows: Sequence[Row]) -> alt.InlineData:
    names, epochs, values = zip(*rows, strict=True) if rows else ((), (), ())
    return table(series=names, epoch=epochs, value=values)
