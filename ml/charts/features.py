"""Chart of each feature against the target, with a panel for each."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np

from ml.charts.axes import counted, domain, number_axis, number_range
from ml.charts.chart_data import ChartData
from ml.charts.theme import (
    BLACK,
    BLUE,
    HEIGHT,
    ORANGE,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    PANELS,
    SHARES,
    WIDTH,
    Picture,
    names_axis,
    opacity,
    table,
    title,
)
from ml.signature import Classes, Signature
from ml.training.feature_sample import FeatureSample, KeptCategories, Number

MAX_PANELS = 24
"""Maximum number of panels of several targets together."""
MAX_CLASSES = 20
"""Maximum number of classes shown of a target: the most frequent ones."""
CLASS_HEIGHT = 17
"""Minimum height of a class, in pixels; its name needs as much."""
COUNT_WIDTH = 26
"""Minimum width of a cell that shows its count, in pixels."""
DAY = 24 * 60 * 60 * 1000
"""Milliseconds of a day."""
GOLDEN = 0.6180339887
"""Golden ratio minus 1: the fractional parts of its multiples are spread evenly."""
JITTER = alt.Scale(domain=[-0.3, 1.3])
MISSING = "missing"

Panel = alt.Chart | alt.LayerChart | alt.FacetChart


@dataclass(frozen=True)
class Target:
    """The target of the sampled rows."""

    name: str
    values: Sequence[float]
    """Values, or class indices."""
    classes: Sequence[str]
    """Names of all classes; empty for a regression."""
    shown: Sequence[int]
    """Indices of the classes that are shown, in order."""

    @property
    def names(self) -> list[str]:
        """Names of the classes that are shown."""
        return [self.classes[index] for index in self.shown]


@dataclass(frozen=True)
class Feature:
    """A feature of the sampled rows, and the size and place of its panel."""

    name: str
    values: Sequence[Number]
    """Numbers, milliseconds since 1970-01-01 in UTC, or codes of categories; null where missing."""
    categories: KeptCategories | None
    is_date: bool
    width: int
    height: int
    is_first: bool
    """Whether the panel is the first of its row, and has the labels of the target."""

    def labels(self) -> list[str]:
        """Return the label of each category: of those kept, the others, and missing values."""
        assert self.categories
        names = list(self.categories.names)
        if self.categories.others:
            names.append(_apart(f"{self.categories.others:,} others", names))
        if None in self.values:
            names.append(_apart(MISSING, names))
        return names

    def titled(self) -> str | list[str]:
        """Return the title of the axis, which says how many rows are not drawn."""
        missing = sum(value is None for value in self.values)
        if self.categories is not None or not missing:
            return self.name
        return [self.name, f"{counted(missing, 'row')} without a value not drawn"]


def features(chart_data: ChartData) -> Picture:
    """Return a panel for each feature, against the target; of several targets, rows of panels for
    each."""
    sample = chart_data.sample.features
    assert sample
    targets = _targets(sample, chart_data.signature)[: MAX_PANELS // len(sample.columns)]
    drawn = chart_data.targets_drawn(len(targets))
    panels = [_panels(sample, target) for target in targets]
    chart: Picture = panels[0] if len(panels) == 1 else alt.vconcat(*panels)
    subtitle, *notes = _subtitles(sample, targets[0])
    subtitle = ", ".join(filter(None, (drawn, subtitle)))
    heading = f"Each feature against {'the' if len(targets) == 1 else 'each'} target"
    return chart.properties(title=title(heading, subtitle, *notes))


def _panels(sample: FeatureSample, target: Target) -> alt.ConcatChart:
    """Return a panel for each feature, against `target`."""
    width, height = (WIDTH, HEIGHT) if len(sample.columns) == 1 else (PANEL_WIDTH, PANEL_HEIGHT)
    height = max(height, CLASS_HEIGHT * len(target.shown))
    panels = []
    for place, (name, values) in enumerate(sample.columns.items()):
        categories, is_date = sample.categories.get(name), name in sample.dates
        if is_date:
            values = [None if value is None else value * DAY for value in values]
        is_first = place % PANELS == 0
        feature = Feature(name, values, categories, is_date, width, height, is_first)
        draw = PANEL_KINDS[categories is not None, bool(target.classes)]
        panels.append(draw(feature, target).properties(width=width, height=height))
    chart = alt.concat(*panels, columns=PANELS)
    panes: alt.ConcatChart = chart.resolve_scale(xOffset="independent", yOffset="independent")
    return panes


def _numbers_by_value(feature: Feature, target: Target) -> Panel:
    """Return points: a number against a value."""
    points: Panel = (
        alt.Chart(table(x=feature.values, y=target.values))
        .mark_circle(size=22, opacity=opacity(len(target.values)), color=BLUE)
        .encode(x=_number(feature), y=_value(feature, target))
    )
    return points


def _numbers_by_class(feature: Feature, target: Target) -> Panel:
    """Return a strip of points for each class: a number within each."""
    rows = [
        (x, target.classes[int(y)], i * GOLDEN % 1)
        for i, (x, y) in enumerate(zip(feature.values, target.values, strict=True))
        if int(y) in target.shown
    ]
    points: Panel = (
        alt.Chart(_table(rows, "x", "y", "jitter"))
        .mark_circle(size=22, opacity=opacity(len(rows)), color=BLUE)
        .encode(
            x=_number(feature),
            y=_class(feature, target),
            yOffset=alt.YOffset("jitter:Q").scale(JITTER),
        )
    )
    return points


def _categories_by_value(feature: Feature, target: Target) -> Panel:
    """Return a strip of points for each category, with its median and quartiles."""
    names = feature.labels()
    rows = [
        (names[-1 if code is None else int(code)], y, i * GOLDEN % 1)
        for i, (code, y) in enumerate(zip(feature.values, target.values, strict=True))
    ]
    by_name = {name: [y for category, y, _ in rows if category == name] for name in names}
    quartiles = [
        (name, *np.quantile(values, (0.25, 0.5, 0.75)).tolist())
        for name, values in by_name.items()
        if values
    ]
    x, y = _category(feature, names), _value(feature, target)
    points = (
        alt.Chart(_table(rows, "x", "y", "jitter"))
        .mark_circle(size=22, opacity=opacity(len(rows)), color=BLUE)
        .encode(x=x, y=y, xOffset=alt.XOffset("jitter:Q").scale(JITTER))
    )
    boxes = alt.Chart(_table(quartiles, "x", "low", "median", "high")).encode(x=x)
    width = 0.6 * feature.width / len(names)
    return alt.layer(
        points,
        boxes.mark_bar(
            width=width, fillOpacity=0.25, color=ORANGE, stroke=BLACK, strokeWidth=1
        ).encode(y=alt.Y("low:Q"), y2="high:Q"),
        boxes.mark_tick(width=width, thickness=2.5, color=BLACK).encode(y="median:Q"),
    )


def _categories_by_class(feature: Feature, target: Target) -> Panel:
    """Return a heat map: the classes of each category's rows."""
    names = feature.labels()
    codes = [len(names) - 1 if code is None else int(code) for code in feature.values]
    totals = Counter(codes)
    found = Counter(zip(codes, map(int, target.values), strict=True))
    cells = [
        (name, target.classes[index], found[code, index], found[code, index] / totals[code])
        for code, name in enumerate(names)
        for index in target.shown
        if totals[code]
    ]
    base = alt.Chart(_table(cells, "x", "y", "rows", "share")).encode(
        x=_category(feature, names), y=_class(feature, target)
    )
    heat: Panel = base.mark_rect(stroke="white", strokeWidth=1).encode(
        color=alt.Color("share:Q", title=["share of the", "value's rows"])
        # On a linear scale, the shares of many classes would all be pale.
        .scale(type="pow", exponent=0.5, domain=[0, 1], range=SHARES, interpolate="rgb")
        .legend(format="~%", values=[0, 0.1, 0.25, 0.5, 1])
    )
    if feature.width / len(names) < COUNT_WIDTH:
        return heat
    counts = (
        base.transform_filter("datum.rows > 0")
        .mark_text(fontSize=10)
        .encode(
            text=alt.Text("rows:Q", format=",d"),
            color=alt.condition("datum.share > 0.3", alt.value("white"), alt.value(BLACK)),
        )
    )
    return alt.layer(heat, counts)


PANEL_KINDS: Mapping[tuple[bool, bool], Callable[[Feature, Target], Panel]] = {
    (False, False): _numbers_by_value,
    (False, True): _numbers_by_class,
    (True, False): _categories_by_value,
    (True, True): _categories_by_class,
}
"""Panels by whether the feature and the target are categorical."""


def _targets(sample: FeatureSample, signature: Signature) -> list[Target]:
    output, values = signature.output, sample.targets
    if isinstance(values, dict):
        return [Target(name, column, [], []) for name, column in values.items()]
    if not isinstance(output, Classes):
        return [Target(output.targets[0].name, values, [], [])]
    rows = Counter(map(int, values))
    frequent = sorted(range(output.size), key=lambda index: -rows[index])[:MAX_CLASSES]
    return [Target("", values, output.names, sorted(frequent))]


def _subtitles(sample: FeatureSample, target: Target) -> list[str]:
    """Return which features, rows and classes are drawn, and how categories are."""
    shown, sampled = len(sample.columns), len(target.values)
    drawn = (
        sum(int(value) in target.shown for value in target.values) if target.classes else sampled
    )
    total = sampled if sample.rows is None else sample.rows
    parts = []
    if sample.features > shown:
        parts.append(f"the first {shown} of {sample.features:,} features")
    rows = counted(total, "training row")
    parts.append(rows if drawn == total else f"{drawn:,} of {rows} drawn")
    if len(target.shown) < len(target.classes):
        parts.append(f"the {len(target.shown)} most frequent of {len(target.classes):,} classes")
    if not sample.categories:
        return [", ".join(parts)]
    note = (
        "darker cells have a greater share of their value's rows, numbers are rows"
        if target.classes
        else "boxes span the middle half of the rows, with a line at the median"
    )
    return [", ".join(parts), note]


def _number(feature: Feature) -> alt.X:
    if feature.is_date:
        return _date(feature)
    low, high = domain(*number_range(feature.values))
    return (
        alt.X("x:Q", title=feature.titled())
        .scale(domain=[low, high], zero=False, nice=False, padding=8)
        .axis(number_axis(feature.name, feature.values, ticks=5))
    )


def _date(feature: Feature) -> alt.X:
    low, high = number_range(feature.values)
    if low == high:
        low, high = low - DAY, high + DAY
    return (
        alt.X("x:T", title=feature.titled())
        .scale(type="utc", domain=[low, high], nice=False, padding=8)
        .axis(tickCount=5, labelExpr="datum.label")
    )


def _value(feature: Feature, target: Target) -> alt.Y:
    low, high = domain(*number_range(target.values))
    return (
        alt.Y("y:Q", title=target.name if feature.is_first else None)
        .scale(domain=[low, high], zero=False, nice=False, padding=8)
        .axis(number_axis(target.name, target.values, ticks=6))
    )


def _category(feature: Feature, names: list[str]) -> alt.X:
    is_long = sum(map(len, names)) * 7 > feature.width - 8 * len(names)
    axis = names_axis(names, labelAngle=-40 if is_long else 0)
    return alt.X("x:N", title=feature.name, sort=names, axis=axis).scale(domain=names)


def _class(feature: Feature, target: Target) -> alt.Y:
    first = feature.is_first
    axis = names_axis(target.names, labels=first, ticks=first)
    return alt.Y("y:N", title=None, sort=target.names, axis=axis).scale(domain=target.names)


def _apart(label: str, names: list[str]) -> str:
    """Return a label that is not one of `names`."""
    while label in names:
        label = f"({label})"
    return label


def _table(rows: Sequence[tuple[object, ...]], *names: str) -> alt.InlineData:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return table(**dict(zip(names, columns, strict=True)))
