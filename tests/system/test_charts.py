"""Charts and evaluations of real jobs, from a real server."""

import io
from typing import Any

import pytest
from PIL import Image

from tests.conftest import LINE
from tests.system.server import Server

MNIST: dict[str, Any] = {
    "name": "charted",
    "dataset": {"kind": "mnist"},
    "epochs": 1,
    "split": {"validation": 0.1},
}
CHARTS = {
    "line": {"features", "loss", "learning_rate", "predictions", "residuals", "fit"},
    "mnist": {
        *("loss", "accuracy", "learning_rate"),
        *("confusion", "calibration", "misclassified"),
    },
}


def rows_of(specification: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for rows in specification["datasets"].values() for row in rows]


@pytest.fixture(scope="module")
def jobs(server: Server) -> dict[str, dict[str, Any]]:
    return {"line": server.run(LINE | {"name": "charted-line"}), "mnist": server.run(MNIST)}


@pytest.mark.parametrize("kind", CHARTS)
def test_every_chart_is_served_in_three_formats(
    server: Server, jobs: dict[str, dict[str, Any]], kind: str
) -> None:
    path = f"/jobs/{jobs[kind]['id']}/charts"
    listed = server.client.get(path).raise_for_status().json()["data"]
    assert {chart["name"] for chart in listed if chart["ready"]} == CHARTS[kind]
    for name in CHARTS[kind]:
        json, svg, png = (
            server.client.get(f"{path}/{name}.{form}").raise_for_status()
            for form in ("json", "svg", "png")
        )
        assert json.headers["content-type"] == "application/json"
        assert "vega-lite" in json.json()["$schema"]
        assert svg.headers["content-type"].startswith("image/svg+xml")
        assert svg.text.startswith("<svg")
        assert "NaN" not in svg.text
        assert png.headers["content-type"] == "image/png"
        with Image.open(io.BytesIO(png.content)) as picture:
            assert min(picture.size) > 300


def test_charts_show_the_metrics_of_the_model(
    server: Server, jobs: dict[str, dict[str, Any]]
) -> None:
    job = jobs["mnist"]
    accuracy = job["metrics"]["test_accuracy"]
    assert accuracy >= 0.94
    path = f"/jobs/{job['id']}/charts"
    ends = rows_of(server.client.get(f"{path}/accuracy.json").json())
    shown = {"validation": job["metrics"]["validation_accuracy"], "test": accuracy}
    assert {row["series"]: row["value"] for row in ends} == pytest.approx(shown)
    cells = rows_of(server.client.get(f"{path}/confusion.json").json())
    right = sum(cell["rows"] for cell in cells if cell["actual"] == cell["predicted"])
    assert right == round(10_000 * accuracy)
    assert sum(cell["rows"] for cell in cells) == 10_000


def test_fit_chart_approaches_the_line(server: Server, jobs: dict[str, dict[str, Any]]) -> None:
    drawn = rows_of(server.client.get(f"/jobs/{jobs['line']['id']}/charts/fit.json").json())
    at_ten = {row["epoch"]: row["y"] for row in drawn if "epoch" in row and row["x"] == 10}
    assert list(at_ten) == ["0", "50", "100", "150", "200"]
    linear = server.client.get("/models/charted-line/versions/1").json()["linear"]
    assert at_ten["200"] == pytest.approx(10 * linear["weights"]["x"] + linear["bias"], rel=1e-5)


def test_requested_evaluation_matches_the_evaluation_of_training(
    server: Server, jobs: dict[str, dict[str, Any]]
) -> None:
    path = "/models/charted/versions/{version}".format(**jobs["mnist"]["model"])
    kept = server.client.get(f"{path}/evaluation").raise_for_status().json()
    found = server.client.post(f"{path}/evaluate", json={}).raise_for_status().json()
    assert found["accuracy"] == kept["accuracy"] == jobs["mnist"]["metrics"]["test_accuracy"]
    assert found["confusion"] == kept["confusion"]
    assert kept["top_k"]["5"] > kept["top_k"]["2"] > kept["accuracy"]
    assert found["log_loss"] == pytest.approx(kept["log_loss"], rel=1e-4)
    assert found["calibration"]["error"] < 0.1
    watched = server.client.post(f"{path}/evaluate", json={"split": "validation"}).json()
    assert watched["rows"] == 6000
    assert watched["accuracy"] == pytest.approx(jobs["mnist"]["metrics"]["validation_accuracy"])


def test_equal_specs_give_equal_charts(server: Server, jobs: dict[str, dict[str, Any]]) -> None:
    again = server.run(LINE | {"name": "charted-line"})
    for name in CHARTS["line"]:
        one, two = (
            server.client.get(f"/jobs/{job['id']}/charts/{name}.json").content
            for job in (jobs["line"], again)
        )
        assert one == two
