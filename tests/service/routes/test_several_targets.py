"""Jobs with several targets, from the upload of their table to their predictions and charts."""

import io
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from service.jobs.attempts import AttemptStore
from service.settings import Settings
from service.storage.database import Database
from tests.service.routes.test_charts import run
from tests.service.routes.test_datasets import send, sent

DRAW = random.Random(0)
ROWS = [(DRAW.random(), DRAW.choice(["north", "south"])) for _ in range(80)]


def targets_of(size: float, side: str) -> tuple[float, float]:
    """Return the area and the price of a row: a thousand apart in their units."""
    return 3 * size + 2 * (side == "south"), 1000 * (5 - 4 * size)


def table(gaps: Sequence[int] = ()) -> str:
    """Return a table of two targets that follow from the features; rows in `gaps` lack a price."""
    lines = ["size,side,area,price,kind"]
    for number, (size, side) in enumerate(ROWS):
        area, price = targets_of(size, side)
        lines.append(f"{size},{side},{area},{'' if number in gaps else price},{side}")
    return "\n".join(lines)


STRAIGHT = {
    "schedule": {"kind": "cosine"},
    "optimizer": {"kind": "adam", "lr": 0.1},
    "epochs": 60,
    "batch_size": 16,
}


@pytest.fixture
def attempts(client: TestClient, settings: Settings) -> Iterator[AttemptStore]:
    """The attempts of the service behind `client`."""
    database = Database(settings.sqlalchemy_url)
    yield AttemptStore(database, settings)
    database.close()


@pytest.fixture
def trained(client: TestClient, attempts: AttemptStore, settings: Settings) -> Any:
    """Train the model `home` on a table, and return the job."""

    def train(content: str = table(), **document: Any) -> dict[str, Any]:
        dataset = {
            "kind": "upload",
            "id": sent(client, content)["id"],
            "target": ["area", "price"],
            "features": {"size": None, "side": None},
        }
        document = {"name": "home", "dataset": dataset, "model": "linear"} | STRAIGHT | document
        job_id = run(client, attempts, settings, document)
        job: dict[str, Any] = client.get(f"/jobs/{job_id}").json()
        return job

    return train


def predicted(client: TestClient, rows: Sequence[object]) -> list[dict[str, float]]:
    answer = client.post("/predict", json={"model": "home", "inputs": rows})
    assert answer.status_code == 200, answer.text
    return [prediction["values"] for prediction in answer.json()["predictions"]]


def test_a_linear_model_learns_both_in_their_units(client: TestClient, trained: Any) -> None:
    job = trained()
    assert job["spec"]["dataset"]["target"] == ["area", "price"]
    assert job["spec"]["loss"] == {"kind": "mse"}
    model = client.get("/models/home").json()
    assert [one["name"] for one in model["output"]["targets"]] == ["area", "price"]
    area, price = (model["linear"][name]["weights"] for name in ("area", "price"))
    assert area["size"] == pytest.approx(3, abs=0.05)
    assert area["side=south"] - area["side=north"] == pytest.approx(2, abs=0.05)
    assert price["size"] == pytest.approx(-4000, abs=50)
    for row, values in zip(ROWS, predicted(client, [list(row) for row in ROWS]), strict=True):
        assert [*values] == ["area", "price"]
        area, price = targets_of(*row)
        assert values["area"] == pytest.approx(area, abs=0.1)
        assert values["price"] == pytest.approx(price, abs=100)


def test_evaluation_agrees_with_numpy(client: TestClient, trained: Any) -> None:
    """All rows, with all metrics computed anew from the predictions."""
    job = trained(epochs=2)
    answers = predicted(client, [list(row) for row in ROWS])
    found = client.post(
        "/models/home/versions/1/evaluate",
        json={"dataset": job["spec"]["dataset"] | {"resolved": None}, "split": "all"},
    ).json()
    assert (found["kind"], found["rows"]) == ("values", len(ROWS))
    by_target = {}
    for index, name in enumerate(["area", "price"]):
        actual = np.array([targets_of(*row)[index] for row in ROWS])
        errors = actual - np.array([values[name] for values in answers])
        wanted = {
            "mse": np.mean(errors**2),
            "mae": np.mean(np.abs(errors)),
            "rmse": np.sqrt(np.mean(errors**2)),
            "r2": 1 - np.sum(errors**2) / np.sum((actual - actual.mean()) ** 2),
        }
        by_target[name] = wanted
        assert {key: found["targets"][name][key] for key in wanted} == pytest.approx(wanted, 1e-5)
        assert found["targets"][name]["max_error"] == pytest.approx(np.abs(errors).max(), 1e-5)
        assert found["targets"][name]["residuals"]["mean"] == pytest.approx(errors.mean(), 1e-4)
    for key in ("mse", "mae", "rmse", "r2"):
        mean = (by_target["area"][key] + by_target["price"][key]) / 2
        assert found[key] == pytest.approx(mean, 1e-5)
    baseline = found["baseline"]
    assert baseline["linear"]["r2"] == pytest.approx(1, abs=1e-3)
    assert baseline["targets"]["price"]["linear"]["rmse"] < 50
    by_mean = [baseline["targets"][name]["mean"]["rmse"] for name in ("area", "price")]
    assert baseline["mean"]["rmse"] == pytest.approx(sum(by_mean) / 2)


def test_the_test_metrics_of_each_target_are_with_the_model(
    client: TestClient, trained: Any
) -> None:
    job = trained(epochs=2)
    model = client.get("/models/home").json()
    stored = client.get("/models/home/versions/1/evaluation").json()
    assert stored["split"] == "test"
    for name in ("mse", "mae", "rmse", "r2"):
        each = [model["targets"][target][name] for target in ("area", "price")]
        assert each == [stored["targets"][target][name] for target in ("area", "price")]
        assert model["metrics"][f"test_{name}"] == pytest.approx(sum(each) / 2)
        assert job["metrics"][f"test_{name}"] == model["metrics"][f"test_{name}"]
    assert "baseline_linear_rmse" in model["metrics"]


def test_every_chart_is_drawn(client: TestClient, trained: Any) -> None:
    job = trained(epochs=2)
    charts = client.get(f"/jobs/{job['id']}/charts").json()["data"]
    names = ["features", "loss", "learning_rate", "predictions", "residuals"]
    assert [chart["name"] for chart in charts] == names
    for name in names:
        picture = client.get(f"/jobs/{job['id']}/charts/{name}.json")
        assert picture.status_code == 200, picture.text
        shown = picture.text
        if name in ("predictions", "residuals", "features"):
            assert "area" in shown
            assert "price" in shown
        svg = client.get(f"/jobs/{job['id']}/charts/{name}.svg")
        assert svg.status_code == 200, svg.text
    missing = client.get(f"/jobs/{job['id']}/charts/fit.json")
    assert missing.status_code == 404
    assert "choose one of features" in missing.json()["detail"]


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "mlp", "hidden": [8]},
        {"kind": "sequential", "layers": [{"linear": 8}, "relu"]},
        {"kind": "tabm", "members": 2, "hidden": [8], "bins": 4, "embedding": 2},
        {"kind": "auto", "tabm": {"members": 2, "hidden": [8], "bins": 4, "embedding": 2}},
    ],
    ids=lambda model: model["kind"],
)
def test_other_models_learn_both(client: TestClient, trained: Any, model: Any) -> None:
    job = trained(model=model, epochs=25, optimizer={"kind": "adam", "lr": 0.02}, loss="huber")
    assert job["metrics"]["test_r2"] > 0.8
    one, other = predicted(client, [[0.1, "north"], {"side": "south", "size": 0.9}])
    assert one["area"] < 2 < other["area"]
    assert other["price"] < 3000 < one["price"]


def test_rows_without_one_of_the_targets_are_left_out(client: TestClient, trained: Any) -> None:
    job = trained(table(gaps=[3, 7, 8]), epochs=1)
    [warning] = [one for one in job["warnings"] if one["kind"] == "no_target"]
    assert warning == {
        "column": "price",
        "kind": "no_target",
        "message": "'price' has no value in 3 of 80 rows; rows without a value of every target are "
        "left out",
    }
    assert job["spec"]["dataset"]["resolved"]["view"]["rows"] == {"train": 77}


def test_lines_and_arrays_are_answered_alike(client: TestClient, trained: Any) -> None:
    content = "\n".join(f"{x},{2 * x},{5 - x}" for x in range(40))
    dataset = {"kind": "upload", "id": sent(client, f"x,area,price\n{content}")["id"]}
    trained(dataset=dataset | {"target": ["area", "price"]}, epochs=3)
    rows = predicted(client, [[1], [30.5]])
    lines = client.post(
        "/predict?model=home",
        content=b"[1]\n[30.5]\n",
        headers={"content-type": "application/x-ndjson"},
    )
    assert [json.loads(line)["values"] for line in lines.text.splitlines()] == rows
    file = io.BytesIO()
    np.save(file, np.array([[1], [30.5]]))
    array = client.post(
        "/predict?model=home",
        content=file.getvalue(),
        headers={"content-type": "application/x-npy"},
    )
    assert [one["values"] for one in array.json()["predictions"]] == rows


def test_open_inference_has_an_output_for_each_target(client: TestClient, trained: Any) -> None:
    trained(epochs=2)
    outputs = client.get("/v2/models/home").json()["outputs"]
    assert outputs == [
        {"name": "area", "datatype": "FP64", "shape": [-1, 1]},
        {"name": "price", "datatype": "FP64", "shape": [-1, 1]},
    ]
    inputs = [
        {"name": "size", "datatype": "FP64", "shape": [2, 1], "data": [0.2, 0.7]},
        {"name": "side", "datatype": "BYTES", "shape": [2, 1], "data": ["north", "south"]},
    ]
    rows = predicted(client, [[0.2, "north"], [0.7, "south"]])
    found = client.post("/v2/models/home/infer", json={"inputs": inputs}).json()["outputs"]
    for output, name in zip(found, ["area", "price"], strict=True):
        assert (output["name"], output["shape"]) == (name, [2, 1])
        assert output["data"] == [values[name] for values in rows]
    only = {"inputs": inputs, "outputs": [{"name": "price"}]}
    [one] = client.post("/v2/models/home/infer", json=only).json()["outputs"]
    assert one == found[1]
    other = client.post("/v2/models/home/infer", json=only | {"outputs": [{"name": "value"}]})
    assert "there is no output 'value'; choose from area, price" in other.json()["error"]


def test_folds_have_metrics_of_both(trained: Any) -> None:
    job = trained(epochs=20, split={"folds": 2})
    assert job["metrics"]["cv_r2"] > 0.5


@pytest.mark.parametrize(
    ("changes", "place", "message"),
    [
        ({"target": ["area", "area"]}, "dataset.target.1", "names 'area' a second time"),
        ({"target": ["area", "width"]}, "dataset.target.1", "there is no column 'width'"),
        ({"target": ["kind", "area"]}, "dataset.target.0", "is categorical, and several targets"),
        ({"target": []}, "dataset.target", "at least 1"),
        ({"target": ["area"] * 65}, "dataset.target", "at most 64"),
        ({"target": ["area", 5]}, "dataset.target.1", "valid string"),
        ({"task": "classification"}, "dataset.task", "several targets are predicted as numbers"),
        ({"features": {"price": None}}, "dataset.features", "'price', which is a target column"),
        ({"split_by": "price"}, "dataset.split_by", "is a target; choose another column"),
    ],
)
def test_bad_targets_are_refused(
    client: TestClient, changes: Any, place: str, message: str
) -> None:
    dataset = {"kind": "upload", "id": sent(client, table())["id"], "target": ["area", "price"]}
    answer = client.post("/jobs", json={"dataset": dataset | changes})
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["loc"] == ["body", *_path(place)]
    assert message in error["msg"]


def _path(place: str) -> list[str | int]:
    return [int(step) if step.isdecimal() else step for step in place.split(".")]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("loss", "cross_entropy", "does not fit this data set; use mse or mae or huber"),
        ("loss", {"kind": "cross_entropy", "class_weights": "balanced"}, "does not fit"),
        ("split", {"stratify": True}, "stratify needs a target of classes"),
        ("split", {"group": "price"}, "is a target; choose another column"),
        ("snapshot_every", 1, "only a regression of one number has a fit to draw"),
    ],
)
def test_what_needs_classes_or_one_number_is_refused(
    client: TestClient, field: str, value: Any, message: str
) -> None:
    dataset = {"kind": "upload", "id": sent(client, table())["id"], "target": ["area", "price"]}
    answer = client.post("/jobs", json={"dataset": dataset, "model": "linear", field: value})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"][:2] == ["body", field]
    assert message in answer.json()["detail"]


def test_an_upload_has_several_default_targets(client: TestClient) -> None:
    response = send(client, table(), target=["area", "price"])
    assert response.status_code == 201, response.text
    dataset = response.json()
    assert dataset["target"] == ["area", "price"]
    assert send(client, table(), target=["area", "price"]).status_code == 200
    assert send(client, table(), target=["price", "area"]).status_code == 201
    assert send(client, table(), target=["area"]).json()["target"] == "area"
    listed = client.get("/datasets").json()["data"]
    assert [one["target"] for one in listed] == ["area", ["price", "area"], ["area", "price"]]
    job = client.post("/jobs", json={"dataset": {"kind": "upload", "id": dataset["id"]}}).json()
    assert job["spec"]["dataset"]["target"] == ["area", "price"]
    assert job["spec"]["model"]["beside"] == ["linear", "trees"]
    batches = client.get(f"/datasets/{dataset['id']}/batches?batch_size=4&limit=1").json()
    assert batches["data"][0]["targets"]["shape"] == [4, 2]
    named = client.get(f"/datasets/{dataset['id']}/batches?target=price&target=area&limit=1").json()
    assert (
        named["data"][0]["targets"]["values"][0] == batches["data"][0]["targets"]["values"][0][::-1]
    )


@pytest.mark.parametrize(
    ("target", "place", "message"),
    [
        (["area", "area"], ["query", "target", 1], "names 'area' a second time"),
        (["area", "width"], ["query", "target", 1], "there is no column 'width'; choose one of"),
        (["area", "kind"], ["query", "target", 1], "is categorical, and several targets"),
        ("width", ["query", "target"], "there is no column 'width'"),
    ],
)
def test_bad_default_targets_are_refused(
    client: TestClient, target: Any, place: Any, message: str
) -> None:
    answer = send(client, table(), target=target)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == place
    assert message in answer.json()["detail"]


def test_a_model_is_evaluated_on_the_same_targets_of_other_data(
    client: TestClient, trained: Any
) -> None:
    trained()
    other = sent(client, table(gaps=[1]) + "\n0.5,south,3.5,3000,south\n")["id"]
    url = "/models/home/versions/1/evaluate"
    found = client.post(url, json={"dataset": {"kind": "upload", "id": other}}).json()
    assert (found["rows"], [*found["targets"]]) == (80, ["area", "price"])
    dataset = {"kind": "upload", "id": other, "target": ["price", "area"]}
    refused = client.post(url, json={"dataset": dataset})
    assert refused.status_code == 422
    assert (
        "has the values 'price', 'area' as targets, but this model predicts the values 'area', "
        "'price'" in refused.json()["detail"]
    )


def test_synthetic_targets_by_name(
    client: TestClient, attempts: AttemptStore, settings: Settings
) -> None:
    dataset = {
        "kind": "synthetic",
        "features": {"x": {"linspace": [0, 1]}},
        "target": {"double": "2*x", "square": "x**2"},
        "size": 50,
    }
    job = {"name": "home", "dataset": dataset} | STRAIGHT
    run(client, attempts, settings, job)
    [values] = predicted(client, [[0.5]])
    assert values["double"] == pytest.approx(1, abs=0.05)
    assert 0.2 < values["square"] < 0.5


@pytest.mark.parametrize(
    ("target", "place", "message"),
    [
        ({"a": "2*x", "b": "2*"}, "target.b", ""),
        ({"a": "2*x", "b": "x < 1"}, "target.b", "'x < 1' is true or false"),
        ({"x": "2*x", "b": "x"}, "target.x", "has the name of a feature"),
        ({}, "target", "at least 1"),
        (["x", "2*x"], "target", "must be a string, a formula, or an object"),
        ({"a": 5}, "target.a", "valid string"),
        ({str(n): "x" for n in range(65)}, "target", "at most 64 targets"),
    ],
)
def test_bad_formulas_are_refused(
    client: TestClient, target: Any, place: str, message: str
) -> None:
    dataset = {"kind": "synthetic", "features": {"x": {"linspace": [0, 1]}}, "target": target}
    answer = client.post("/jobs", json={"dataset": dataset})
    assert answer.status_code == 422
    error = answer.json()["errors"][0]
    assert error["loc"] == ["body", "dataset", *place.split(".")]
    assert message in error["msg"]
