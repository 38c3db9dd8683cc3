"""Each feature against the target: numbers and categories, against values and classes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ml.charts.kinds import CHARTS, ChartData, charts_of
from ml.datasets import Rows
from ml.signature import Classes, Encoding, Features, Signature, Value
from ml.training import summary
from ml.training.feature_sample import FeatureSample, sample_features
from tests.ml.shelf import Shelf

SPEC = {"epochs": 1, "split": {"test": 0.0}}


def chart_data(path: Path, table: str, target: str, **document: Any) -> ChartData:
    shelf = Shelf(path)
    spec = shelf.spec({"id": shelf.put(table), "target": target}, **SPEC | document)
    run, _ = shelf.train(spec)
    return ChartData(spec, [], [], summary.summarize(run))


def drawn(data: ChartData) -> dict[str, Any]:
    return CHARTS["features"].specification(data)


def tables(panel: dict[str, Any], specification: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Return the data of a panel, by layer."""
    layers = panel.get("layer", [panel])
    # Data that all panels or layers share is moved up to them.
    shared = specification | panel
    names = [(shared | layer)["data"]["name"] for layer in layers]
    found = [specification["datasets"][name] for name in dict.fromkeys(names)]
    # Targets went through float32.
    return [[{k: _rounded(v) for k, v in row.items()} for row in rows] for rows in found]


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def subtitles(specification: dict[str, Any]) -> str:
    return "; ".join(specification["title"]["subtitle"])


PRICES = "colour,fresh,price\n" + "\n".join(
    f"{colour},{fresh},{price}"
    for colour, fresh, price in [
        *(("red", "true", p) for p in (10, 20, 30, 40, 50)),
        *(("green", "false", p) for p in (1, 2, 3)),
        ("", "true", 7),
    ]
)


def test_categories_and_booleans_are_drawn_against_a_value(tmp_path: Path) -> None:
    specification = drawn(chart_data(tmp_path, PRICES, "price"))
    colour, fresh = specification["concat"]
    points, boxes = tables(colour, specification)
    assert [(row["x"], row["y"]) for row in points][5:] == [
        ("green", 1),
        ("green", 2),
        ("green", 3),
        ("missing", 7),
    ]
    assert boxes == [
        {"x": "green", "low": 1.5, "median": 2, "high": 2.5},
        {"x": "red", "low": 20, "median": 30, "high": 40},
        {"x": "missing", "low": 7, "median": 7, "high": 7},
    ]
    assert [box["x"] for box in tables(fresh, specification)[1]] == ["false", "true"]
    assert subtitles(specification).startswith("9 training rows; boxes span the middle half")
    axes = [panel["layer"][0]["encoding"]["x"]["title"] for panel in (colour, fresh)]
    assert axes == ["colour", "fresh"]


SHAPES = "corners,shape,kind\n" + "\n".join(
    f"{corners},{shape},{kind}"
    for corners, shape, kind, times in [
        ("3", "flat", "a", 6),
        ("4", "flat", "b", 2),
        ("", "solid", "b", 4),
        ("3", "", "a", 1),
    ]
    for _ in range(times)
)


def test_categories_are_drawn_against_classes_as_counts(tmp_path: Path) -> None:
    specification = drawn(chart_data(tmp_path, SHAPES, "kind"))
    corners, shape = specification["concat"]
    [cells] = tables(shape, specification)
    assert {(c["x"], c["y"]): (c["rows"], c["share"]) for c in cells} == {
        ("flat", "a"): (6, 0.75),
        ("flat", "b"): (2, 0.25),
        ("solid", "a"): (0, 0.0),
        ("solid", "b"): (4, 1.0),
        ("missing", "a"): (1, 1.0),
        ("missing", "b"): (0, 0.0),
    }
    assert corners["encoding"]["x"]["title"] == ["corners", "4 rows without a value not drawn"]


def test_rare_categories_are_merged_and_labels_do_not_collide(tmp_path: Path) -> None:
    rows = [(f"c{i:02}", i) for i in range(40) for _ in range(40 - i)]
    rows += [("missing", 1)] * 50 + [("28 others", 2)] * 50 + [("", 3)] * 2
    table = "city,price\n" + "\n".join(f"{city},{price}" for city, price in rows)
    data = chart_data(tmp_path, table, "price")
    specification = drawn(data)
    [panel] = specification["concat"]
    names = panel["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert names[:2] == ["28 others", "c00"]
    assert names[-3:] == ["missing", "30 others", "(missing)"]
    assert len(names) == 14
    assert sum(len(rows) for rows in tables(panel, specification)[:1]) == len(rows)


def test_classes_beyond_the_limit_are_counted_as_not_drawn(tmp_path: Path) -> None:
    """The first 20 of 30 classes hold 200 of 300 rows; nothing was said of the others."""
    classes = [f"class {i % 30:02}" for i in range(300)]
    table = "x,y\n" + "\n".join(f"{i},{name}" for i, name in enumerate(classes))
    specification = drawn(chart_data(tmp_path, table, "y"))
    said = "200 of 300 training rows drawn, the 20 most frequent of 30 classes"
    assert subtitles(specification) == said
    assert len(tables(specification["concat"][0], specification)[0]) == 200


def test_thinned_rows_are_counted(tmp_path: Path) -> None:
    table = "x,y\n" + "\n".join(f"{i},{2 * i}" for i in range(3000))
    data = chart_data(tmp_path, table, "y", split={"test": 2200 / 3000})
    assert subtitles(drawn(data)) == "800 training rows"
    (tmp_path / "all").mkdir()
    data = chart_data(tmp_path / "all", table, "y")
    assert subtitles(drawn(data)) == "1,000 of 3,000 training rows drawn"
    for name, said in (
        ("fit", "1,000 of 3,000 training rows drawn"),
        ("predictions", "2,000 of 3,000 training rows drawn"),
    ):
        assert subtitles(CHARTS[name].specification(data)).startswith(said)


def test_years_and_codes_have_no_separators(tmp_path: Path) -> None:
    rows = [(1990 + i, 200_000 + 977 * i, 150_000 + 10_007 * i, i / 7) for i in range(30)]
    table = "year,邮编,income,y\n" + "\n".join(",".join(map(str, row)) for row in rows)
    panels = drawn(chart_data(tmp_path, table, "y"))["concat"]
    axes = [panel["encoding"]["x"]["axis"] for panel in panels]
    assert [axis["format"] for axis in axes] == ["f", "f", ",f"]


def test_dates_are_drawn_on_an_axis_of_time(tmp_path: Path) -> None:
    table = "day,y\n" + "\n".join(f"2024-02-{day:02},{day}" for day in range(1, 29))
    specification = drawn(chart_data(tmp_path, table + "\n,3\n", "y"))
    [panel] = specification["concat"]
    x = panel["encoding"]["x"]
    assert (x["type"], x["scale"]["type"]) == ("temporal", "utc")
    assert x["title"] == ["day", "1 row without a value not drawn"]
    assert x["scale"]["domain"] == [1706745600000, 1709078400000]
    assert tables(panel, specification)[0][1] == {"x": 1706832000000, "y": 2}


@pytest.mark.parametrize("output", [Value(name="y"), Classes(names=["a", "b"])])
def test_samples_keep_the_most_frequent_categories(output: Value | Classes) -> None:
    names = [f"c{i}" for i in range(14)]
    codes = torch.tensor([*range(14), *range(2, 14), float("nan")], dtype=torch.float64)
    encoding = Encoding(categories={"c": names}, gaps=["c"], width=15)
    signature = Signature(inputs=Features(names=["c"], encoding=encoding), output=output)
    targets = torch.zeros(27, 1) if output.kind == "value" else torch.zeros(27, dtype=torch.int64)
    sample = sample_features(Rows(codes.unsqueeze(1), targets), signature)
    assert sample is not None
    assert sample.categories["c"].names == names[2:]
    assert sample.categories["c"].others == 2
    assert sample.columns["c"] == [12, 12, *range(12), *range(12), None]
    assert (sample.features, sample.rows) == (1, 27)


def test_samples_of_earlier_versions_are_drawn() -> None:
    found = FeatureSample.model_validate({"columns": {"x": [1]}, "targets": [2], "features": 1})
    assert (found.categories, found.rows) == ({}, None)


def test_a_feature_without_any_value_has_no_curve(tmp_path: Path) -> None:
    table = "x,y\n" + "\n".join(f",{i}" for i in range(12))
    spec = {"features": {"x": "numeric"}}
    shelf = Shelf(tmp_path)
    dataset = {"id": shelf.put(table, types={"x": "numeric"}), "target": "y"} | spec
    run, _ = shelf.train(shelf.spec(dataset, **SPEC))
    data = ChartData(run.spec, [], [], summary.summarize(run))
    ready = {n for n, c in charts_of(data.signature).items() if c.needs.are_met(data)}
    assert ready == {"features", "predictions", "residuals"}
    x = drawn(data)["concat"][0]["encoding"]["x"]
    assert x["title"] == ["x", "12 rows without a value not drawn"]
