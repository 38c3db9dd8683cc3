"""Shared look of the charts: sizes, fonts and colours."""

import math
import re
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any

import altair as alt

# Okabe and Ito's palette, safe for all kinds of colour blindness.
BLACK = "#000000"
ORANGE = "#e69f00"
SKY = "#56b4e9"
GREEN = "#009e73"
BLUE = "#0072b2"
VERMILLION = "#d55e00"
GREY = "#8a8a8a"

SHARES = ["#ffffff", "#08306b"]
"""Colours of the shares 0 and 1."""

WIDTH, HEIGHT = 560, 320
SQUARE = 380
MAX_LABEL = 120
"""Maximum width of an axis label in pixels; longer ones are truncated."""
LONG_BEGINNING = 10
"""Minimum number of characters of a beginning that labels leave out."""
MOST_TICKS = 12
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"

CONFIG = {
    "background": "white",
    "font": FONT,
    "padding": 12,
    "view": {"stroke": "#dddddd"},
    "title": {
        "anchor": "start",
        "fontSize": 16,
        "fontWeight": "bold",
        "subtitleFontSize": 12,
        "subtitleColor": "#555555",
        "offset": 10,
        "limit": 700,
    },
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 13,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "gridColor": "#eeeeee",
        "domainColor": "#888888",
        "tickColor": "#888888",
        "labelLimit": MAX_LABEL,
        "titleLimit": 300,
        # 2e6 rather than 2e+6, and 0 rather than 0e+0.
        "labelExpr": "!isNumber(datum.value) ? datum.label"
        " : datum.label === '0e+0' ? '0' : replace(datum.label, 'e+', 'e')",
    },
    "legend": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "symbolOpacity": 1,
        "symbolStrokeWidth": 2.5,
    },
    "range": {"category": [BLUE, ORANGE, GREEN, VERMILLION, SKY, BLACK]},
}

Picture = alt.Chart | alt.LayerChart | alt.FacetChart | alt.ConcatChart | alt.VConcatChart

PANELS = 3
"""Number of panels side by side."""
PANEL_WIDTH, PANEL_HEIGHT = 230, 200

NOT_DRAWABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML forbids, in SVG too; the renderer aborts on them."""
LINE_BREAK = re.compile("[\n\r\u0085\u2028\u2029]+")
"""Line breaks, on which the expressions fail that the renderer makes of titles."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MAX_TEXT = 1000
"""Maximum number of characters of a text in a chart; no chart has room for more."""


def drawable(value: Any) -> Any:
    """Return a part of a specification with only texts that can be drawn."""
    if isinstance(value, str):
        if len(value) > MAX_TEXT and not value.startswith("data:"):
            value = f"{value[:MAX_TEXT]}…"
        return NOT_DRAWABLE.sub(REPLACEMENT, LINE_BREAK.sub(" ", value))
    if isinstance(value, list):
        return [drawable(item) for item in value]
    if isinstance(value, dict):
        return {drawable(key): drawable(item) for key, item in value.items()}
    return value


def title(text: str, *lines: str) -> alt.TitleParams:
    """Return the title of a chart, with lines below it; empty ones are left out."""
    subtitle = [line for line in lines if line]
    return alt.TitleParams(text, subtitle=subtitle) if subtitle else alt.TitleParams(text)


def names_axis(names: Sequence[str], **options: Any) -> alt.Axis:
    """Return the axis of names; a long beginning that all share is left out of their labels, which
    would else be cut to the same few words."""
    pairs = zip(min(names, default=""), max(names, default=""), strict=False)
    shared = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    shared = shared[: max(shared.rfind(mark) for mark in " -_/.:") + 1]
    if len(names) > 1 and len(shared) >= LONG_BEGINNING:
        units = len(shared.encode("utf-16-le")) // 2
        options |= {"labelExpr": f"'…' + slice(datum.label, {units})"}
    return alt.Axis(labelLimit=MAX_LABEL, **options)


def opacity(points: int) -> float:
    """Return the opacity of each of `points` in one panel, in which crowds stay visible."""
    return max(0.2, min(0.6, 10 / math.sqrt(max(points, 1))))


def whole(last: float) -> alt.Axis:
    """Return an axis of whole numbers from 0 to `last`; few of them would get fractional ticks."""
    if last > MOST_TICKS:
        return alt.Axis(format=",d")
    return alt.Axis(format=",d", values=list(range(int(last) + 1)))


def table(**columns: Iterable[object]) -> alt.InlineData:
    """Return columns of equal length as inline data."""
    names = list(columns)
    rows = zip(*columns.values(), strict=True)
    return alt.InlineData([dict(zip(names, row, strict=True)) for row in rows])
