"""Data sets and models that an earlier version stored are served, evaluated and learned from.

`tests/data/earlier` holds what the version of commit 763fc02 left in its data directory, and what
it answered; see `make.py` there.
"""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.jobs.attempts import AttemptStore
from service.maintenance.adopt import adopt
from service.settings import Settings
from service.storage.database import Database
from tests.conftest import REPOSITORY
from tests.service.routes.test_charts import run

EARLIER = REPOSITORY / "tests" / "data" / "earlier"
ANSWERS: dict[str, Any] = json.loads((EARLIER / "answers.json").read_text())
BINNED = ("residuals", "calibration")
"""Parts of an evaluation that depend on the choice of bins."""
UPLOADED = [name for name, answer in ANSWERS.items() if "dataset" in answer]


@pytest.fixture
def left(settings: Settings) -> Settings:
    """The data directory as the earlier version left it."""
    settings.data_dir.mkdir(mode=0o700)
    for kind in ("models", "datasets"):
        shutil.copytree(EARLIER / kind, settings.data_dir / kind)
    with closing(sqlite3.connect(settings.data_dir / "epochd.db")) as connection:
        connection.executescript((EARLIER / "database.sql").read_text())
    return settings


@pytest.fixture(params=["upgraded", "adopted"])
def earlier(left: Settings, request: pytest.FixtureRequest) -> Iterator[TestClient]:
    """A service on the earlier version's files, with its database or, once upgraded, without."""
    if request.param == "adopted":
        with TestClient(create_app(left)):
            pass
        for file in left.data_dir.glob("epochd.db*"):
            file.unlink()
        lines = [*adopt(left, None, dry_run=False)]
        assert [line.split()[0] for line in lines] == ["adopted"] * (len(ANSWERS) + len(UPLOADED))
    with TestClient(create_app(left), raise_server_exceptions=False) as client:
        yield client


def differing(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """Yield the places at which `new` has another value than `old`, or none; it may have more."""
    if isinstance(old, dict):
        for key, value in old.items():
            if not isinstance(new, dict) or key not in new:
                yield f"{place}.{key} is gone"
            else:
                yield from differing(value, new[key], f"{place}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from differing(*pair, f"{place}[{index}]")
    elif isinstance(old, float) and not isinstance(new, str):
        if new != pytest.approx(old, rel=1e-5, abs=1e-6):
            yield f"{place} is {new}, not {old}"
    elif old != new:
        yield f"{place} is {new}, not {old}"


def test_everything_is_found_and_served_as_before(earlier: TestClient) -> None:
    for name, answer in ANSWERS.items():
        if "dataset" in answer:
            dataset = earlier.get(f"/datasets/{answer['dataset']['id']}").json()
            assert [*differing(answer["dataset"], dataset)] == []
            preview = earlier.get(f"/datasets/{dataset['id']}/preview").json()
            assert len(preview["rows"]) == min(10, dataset["contents"]["rows"])
            earlier.get(f"/datasets/{dataset['id']}/batches").raise_for_status()
        body = {"model": name, "inputs": answer["inputs"]}
        predicted = earlier.post("/predict", json=body).raise_for_status().json()
        assert [*differing(answer["predictions"], predicted["predictions"])] == []
        evaluation = earlier.get(f"/models/{name}/versions/1/evaluation").json()
        assert [*differing(answer["evaluation"], evaluation)] == []
        assert earlier.get(f"/models/{name}/versions/1").json()["damage"] is None
    unknown = earlier.post("/predict", json={"model": "homes", "inputs": [["none", 1, True]]})
    assert unknown.json()["predictions"][0]["unknown"] == {"zip": "none"}
    assert earlier.get("/health/ready").json() == {"status": "ok", "warnings": []}


def test_models_are_evaluated_on_the_same_rows_as_before(earlier: TestClient) -> None:
    for name, answer in ANSWERS.items():
        again = earlier.post(f"/models/{name}/versions/1/evaluate", json={}).raise_for_status()
        for part in BINNED:
            answer["evaluation"].pop(part, None)
        assert [*differing(answer["evaluation"], again.json())] == []
        assert again.json()["baseline"] is None, "it was not saved with the model"


def test_models_are_evaluated_on_new_data_sets(earlier: TestClient) -> None:
    content = (EARLIER / "homes.upload").read_bytes()
    query = {"name": "again", "target": "price", "missing": ["-", "NA"]}
    sent = earlier.post("/datasets", params=query, content=content).raise_for_status().json()
    for name, request in {
        "homes": {"kind": "upload", "id": sent["id"]},
        "views": {"kind": "upload", "id": sent["id"], "target": "view"},
    }.items():
        place = f"/models/{name}/versions/1/evaluate"
        other = earlier.post(place, json={"dataset": request}).raise_for_status().json()
        own = {"kind": "upload", "id": ANSWERS[name]["dataset"]["id"]}
        all_rows = earlier.post(place, json={"dataset": own, "split": "all"}).raise_for_status()
        assert [*differing(all_rows.json(), other)] == []
        assert other["rows"] == (40 if name == "homes" else 20)


def test_files_sent_again_are_the_same_data_sets(earlier: TestClient) -> None:
    for name in UPLOADED:
        dataset = ANSWERS[name]["dataset"]
        query = {
            "name": name,
            "target": dataset["target"],
            "missing": dataset["options"]["missing"],
        }
        params = {key: value for key, value in query.items() if value is not None}
        content = (EARLIER / f"{name}.upload").read_bytes()
        sent = earlier.post("/datasets", params=params, content=content)
        assert (sent.status_code, sent.json()["id"]) == (200, dataset["id"])


def test_jobs_learn_from_the_data_sets(earlier: TestClient, settings: Settings) -> None:
    database = Database(settings.sqlalchemy_url)
    attempts = AttemptStore(database, settings)
    for name in UPLOADED:
        source = {"kind": "upload", "id": ANSWERS[name]["dataset"]["id"]}
        job = {"name": name, "dataset": source, "epochs": 2}
        if name == "marks":
            job["model"] = {"kind": "mlp", "hidden": [2]}
        run(earlier, attempts, settings, job)
        trained = earlier.get(f"/models/{name}/versions/2/evaluation").raise_for_status().json()
        assert trained["rows"] == ANSWERS[name]["evaluation"]["rows"]
        again = earlier.post(f"/models/{name}/versions/2/evaluate", json={}).raise_for_status()
        assert again.json()["baseline"] is not None
    database.close()


def test_jobs_of_the_database_are_shown(left: Settings) -> None:
    with TestClient(create_app(left), raise_server_exceptions=False) as client:
        for answer in ANSWERS.values():
            place = f"/jobs/{answer['job_id']}"
            job = client.get(place).raise_for_status().json()
            assert (job["status"], job["warnings"]) == ("succeeded", [])
            charts = client.get(f"{place}/charts").raise_for_status().json()["data"]
            assert "loss" in {chart["name"] for chart in charts}
            for chart in charts:
                client.get(f"{place}/charts/{chart['name']}.json").raise_for_status()
            client.get(f"{place}/events").raise_for_status()
