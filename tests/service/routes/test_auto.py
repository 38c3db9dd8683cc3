"""The shortest job on a table, from its submission to its predictions."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.jobs.attempts import AttemptStore
from service.settings import Settings
from service.storage.database import Database
from tests.service.routes.test_charts import run
from tests.service.routes.test_datasets import sent

TINY = {"kind": "tabm", "members": 2, "hidden": [8], "bins": 4, "embedding": 2}
DRAW = random.Random(0)
ROWS = [
    (DRAW.random(), DRAW.choice(["north", "south"]), DRAW.random(), "" if n % 9 else n)
    for n in range(200)
]
HEADER = "size,side,age,gap,price,class"


def table(price: str) -> str:
    """Return a table whose price is a formula of the size, the side, and the age."""
    lines = []
    for size, side, age, gap in ROWS:
        value = eval(price, {"size": size, "south": side == "south", "age": age})
        lines.append(f"{size},{side},{age},{gap},{value},{'high' if value > 2 else 'low'}")
    return "\n".join([HEADER, *lines])


STRAIGHT = table("3 * size + 2 * south - age")
CURVED = table("4 * (size > 0.5) * south + 2 * (age - 0.5) ** 2")


@pytest.fixture
def attempts(client: TestClient, settings: Settings) -> Iterator[AttemptStore]:
    """The attempts of the service behind `client`."""
    database = Database(settings.sqlalchemy_url)
    yield AttemptStore(database, settings)
    database.close()


@pytest.fixture
def trained(client: TestClient, attempts: AttemptStore, settings: Settings) -> Any:
    """Train on a table with tiny networks and all other defaults, and return the job."""

    def train(content: str, target: str, **document: Any) -> dict[str, Any]:
        features = dict.fromkeys(["size", "side", "age", "gap"])
        dataset = {"kind": "upload", "id": sent(client, content)["id"], "target": target}
        document = {
            "name": "homes",
            "dataset": dataset | {"features": features},
            "model": {"kind": "auto", "tabm": TINY},
        } | document
        job_id = run(client, attempts, settings, document)
        job: dict[str, Any] = client.get(f"/jobs/{job_id}").json()
        assert job["status"] == "succeeded", job["error"]
        return job

    return train


def test_job_names_its_model_and_all_that_it_chose(client: TestClient) -> None:
    dataset = {"kind": "upload", "id": sent(client, CURVED)["id"], "target": "price"}
    spec = client.post("/jobs", json={"dataset": dataset}).json()["spec"]
    assert (spec["model"]["kind"], spec["model"]["beside"]) == ("auto", ["linear", "trees"])
    assert (spec["split"]["validation"], spec["batch_size"]) == (0.15, 32)
    again = client.post("/jobs", json=spec)
    assert (again.status_code, again.json()["spec"]) == (202, spec)
    named = client.post("/jobs", json={"dataset": dataset, "epochs": 3, "batch_size": 50})
    assert (named.json()["spec"]["epochs"], named.json()["spec"]["batch_size"]) == (3, 50)
    assert named.json()["spec"]["patience"] == 16


def test_curved_values_are_learned_and_served(client: TestClient, trained: Any) -> None:
    job = trained(CURVED, "price", epochs=3)
    assert job["metrics"]["test_rmse"] < 0.7 * job["metrics"]["baseline_linear_rmse"]
    model = client.get("/models/homes").json()
    assert model["linear"] is None
    assert "shares: constant 0, linear" in model["structure"]
    rows = [{"size": 0.9, "side": "south", "age": 0.5, "gap": 9}, [0.1, "south", 0.5, None]]
    answer = client.post("/predict", json={"model": "homes", "inputs": rows}).json()
    high, low = (prediction["value"] for prediction in answer["predictions"])
    assert high > 3
    assert low < 1
    for chart in client.get(f"/jobs/{job['id']}/charts").json()["data"]:
        picture = client.get(f"/jobs/{job['id']}/charts/{chart['name']}.json")
        assert picture.status_code == 200, picture.text


def test_straight_values_leave_weights_in_units_of_the_data(
    client: TestClient, trained: Any
) -> None:
    job = trained(STRAIGHT, "price", epochs=1)
    assert job["metrics"]["test_r2"] == pytest.approx(1, abs=1e-6)
    linear = client.get("/models/homes").json()["linear"]
    assert linear["weights"]["size"] == pytest.approx(3, abs=1e-3)
    assert linear["weights"]["age"] == pytest.approx(-1, abs=1e-3)
    difference = linear["weights"]["side=south"] - linear["weights"]["side=north"]
    assert difference == pytest.approx(2, abs=1e-3)


def test_classes_are_learned_by_cross_validation(client: TestClient, trained: Any) -> None:
    job = trained(CURVED, "class", epochs=2, split={"folds": 2})
    assert job["spec"]["patience"] is None
    assert job["metrics"]["cv_accuracy"] > 0.9
    assert job["metrics"]["test_accuracy"] > 0.9
    answer = client.post(
        "/predict", json={"model": "homes", "inputs": [[0.9, "south", 0.5, None]]}
    ).json()
    [prediction] = answer["predictions"]
    assert prediction["label"] == "high"
    assert sum(prediction["probabilities"]) == pytest.approx(1, abs=1e-5)
    evaluation = client.get(f"/models/homes/versions/{job['model']['version']}/evaluation").json()
    assert evaluation["baseline"]["linear"]["accuracy"] <= 1
