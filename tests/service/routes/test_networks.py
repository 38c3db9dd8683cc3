"""Networks of a user's own, described, trained and served; classes from a formula; bare names."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.jobs.attempts import AttemptStore
from service.settings import Settings
from service.storage.database import Database
from tests.service.routes.test_charts import run
from tests.service.routes.test_datasets import FRUIT, sent

LAYERS: list[Any] = [{"linear": 8, "name": "fc1"}, "tanh", {"residual": [{"linear": 8}, "relu"]}]
NETWORK = {"kind": "sequential", "layers": LAYERS}
CIRCLE: dict[str, Any] = {
    "name": "circle",
    "dataset": {
        "kind": "synthetic",
        "features": {"x": {"uniform": [-1.5, 1.5]}, "y": {"uniform": [-1.5, 1.5]}},
        "target": "x**2 + y**2 < 1",
        "size": 600,
    },
    "model": NETWORK,
    "optimizer": {"kind": "adam", "lr": 0.02},
    "schedule": "cosine",
    "split": {"validation": 0.1, "stratify": True},
    "keep_best": True,
    "epochs": 15,
    "batch_size": 30,
}


@pytest.fixture
def attempts(client: TestClient, settings: Settings) -> Iterator[AttemptStore]:
    """The attempts of the service behind `client`."""
    database = Database(settings.sqlalchemy_url)
    yield AttemptStore(database, settings)
    database.close()


def described(client: TestClient, **request: Any) -> dict[str, Any]:
    response = client.post("/models/describe", json=request)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_classes_from_a_formula_are_learned_and_served(
    client: TestClient, attempts: AttemptStore, settings: Settings
) -> None:
    description = described(client, dataset=CIRCLE["dataset"], model=NETWORK)
    job_id = run(client, attempts, settings, CIRCLE)
    job = client.get(f"/jobs/{job_id}").json()
    assert job["spec"]["loss"]["kind"] == "cross_entropy"
    assert job["spec"]["schedule"] == {"kind": "cosine", "min_lr": 0.0, "warmup": 0.0}
    assert job["metrics"]["test_accuracy"] > 0.85
    assert job["metrics"]["baseline_majority_accuracy"] < 0.8
    model = client.get("/models/circle").json()
    assert model["output"] == {"kind": "classes", "names": ["false", "true"]}
    assert model["parameters"] == description["parameters"]
    assert "(fc1): Linear(in_features=2, out_features=8, bias=True)" in model["structure"]
    rows = [{"x": 0, "y": 0}, [1.4, 1.4]]
    answer = client.post("/predict", json={"model": "circle", "inputs": rows}).json()
    assert [one["label"] for one in answer["predictions"]] == ["true", "false"]
    charts = [chart["name"] for chart in client.get(f"/jobs/{job_id}/charts").json()["data"]]
    assert {"accuracy", "confusion", "calibration", "features"} <= set(charts)
    assert "fit" not in charts
    for chart in charts:
        assert client.get(f"/jobs/{job_id}/charts/{chart}.svg").status_code == 200
    others = CIRCLE["dataset"] | {"target": "x**2 + y**2 < 0.5", "size": 100}
    path = "/models/circle/versions/1/evaluate"
    evaluation = client.post(path, json={"dataset": others}).json()
    assert evaluation["rows"] == 100
    assert [one["name"] for one in evaluation["classes"]] == ["false", "true"]
    numbers = CIRCLE["dataset"] | {"target": "x"}
    refused = client.post(path, json={"dataset": numbers})
    assert refused.status_code == 422
    assert "predicts the classes false, true" in refused.json()["detail"]


def test_a_class_that_does_not_vary_is_a_warning(
    client: TestClient, attempts: AttemptStore, settings: Settings
) -> None:
    data = CIRCLE["dataset"] | {"target": "x < 9", "size": 20}
    document = CIRCLE | {"dataset": data, "model": "linear", "epochs": 1, "split": {"test": 0.2}}
    job_id = run(client, attempts, settings, document)
    warnings = client.get(f"/jobs/{job_id}").json()["warnings"]
    assert warnings == [
        {
            "column": None,
            "kind": "constant",
            "message": "the target 'x < 9' is true in every training row: there is nothing to tell "
            "apart",
        }
    ]


def test_description_of_a_network(client: TestClient) -> None:
    found = described(client, dataset=CIRCLE["dataset"], model=NETWORK)
    assert found["model"]["layers"][0] == {"linear": 8, "bias": True, "name": "fc1"}
    assert found["structure"].splitlines()[:4] == [
        "Sequential(",
        "  (network): Sequential(",
        "    (fc1): Linear(in_features=2, out_features=8, bias=True)",
        "    (1): Tanh()",
    ]
    assert found["parameters"][0] == {"name": "network.fc1.weight", "shape": [8, 2]}
    assert found["parameter_count"] == 24 + 72 + 18
    assert found["multiply_adds"] == 16 + 64 + 16
    assert found["is_exact"]
    assert [(one["name"], one["kind"], one["shape"]) for one in found["layers"]] == [
        ("network.fc1", "Linear", [8]),
        ("network.1", "Tanh", [8]),
        ("network.2.0", "Linear", [8]),
        ("network.2.1", "ReLU", [8]),
        ("network.2", "Residual", [8]),
        ("network.head", "Linear", [2]),
    ]


@pytest.mark.parametrize(
    "model",
    [
        None,
        "linear",
        "mlp",
        "cnn",
        {"kind": "torchvision", "name": "shufflenet_v2_x1_0"},
        {"kind": "sequential", "layers": ["flatten"]},
    ],
)
def test_every_kind_is_described(client: TestClient, model: Any) -> None:
    found = described(client, dataset="mnist", model=model)
    job = client.post("/jobs", json={"dataset": "mnist", "model": model}).json()
    assert found["model"] == job["spec"]["model"]
    assert sum(layer["parameters"] for layer in found["layers"]) == found["parameter_count"]
    assert found["layers"][-1]["shape"] == [10]
    assert found["multiply_adds"] > 0


@pytest.mark.parametrize("model", ["tabm", "auto"])
def test_networks_of_rows_are_described(client: TestClient, model: str) -> None:
    found = described(client, dataset=CIRCLE["dataset"], model=model)
    job = client.post("/jobs", json={"dataset": CIRCLE["dataset"], "model": model}).json()
    assert found["model"] == job["spec"]["model"]
    assert sum(layer["parameters"] for layer in found["layers"]) == found["parameter_count"]
    assert found["layers"][-1]["shape"] == [16, 2]
    assert found["multiply_adds"] > 16 * 128 * 128


def test_sizes_of_a_table_may_be_upper_bounds(client: TestClient) -> None:
    dataset = {"kind": "upload", "id": sent(client, FRUIT)["id"], "target": "price"}
    assert not described(client, dataset=dataset)["is_exact"]


@pytest.mark.parametrize(
    ("request_", "loc", "says"),
    [
        ({}, ["dataset"], "required"),
        ({"dataset": "mnist", "lr": 1}, ["lr"], "unknown field; known: dataset, model, split"),
        ({"dataset": "mnist", "hidden": [1]}, ["hidden"], "hidden belongs in model"),
        ({"dataset": {"kind": "upload", "id": "ds_7"}}, ["dataset", "id"], "ds_7"),
        ({"dataset": CIRCLE["dataset"], "model": "cnn"}, ["model", "kind"], "requires images"),
        (
            {"dataset": "mnist", "model": {"kind": "sequential", "layers": [{"linear": 3}]}},
            ["model", "layers", 0],
            "layer 1 (linear): takes a row of numbers",
        ),
        (
            {"dataset": "mnist", "model": {"kind": "mlp", "hidden": [10**6, 10**6]}},
            ["model"],
            "allows 100,000,000",
        ),
    ],
)
def test_descriptions_are_refused_like_jobs(
    client: TestClient, request_: Any, loc: list[str | int], says: str
) -> None:
    response = client.post("/models/describe", json=request_)
    assert response.status_code == 422
    [error] = response.json()["errors"]
    assert (error["loc"], says in error["msg"]) == (["body", *loc], True), error


def test_bare_names_are_kinds_with_all_defaults(client: TestClient) -> None:
    short = {"dataset": "mnist", "model": "mlp", "optimizer": "sgd", "schedule": "one_cycle"}
    written = {name: {"kind": kind} for name, kind in short.items()}
    specs = [client.post("/jobs", json=document).json()["spec"] for document in (short, written)]
    assert specs[0] == specs[1]
    assert specs[0]["schedule"] == {"kind": "one_cycle", "warmup": 0.3}


def test_openapi_shows_bare_names(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    names, specs = schemas["JobRequest"]["properties"]["optimizer"]["anyOf"]
    assert names["enum"] == ["adam", "adamw", "sgd", "rmsprop"]
    assert specs["discriminator"]["propertyName"] == "kind"
    [layers] = [
        one["properties"]["layers"]
        for name, one in schemas.items()
        if name.startswith("SequentialSpec")
    ][:1]
    assert "residual" in layers["items"]["anyOf"][0]["enum"]
    name, *changes = schemas["JobRequest"]["properties"]["augment"]["items"]["anyOf"]
    assert name["const"] == "flip"
    assert {"$ref": "#/components/schemas/Rotate"} in changes
