"""Texts of every script in pictures."""

import io

import altair as alt
import numpy as np
import pytest
from PIL import Image

from ml.charts.render import draw
from ml.charts.theme import CONFIG, table

CELL = 30
SCRIPTS = {
    "Chinese": "价格颜色",
    "traditional Chinese": "價顏灣龜",
    "Japanese": "かなカ働",
    "Korean": "가격한국",
    "Cyrillic": "ЖШЯю",
    "Greek": "ΩΨΔφ",
    "Arabic": "عسقه",
    "Hebrew": "אבגש",
    "Hindi": "कखगम",
    "Bengali": "কখগম",
    "Tamil": "கஙசட",
    "Thai": "กขคฌ",
}


@pytest.fixture(scope="module")
def cells() -> dict[str, list[bytes]]:
    """The pixels of each character, by script; a missing one is the same box as any other."""
    rows = [(i, j, text) for j, word in enumerate(SCRIPTS.values()) for i, text in enumerate(word)]
    x, y, text = zip(*rows, strict=True)
    chart = (
        alt.Chart(table(x=x, y=y, text=text))
        .mark_text(fontSize=20)
        .encode(
            x=alt.X("x:Q").axis(None).scale(domain=[-0.5, 3.5], nice=False),
            y=alt.Y("y:Q").axis(None).scale(domain=[-0.5, len(SCRIPTS) - 0.5], nice=False),
            text="text:N",
        )
        .properties(width=4 * CELL, height=len(SCRIPTS) * CELL)
    )
    config = CONFIG | {"padding": 0, "view": {"stroke": None}}
    picture = Image.open(io.BytesIO(draw(chart.to_dict() | {"config": config}, "png"))).convert("L")
    pixels = np.asarray(picture)[::-1]
    side = pixels.shape[1] // 4
    return {
        script: [
            pixels[j * side : (j + 1) * side, i * side : (i + 1) * side].tobytes() for i in range(4)
        ]
        for j, script in enumerate(SCRIPTS)
    }


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_is_drawn(cells: dict[str, list[bytes]], script: str) -> None:
    blank = bytes([255]) * len(cells[script][0])
    assert len({*cells[script], blank}) == 5


def test_an_svg_keeps_its_texts_and_names_a_fallback() -> None:
    chart = alt.Chart(table(x=["价格"], y=[1])).mark_bar().encode(x="x:N", y="y:Q")
    svg = draw(chart.to_dict() | {"config": CONFIG}, "svg").decode()
    assert ">价格</text>" in svg
    assert "sans-serif" in svg
