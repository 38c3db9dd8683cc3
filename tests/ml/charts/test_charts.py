"""Every chart of every kind of job is valid and shows the metrics of its run."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import altair as alt
import pytest
import torch
from PIL import Image

from ml import datasets
from ml.charts.kinds import CHARTS, ChartData, Point, charts_of
from ml.charts.render import draw
from ml.datasets import Dataset, Rows, Table
from ml.datasets.division import divide
from ml.datasets.mnist import VisionSpec
from ml.signature import Classes, Features, Images, Signature, Value
from ml.specs import TrainingSpec
from ml.training import loop, summary
from ml.training.feature_sample import spaced
from ml.training.initial_model import build
from ml.training.run import Run, steps_per_epoch
from ml.training.summary import TrainingSummary, png
from tests.conftest import LINE, PLANE

CPU = torch.device("cpu")
MNIST: dict[str, Any] = {
    "dataset": {"kind": "mnist"},
    "model": {"kind": "mlp", "hidden": [8]},
    "epochs": 2,
    "report_every": 2,
    "split": {"validation": 0.2},
}


def noise_images(spec: TrainingSpec) -> Dataset:
    """Images of noise, which cannot be learned in two epochs."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (400, 28, 28), generator=random, dtype=torch.uint8)
    labels = torch.randint(0, 10, (400,), generator=random)
    rows, test = Rows(images, labels), Rows(images[:100], labels[:100])
    assert isinstance(spec.dataset, VisionSpec)
    train, validation, _ = divide(Table(rows, test=test), spec.split)
    preprocessing = spec.dataset.fit(train, {}).preprocessing
    return Dataset(spec.dataset.signature(), preprocessing, train, validation, test)


def material(document: dict[str, Any], ended: bool = True) -> ChartData:
    spec = TrainingSpec.of(document)
    if spec.dataset.kind == "mnist":
        data = noise_images(spec)
    else:
        data = datasets.load(spec.dataset, spec.split, Path())
    run = Run(build(spec, data), data, spec, CPU)
    reports = list(loop.train(run))
    steps = steps_per_epoch(spec, data)
    return ChartData(
        spec,
        epochs=[Point(r.epoch, r.values) for r in reports if r.level == "epoch"],
        steps=[Point(r.step / steps, r.values) for r in reports if r.level == "step"],
        summary=summary.summarize(run) if ended else None,
    )


@pytest.fixture(scope="module")
def materials() -> dict[str, ChartData]:
    return {
        "line": material(LINE),
        "plane": material(PLANE | {"epochs": 3, "split": {"validation": 0.1, "test": 0.0}}),
        "mnist": material(MNIST),
    }


NAMES = {
    "line": ["features", "loss", "learning_rate", "predictions", "residuals", "fit"],
    "plane": ["features", "loss", "learning_rate", "predictions", "residuals"],
    "mnist": ["loss", "accuracy", "learning_rate", "confusion", "calibration", "misclassified"],
}


def data_of(specification: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of every data set in a specification."""
    return [row for rows in specification["datasets"].values() for row in rows]


@pytest.mark.parametrize("job", NAMES)
def test_every_chart_renders_in_every_format(materials: dict[str, ChartData], job: str) -> None:
    found = charts_of(materials[job].signature)
    assert list(found) == NAMES[job]
    for chart in found.values():
        assert chart.needs.are_met(materials[job])
        specification = chart.specification(materials[job])
        text = json.dumps(specification, allow_nan=False)
        assert "http" not in text.replace(specification["$schema"], "")
        alt.Chart.from_json(text, validate=True)
        assert specification["title"]["text"] == chart.title
        svg = draw(specification, "svg").decode()
        assert svg.startswith("<svg")
        assert f">{chart.title}</text>" in svg
        with Image.open(io.BytesIO(draw(specification, "png"))) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 300


def test_every_chart_applies_to_some_job() -> None:
    assert {name for names in NAMES.values() for name in names} == set(CHARTS)


def test_running_job_has_charts_of_its_history() -> None:
    running = material(MNIST, ended=False)
    ready = {n for n, c in charts_of(running.signature).items() if c.needs.are_met(running)}
    assert ready == {"loss", "accuracy", "learning_rate"}
    for name in ready:
        assert draw(CHARTS[name].specification(running), "svg")
    in_its_first_epoch = ChartData(running.spec, [], running.steps[:1], None)
    assert CHARTS["loss"].needs.are_met(in_its_first_epoch)
    assert draw(CHARTS["loss"].specification(in_its_first_epoch), "svg")
    assert not CHARTS["learning_rate"].needs.are_met(in_its_first_epoch)
    assert not CHARTS["loss"].needs.are_met(ChartData(running.spec, [], [], None))


def test_pairs_match_the_model_predictions(materials: dict[str, ChartData]) -> None:
    sample, found = materials["line"].sample, materials["line"].targets[0].scores
    assert sample.pairs is not None
    assert len(sample.pairs.actual) == found.rows == 20
    off = [
        (actual - predicted) ** 2
        for actual, predicted in zip(sample.pairs.actual, sample.pairs.predicted, strict=True)
        if predicted is not None
    ]
    assert sum(off) / 20 == pytest.approx(found.mse)
    assert found.split == "test"
    assert materials["plane"].evaluation.split == "validation"


def test_fit_is_shown_at_the_tutorial_epochs(materials: dict[str, ChartData]) -> None:
    fit = materials["line"].sample.fit
    assert fit is not None
    assert [curve.epoch for curve in fit.curves] == [0, 50, 100, 150, 200]
    assert (fit.grid[0], fit.grid[-1], len(fit.grid)) == (0.0, 10.0, 100)
    last = fit.curves[-1].values
    assert last[0] == pytest.approx(2, abs=0.8)
    assert last[-1] == pytest.approx(32, abs=1.5)
    assert materials["plane"].sample.fit is None


@pytest.mark.parametrize(("every", "epochs"), [(80, [0, 80, 160, 200]), (4, [*range(0, 201, 4)])])
def test_fit_is_shown_every_so_many_epochs_with_its_loss(every: int, epochs: list[int]) -> None:
    found = material(LINE | {"snapshot_every": every})
    fit = found.sample.fit
    assert fit is not None
    assert [curve.epoch for curve in fit.curves] == epochs
    losses = [curve.loss or 0.0 for curve in fit.curves]
    assert losses[0] > 10 * losses[-1] > 0
    # A step on all rows: the loss of an epoch is that of the weights before it.
    assert losses[1] == pytest.approx(found.epochs[every].values["train_loss"])
    specification = CHARTS["fit"].specification(found)
    labels = {row["snapshot"]: row["epoch"] for row in data_of(specification) if "epoch" in row}
    assert list(labels.values()) == [str(epoch) for epoch in epochs]
    assert list(labels)[1] == f"{every}: {losses[1]:.3g}"
    alt.Chart.from_json(json.dumps(specification), validate=True)
    assert f">{list(labels)[-1]}</text>" in draw(specification, "svg").decode()


def test_mistakes_are_sorted_by_confidence(materials: dict[str, ChartData]) -> None:
    mistakes = materials["mnist"].sample.mistakes
    assert mistakes is not None
    assert len(mistakes) == 25
    sureness = [mistake.probability for mistake in mistakes]
    assert None not in sureness
    assert sureness == sorted(sureness, reverse=True)  # type: ignore[type-var]
    assert all(mistake.actual != mistake.predicted for mistake in mistakes)


def test_confusion_matrix_counts_every_row(materials: dict[str, ChartData]) -> None:
    cells = data_of(CHARTS["confusion"].specification(materials["mnist"]))
    assert len(cells) == 100
    assert sum(cell["rows"] for cell in cells) == materials["mnist"].classification.rows == 100


def test_accuracy_chart_shows_epochs_and_final_test_accuracy(
    materials: dict[str, ChartData],
) -> None:
    rows = data_of(CHARTS["accuracy"].specification(materials["mnist"]))
    found = {(row["series"], row["epoch"]): row["value"] for row in rows}
    validation, test = (
        [point.values[f"{split}_accuracy"] for point in materials["mnist"].epochs]
        for split in ("validation", "test")
    )
    expected = {
        ("validation", 1): validation[0],
        ("validation", 2): validation[1],
        ("test", 1): test[0],
        ("test", 2): test[1],
    }
    assert found == pytest.approx(expected)
    assert test[1] == pytest.approx(materials["mnist"].classification.accuracy)


@pytest.mark.parametrize(
    ("split", "drawn", "subtitle"),
    [
        ({"validation": 0.2}, {"validation", "test, at the end"}, None),
        (
            {},
            {"test, at the end"},
            ["without a validation split or test_every, only the end is measured"],
        ),
    ],
)
def test_accuracy_chart_without_test_every(
    split: dict[str, Any], drawn: set[str], subtitle: list[str] | None
) -> None:
    found = material(MNIST | {"test_every": 0, "split": split})
    specification = CHARTS["accuracy"].specification(found)
    assert {row["series"] for row in data_of(specification)} == drawn
    assert specification["title"].get("subtitle") == subtitle


def test_steps_are_shown_if_finer_than_epochs(materials: dict[str, ChartData]) -> None:
    def series(job: str) -> set[str]:
        return {row["series"] for row in data_of(CHARTS["loss"].specification(materials[job]))}

    assert series("mnist") == {"training", "validation", "test", "training, by step"}
    # An epoch of this job is a single step, and reports cover a hundred of them.
    assert series("line") == {"training"}


def test_equal_runs_give_equal_summaries() -> None:
    one, two = (material(MNIST).summary for _ in range(2))
    assert one is not None
    assert two is not None
    assert one.files() == two.files()


def test_summaries_round_trip(tmp_path: Path, materials: dict[str, ChartData]) -> None:
    for found in materials.values():
        assert found.summary is not None
        for name, data in found.summary.files().items():
            (tmp_path / name).write_bytes(data)
        assert TrainingSummary.load(tmp_path) == replace(found.summary, baseline=None)


def test_samples_are_bounded() -> None:
    features = {f"x{i}": {"normal": [0, 1]} for i in range(40)}
    data = {"kind": "synthetic", "features": features, "target": "x0 + x39", "size": 30_000}
    found = material({"dataset": data, "epochs": 1, "split": {"test": 0.5}})
    assert found.sample.features is not None
    assert found.sample.pairs is not None
    columns = found.sample.features.columns
    assert list(columns) == [f"x{i}" for i in range(12)]
    assert {len(column) for column in columns.values()} == {1000}
    assert len(found.sample.pairs.actual) == 2000
    specification = CHARTS["features"].specification(found)
    said = ["the first 12 of 40 features, 1,000 of 15,000 training rows drawn"]
    assert specification["title"]["subtitle"] == said


def test_loss_chart_says_what_is_done_to_training_rows_only(
    materials: dict[str, ChartData],
) -> None:
    plain = materials["mnist"]
    assert "subtitle" not in CHARTS["loss"].specification(plain)["title"]
    options = {
        "augment": ["flip"],
        "loss": {"kind": "cross_entropy", "label_smoothing": 0.1, "class_weights": "balanced"},
        "schedule": {"kind": "cosine", "warmup": 0.1},
    }
    found = replace(plain, spec=TrainingSpec.of(MNIST | options))
    said = "training rows are changed at random and weighted by class and smoothed"
    assert CHARTS["loss"].specification(found)["title"]["subtitle"] == [said]
    [line] = CHARTS["learning_rate"].specification(found)["title"]["subtitle"]
    assert line == "schedule: cosine after a warm-up"


def test_evaluated_training_rows_are_bounded() -> None:
    document = LINE | {"epochs": 1, "split": {"test": 0.0}}
    document["dataset"] = LINE["dataset"] | {"size": 200_000, "noise": 0.0}
    found = material(document)
    assert (found.evaluation.split, found.evaluation.rows) == ("train", 100_000)


@pytest.mark.parametrize(("total", "most"), [(1, 5), (5, 5), (6, 5), (1000, 7), (10**7, 2000)])
def test_spaced_indices_include_both_ends(total: int, most: int) -> None:
    found = spaced(total, most).tolist()
    assert (found[0], found[-1]) == (0, total - 1)
    assert len(found) == min(total, most)
    assert found == sorted(set(found))


def test_many_classes_and_long_names_stay_legible(materials: dict[str, ChartData]) -> None:
    found = materials["mnist"].classification
    names = [f"{i} is the number of a class whose name has no end" for i in range(100)]
    many = found.model_copy(
        update={
            "confusion": [
                [10 * (i == j) + (i % 7 == j % 5) for j in range(100)] for i in range(100)
            ],
            "classes": [found.classes[0].model_copy(update={"name": name}) for name in names],
        }
    )
    kept = materials["mnist"].summary
    assert kept is not None
    specification = CHARTS["confusion"].specification(
        ChartData(materials["mnist"].spec, [], [], TrainingSummary(many, kept.sample))
    )
    assert len(data_of(specification)) == 25 * 25
    rows = sum(cell["rows"] for cell in data_of(specification))
    assert specification["title"]["subtitle"] == [
        f"{rows:,} of 100 test rows drawn",
        "the 25 most confused of 100 classes",
    ]
    assert specification["config"]["axis"]["labelLimit"] <= 150
    assert draw(specification, "svg")


@pytest.mark.parametrize(
    ("signature", "names"),
    [
        (
            Signature(inputs=Features(names=["a", "b"]), output=Classes(names=["x", "y"])),
            ["features", "loss", "accuracy", "learning_rate", "confusion", "calibration"],
        ),
        (
            Signature(
                inputs=Images(form={"height": 8, "width": 8, "box": 8, "center": "box"}),  # type: ignore[arg-type]
                output=Classes(names=[str(i) for i in range(1001)]),
            ),
            ["loss", "accuracy", "learning_rate", "calibration", "misclassified"],
        ),
        (
            Signature(inputs=Features(names=["a"]), output=Value(name="y")),
            ["features", "loss", "learning_rate", "predictions", "residuals", "fit"],
        ),
    ],
)
def test_available_charts_are_known_before_training(signature: Signature, names: list[str]) -> None:
    assert list(charts_of(signature)) == names


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(28, 28, dtype=torch.uint8),
        torch.full((1, 300, 20), 255, dtype=torch.uint8),
        torch.rand(3, 40, 56) * 300 - 20,
    ],
    ids=["grey", "one tall channel", "three float channels"],
)
def test_images_become_thumbnails(image: torch.Tensor) -> None:
    with Image.open(io.BytesIO(base64.b64decode(png(image)))) as picture:
        assert 50 <= max(picture.size) <= 96
        assert picture.mode == ("RGB" if image.dim() == 3 and len(image) == 3 else "L")


@pytest.mark.parametrize(
    "data",
    [
        {"features": {"x": {"linspace": [3, 3]}}, "target": "5", "size": 5},
        {"features": {"x": {"linspace": [0, 1]}}, "target": "0*x", "size": 5},
        {"features": {"x": {"linspace": [-1e15, 1e15]}}, "target": "x", "size": 20},
    ],
    ids=["one point", "a constant target", "large numbers"],
)
def test_degenerate_data_is_drawn(data: dict[str, Any]) -> None:
    sgd = {"kind": "sgd", "lr": 1e-70}
    found = material({"dataset": {"kind": "synthetic"} | data, "epochs": 1, "optimizer": sgd})
    for chart in charts_of(found.signature).values():
        svg = draw(chart.specification(found), "svg").decode()
        assert "NaN" not in svg
        assert "undefined" not in svg


def test_targets_have_panels_of_their_own_up_to_a_bound() -> None:
    names = [f"t{n}" for n in range(14)]
    dataset = PLANE["dataset"] | {"target": {name: f"a + {n}" for n, name in enumerate(names)}}
    data = material(PLANE | {"dataset": dataset, "epochs": 1})
    for name in ("predictions", "residuals"):
        chart = CHARTS[name].specification(data)
        assert [panel["title"]["text"] for panel in chart["concat"]] == names[:12]
        assert chart["title"]["subtitle"][0].startswith("the first 12 of 14 targets, ")
    pairs = data.sample.pairs
    assert isinstance(pairs, dict)
    assert {len(one.actual) for one in pairs.values()} == {2000 // 12}
    features = CHARTS["features"].specification(data)
    # Three features, in at most 24 panels.
    assert len(features["vconcat"]) == 8
    assert "the first 8 of 14 targets" in str(features["title"]["subtitle"])
    assert "unit: each target squared" in str(CHARTS["loss"].specification(data))
