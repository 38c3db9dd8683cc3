import altair as alt
import pytest

from ml.charts.render import PictureFormat, draw
from ml.charts.theme import CONFIG, MAX_TEXT, drawable, table, title

# The renderer aborts on the first seven, and fails on the next four.
ODD = [
    *("\0", "\x01", "\x1b", "\x7f", "\ud800", "\ufffe", "\uffff"),
    *("a\nb", "a\r\nb", "a\u2028b", "a\u2029b"),
    *(
        "\u202etxt",
        "\U000e0001",
        "</text><script>",
        "&<>\"'\\",
        '"]) + datum["',
        "",
        " ",
        "x" * 9999,
    ),
]


@pytest.mark.parametrize("form", ["svg", "png"])
def test_any_name_can_be_drawn(form: PictureFormat) -> None:
    text = " ".join(ODD[:-1])
    chart = (
        alt.Chart(table(x=ODD, y=range(len(ODD))))
        .mark_bar()
        .encode(x=alt.X("x:N", title=text, sort=ODD), y=alt.Y("y:Q", title=text), color="x:N")
        .properties(title=title(text, text))
    )
    assert len(draw(drawable(chart.to_dict(validate=False)) | {"config": CONFIG}, form)) > 1000


def test_texts_are_changed_only_where_they_must_be() -> None:
    kept = {"text": ["größer \N{GRINNING FACE}\t", 1.5, None, True], "url": f"data:{'x' * 9999}"}
    assert drawable(kept) == kept
    assert drawable(["a\0b", "a\r\nb"]) == ["a\N{REPLACEMENT CHARACTER}b", "a b"]
    assert drawable("x" * 9999) == "x" * MAX_TEXT + "…"
