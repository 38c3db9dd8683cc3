"""Units, intervals and bins, also of few rows."""

from typing import Any

import pytest

from ml.charts.chart_data import ChartData, Point
from ml.charts.classes import wilson
from ml.charts.kinds import CHARTS
from ml.evaluation.schemas import Bin, Calibration, Classification, Scores
from ml.specs import TrainingSpec
from ml.training.summary import Sample, TrainingSummary
from tests.conftest import LINE
from tests.ml.shelf import Shelf

MNIST = TrainingSpec.of({"dataset": {"kind": "mnist"}})
EMPTY = Sample(features=None, pairs=None, mistakes=None, fit=None)


def calibration(rows: int, bins: dict[int, tuple[int, float, float]]) -> dict[str, Any]:
    """Return the chart of 15 `bins`: count, confidence and accuracy by number; the others empty."""
    scores = Scores(precision=None, recall=None, f1=None)
    found = Classification(
        split="test",
        rows=rows,
        loss=None,
        accuracy=0.5,
        top_k={},
        log_loss=None,
        macro=scores,
        weighted=scores,
        classes=[],
        confusion=None,
        calibration=Calibration(
            error=0.125,
            bins=[
                Bin(count=count, confidence=confidence, accuracy=accuracy)
                for count, confidence, accuracy in (
                    bins.get(number, (0, None, None)) for number in range(15)
                )
            ],
        ),
    )
    data = ChartData(MNIST, [], [], TrainingSummary(found, EMPTY))
    return CHARTS["calibration"].specification(data)


def points(specification: dict[str, Any]) -> list[dict[str, Any]]:
    [found] = [rows for rows in specification["datasets"].values() if "rows" in rows[0]]
    return found


def test_calibration_of_twelve_rows_has_few_points_with_intervals() -> None:
    bins = {6: (1, 0.42, 1.0), 8: (2, 0.54, 0.5), 9: (1, 0.62, 0.0), 14: (8, 0.99, 1.0)}
    middle, upper = points(calibration(12, bins))
    assert (middle["rows"], middle["x"], middle["y"]) == (4, pytest.approx(0.53), 0.5)
    assert (upper["rows"], upper["y"], upper["high"]) == (8, 1.0, 1.0)
    assert upper["low"] == pytest.approx(0.676, abs=0.001)


def test_calibration_of_many_rows_has_every_bin_and_stays_in_its_frame() -> None:
    bins = {number: (100, (number + 0.5) / 15, 0.5) for number in range(14)}
    specification = calibration(1500, bins | {14: (100, 1 + 1e-7, 1.0)})
    found = points(specification)
    assert len(found) == 15
    assert all(0 <= point[name] <= 1 for point in found for name in ("x", "y", "low", "high"))
    for channel in ("x", "y"):
        scale = specification["layer"][2]["encoding"][channel]["scale"]
        assert (scale["domain"], scale["padding"]) == ([0, 1], 12)


def test_calibration_without_a_probability_is_empty() -> None:
    specification = calibration(1, {})
    assert specification["title"]["subtitle"][0].startswith("1 test row, expected calibration")


@pytest.mark.parametrize(
    ("share", "rows", "interval"),
    [
        (0.5, 10, (0.237, 0.763)),
        (0, 10, (0, 0.278)),
        (1, 1, (0.207, 1)),
        (0.9, 1000, (0.880, 0.917)),
    ],
)
def test_wilson_intervals(share: float, rows: int, interval: tuple[float, float]) -> None:
    assert wilson(share, rows) == pytest.approx(interval, abs=0.0006)


@pytest.mark.parametrize(
    ("loss", "raw", "standardized"),
    [
        ("mse", ["mean squared error", "unit: y squared"], "unit: variance of y"),
        ("mae", ["mean absolute error", "unit: y"], "unit: standard deviation of y"),
        ("huber", ["Huber loss", "of y"], "of y in standard deviations"),
    ],
)
def test_the_loss_axis_says_its_unit(
    tmp_path: Any, loss: str, raw: list[str], standardized: str
) -> None:
    def titled(spec: TrainingSpec, *losses: float) -> list[str]:
        epochs = [Point(n, {"train_loss": value}) for n, value in enumerate(losses, start=1)]
        specification = CHARTS["loss"].specification(ChartData(spec, epochs, [], None))
        title: list[str] = specification["layer"][0]["encoding"]["y"]["title"]
        return title

    assert titled(TrainingSpec.of(LINE | {"loss": loss}), 2, 1) == raw
    shelf = Shelf(tmp_path)
    upload = {"id": shelf.put("x,y\n1,2\n2,3\n3,5\n4,6\n5,7\n"), "target": "y"}
    assert titled(shelf.spec(upload, loss=loss), 2, 1) == [raw[0], standardized]
    assert titled(shelf.spec(upload, loss=loss), 200, 1)[1] == f"log scale, {standardized}"
    assert titled(MNIST, 2, 1) == ["cross-entropy", "unit: nats"]


def test_thinned_epochs_are_counted() -> None:
    epochs = [Point(n, {"train_loss": 1.0, "lr": 0.1}) for n in (1, 3, 5)]
    for name in ("loss", "learning_rate"):
        data = ChartData(TrainingSpec.of(LINE), epochs, [], None)
        assert "3 of 5 epochs drawn" in CHARTS[name].specification(data)["title"]["subtitle"]


def test_reports_without_a_loss_make_no_chart_ready() -> None:
    data = ChartData(TrainingSpec.of(LINE), [Point(1, {})], [Point(0.5, {})], None)
    assert not CHARTS["loss"].needs.are_met(data)
    assert not CHARTS["learning_rate"].needs.are_met(data)
