"""Charts and evaluations over HTTP, for jobs run by a real trainer."""

import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from sqlalchemy import update

from ml.datasets.cache import DatasetCache
from ml.training.loop import Report
from service.charts.job_charts import MAX_POINTS
from service.charts.renderer import MAX_WAITING, Renderer
from service.datasets.memory import AT_ONCE
from service.jobs.attempts import AttemptStore
from service.jobs.events import NewEvent
from service.jobs.store import JobStore
from service.settings import Settings
from service.storage.database import Database
from service.storage.tables import JobRow
from service.training.attempt import Attempt, TrainerContext
from tests.conftest import LINE, PLANE
from tests.damages import unseal
from tests.service.conftest import claimed

MEDIA_TYPES = {"json": "application/json", "svg": "image/svg+xml", "png": "image/png"}
EVALUATE = "/models/line/versions/1/evaluate"


@pytest.fixture
def database(settings: Settings, client: TestClient) -> Iterator[Database]:
    """Database of the service behind `client`."""
    database = Database(settings.sqlalchemy_url)
    yield database
    database.close()


@pytest.fixture
def attempts(database: Database, settings: Settings) -> AttemptStore:
    return AttemptStore(database, settings)


def run(client: TestClient, attempts: AttemptStore, settings: Settings, spec: object) -> str:
    """Submit a job, run it in this process and return its id."""
    job_id: str = client.post("/jobs", json=spec).json()["id"]
    cache = DatasetCache(settings.datasets_dir, 0)
    context = TrainerContext(settings, torch.device("cpu"), 1.0, cache, threading.Event())
    Attempt(claimed(attempts), attempts, context).run()
    assert client.get(f"/jobs/{job_id}").json()["status"] == "succeeded"
    return job_id


@pytest.fixture
def line(client: TestClient, attempts: AttemptStore, settings: Settings) -> str:
    """Id of the job that produced version 1 of `line`."""
    return run(client, attempts, settings, LINE | {"epochs": 20})


def evaluated(client: TestClient, **request: object) -> dict[str, Any]:
    response = client.post(EVALUATE, json=request)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_every_chart_is_served_in_every_format(client: TestClient, line: str) -> None:
    charts = client.get(f"/jobs/{line}/charts").json()["data"]
    assert [chart["name"] for chart in charts] == [
        *("features", "loss", "learning_rate", "predictions", "residuals", "fit")
    ]
    assert all(chart["ready"] for chart in charts)
    for chart in charts:
        for form, media_type in MEDIA_TYPES.items():
            response = client.get(f"/jobs/{line}/charts/{chart['name']}.{form}")
            assert response.status_code == 200, response.text
            assert response.headers["content-type"].partition(";")[0] == media_type
            assert response.content


def test_missing_chart_says_when_it_will_be_available(
    client: TestClient, attempts: AttemptStore
) -> None:
    job_id = client.post("/jobs", json=LINE).json()["id"]
    charts = client.get(f"/jobs/{job_id}/charts").json()["data"]
    assert not any(chart["ready"] for chart in charts)
    missing = client.get(f"/jobs/{job_id}/charts/loss.svg")
    assert missing.status_code == 404
    assert "once its first loss is reported; the job is queued" in missing.json()["detail"]
    folded = client.post("/jobs", json=LINE | {"name": "folded", "split": {"folds": 3}}).json()
    missing = client.get(f"/jobs/{folded['id']}/charts/loss.svg")
    assert "the job is queued and trains its 3 folds first" in missing.json()["detail"]
    client.post(f"/jobs/{folded['id']}/cancel").raise_for_status()
    claim = claimed(attempts)
    attempts.mark_started(claim, "cpu", "resident", 0, 200)
    first = Report("epoch", 1, 1, {"train_loss": 3.0, "lr": 0.1})
    attempts.heartbeat(claim, [NewEvent.from_report(first)])
    assert client.get(f"/jobs/{job_id}/charts/loss.json").status_code == 200
    waited_for = client.get(f"/jobs/{job_id}/charts/fit.png")
    assert waited_for.status_code == 404
    assert "once it has succeeded; the job is running" in waited_for.json()["detail"]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/jobs/job_0/charts", 404, "no job 'job_0'"),
        ("/jobs/job_0/charts/loss.svg", 404, "no job 'job_0'"),
        ("/jobs/{line}/charts/confusion.svg", 404, "choose one of features, loss"),
        ("/jobs/{line}/charts/nothing.json", 404, "choose one of features, loss"),
        ("/jobs/{line}/charts/loss.gif", 422, "'json', 'svg' or 'png'"),
        ("/models/line/versions/2/evaluation", 404, "no version 2"),
        ("/models/nothing/versions/1/evaluation", 404, "no model 'nothing'"),
    ],
)
def test_missing_charts_are_not_found(
    client: TestClient, line: str, path: str, status: int, message: str
) -> None:
    response = client.get(path.format(line=line))
    assert response.status_code == status
    assert message in response.json()["detail"]


def test_only_history_charts_survive_the_model(client: TestClient, line: str) -> None:
    assert client.delete("/models/line/versions/1").status_code == 204
    assert client.get(f"/jobs/{line}/charts/loss.svg").status_code == 200
    gone = client.get(f"/jobs/{line}/charts/fit.svg")
    assert gone.status_code == 404
    assert "was deleted" in gone.json()["detail"]


def test_long_histories_are_thinned_and_keep_their_ends(
    client: TestClient, attempts: AttemptStore, database: Database
) -> None:
    job_id = client.post("/jobs", json=LINE | {"epochs": 5001}).json()["id"]
    claim = claimed(attempts)
    attempts.mark_started(claim, "cpu", "resident", 0, 5001)
    reports = [Report("epoch", n, n, {"train_loss": 1 / n, "lr": 0.1}) for n in range(1, 5002)]
    attempts.heartbeat(claim, [NewEvent.from_report(report) for report in reports])
    store = JobStore(database)
    for most in (2, 3, 1000, MAX_POINTS, 5000, 5001, 9000):
        epochs = [record.epoch for record in store.metric_series(job_id, "epoch", most)]
        assert (epochs[0], epochs[-1]) == (1, 5001)
        assert min(most, 5001) / 2 <= len(epochs) <= most
        # Evenly spaced, except the last.
        assert len({b - a for a, b in pairwise(epochs[:-1])}) <= 1
    assert store.metric_series(job_id, "step", 10) == []
    drawn = client.get(f"/jobs/{job_id}/charts/loss.json").json()
    assert max(len(rows) for rows in drawn["datasets"].values()) <= MAX_POINTS


def test_rendering_resumes_after_its_process_is_killed(client: TestClient, line: str) -> None:
    renderer: Renderer = client.app_state["components"].charts._renderer
    path = f"/jobs/{line}/charts/loss.svg"
    before = client.get(path).content
    assert renderer._process is not None
    renderer._process.kill()
    renderer._process.wait()
    assert client.get(path).content == before


def test_renderings_over_the_queue_limit_are_refused(client: TestClient, line: str) -> None:
    renderer: Renderer = client.app_state["components"].charts._renderer
    for _ in range(MAX_WAITING):
        assert renderer._places.acquire(blocking=False)
    refused = client.get(f"/jobs/{line}/charts/loss.svg")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert client.get(f"/jobs/{line}/charts/loss.json").status_code == 200
    renderer._places.release()
    assert client.get(f"/jobs/{line}/charts/loss.svg").status_code == 200


def test_default_evaluation_repeats_the_evaluation_of_training(
    client: TestClient, line: str
) -> None:
    kept = client.get("/models/line/versions/1/evaluation").json()
    assert evaluated(client) == kept
    assert (kept["split"], kept["rows"]) == ("test", 20)
    metrics = client.get(f"/jobs/{line}").json()["metrics"]
    for name in ("loss", "mse", "mae", "rmse", "r2"):
        assert kept[name] == metrics[f"test_{name}"]


def test_evaluation_accepts_other_splits_and_data(client: TestClient, line: str) -> None:
    assert evaluated(client, split="train")["rows"] == 80
    assert evaluated(client, split="all")["rows"] == 100
    divided = {"validation": 0.3, "test": 0.1, "seed": 7}
    assert evaluated(client, division=divided, split="validation")["rows"] == 30
    assert evaluated(client, division={"test": 0.0})["split"] == "train"
    exact = LINE["dataset"] | {"noise": 0.0, "size": 1000}
    found = evaluated(client, dataset=exact, split="all")
    assert (found["rows"], found["split"]) == (1000, "all")
    far = evaluated(client, dataset=exact | {"features": {"x": {"linspace": [500, 600]}}})
    assert (far["rows"], far["split"]) == (1000, "all")
    assert evaluated(client, dataset=exact, split="test")["rows"] == 200
    assert far["mse"] > found["mse"]


PLANE_DATA = PLANE["dataset"]


@pytest.mark.parametrize(
    ("request_", "loc", "message"),
    [
        (
            {"dataset": PLANE_DATA},
            ["dataset"],
            "is missing features of this model: x; it has a, b, c",
        ),
        (
            {"dataset": PLANE_DATA | {"features": {n: {"normal": [0, 1]} for n in "abcx"}}},
            ["dataset"],
            "has features unknown to this model: a, b, c",
        ),
        ({"dataset": {"kind": "mnist"}}, ["dataset"], "has images of 28x28 pixels, but this"),
        (
            {"dataset": LINE["dataset"] | {"target": "log(x)", "noise": 0.0}},
            ["dataset", "target"],
            "the formula 'log(x)' is -inf at x=0",
        ),
        (
            {"dataset": LINE["dataset"] | {"size": 10**7 * 2}},
            ["dataset", "size"],
            "less than or equal to 10000000",
        ),
        ({"division": {"test": 0.001}}, ["division"], "test: 0.001 of 100 rows is none"),
        (
            {"division": {"test": 0.0}, "split": "test"},
            ["split"],
            "no test rows; choose train or all",
        ),
        ({"split": "best"}, ["split"], "'test', 'validation', 'train' or 'all'"),
        ({"rows": 3}, ["rows"], "unknown field; known: dataset"),
    ],
)
def test_incompatible_evaluations_are_refused(
    client: TestClient, line: str, request_: object, loc: list[str], message: str
) -> None:
    response = client.post(EVALUATE, json=request_)
    assert response.status_code == 422, response.text
    [error] = response.json()["errors"]
    assert error["loc"] == ["body", *loc]
    assert message in error["msg"]


def test_features_in_another_order_are_refused(
    client: TestClient, attempts: AttemptStore, settings: Settings
) -> None:
    run(client, attempts, settings, PLANE | {"epochs": 1})
    features = {name: {"uniform": [0, 1]} for name in "cab"}
    request = {"dataset": PLANE_DATA | {"features": features}}
    refused = client.post("/models/plane/versions/1/evaluate", json=request)
    assert refused.status_code == 422
    assert "in another order; this model requires a, b, c" in refused.json()["detail"]
    too_large = {"dataset": PLANE_DATA | {"size": 10_000_000}}
    refused = client.post("/models/plane/versions/1/evaluate", json=too_large)
    assert refused.status_code == 422
    assert "the limit here is 96 MiB" in refused.json()["detail"]


def test_concurrent_evaluations_are_limited(client: TestClient, line: str) -> None:
    places = client.app_state["components"].memory_slots._semaphore
    for _ in range(AT_ONCE):
        assert places.acquire(blocking=False)
    refused = client.post(EVALUATE, json={})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    places.release()
    assert client.post(EVALUATE, json={}).status_code == 200


def test_evaluating_an_unknown_model_is_not_found(client: TestClient, line: str) -> None:
    assert client.post("/models/line/versions/9/evaluate", json={}).status_code == 404
    assert client.post("/models/nothing/versions/1/evaluate", json={}).status_code == 404


def test_model_without_a_summary_has_only_history_charts(
    client: TestClient, line: str, settings: Settings
) -> None:
    [directory] = settings.models_dir.iterdir()
    unseal(directory)
    for name in ("evaluation.json", "sample.json"):
        (directory / name).unlink()
    assert client.get("/models/line/versions/1/evaluation").status_code == 404
    assert evaluated(client)["split"] == "test"
    ready = {c["name"] for c in client.get(f"/jobs/{line}/charts").json()["data"] if c["ready"]}
    assert ready == {"loss", "learning_rate"}


def test_missing_chart_of_a_cancelled_job_reports_the_status(
    client: TestClient, database: Database
) -> None:
    job_id = client.post("/jobs", json=LINE).json()["id"]
    with database.write() as session:
        session.execute(update(JobRow).where(JobRow.id == job_id).values(status="cancelled"))
    response = client.get(f"/jobs/{job_id}/charts/predictions.svg")
    assert response.status_code == 404
    assert response.json()["detail"].endswith("the job is cancelled")
