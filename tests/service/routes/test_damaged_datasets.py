"""A data set whose files are damaged is named as such, and mended by sending its file again."""

import io
import logging
import shutil
import threading
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from fastapi.testclient import TestClient

from ml import integrity
from ml.datasets.cache import DatasetCache
from ml.ingest.schema import IMAGES, LABELS, TABLE
from ml.integrity import CHECKSUMS
from service.jobs.attempts import AttemptStore
from service.settings import Settings
from service.storage.database import Database
from service.storage.tables import DatasetRow
from service.training.attempt import Attempt, TrainerContext
from tests.damages import DAMAGES, USUAL, flip
from tests.service.conftest import claimed
from tests.service.routes.test_datasets import send, sent

ROWS = ("a,b\n" + "\n".join(f"{i},{2 * i}" for i in range(40))).encode()


def pictures() -> bytes:
    file = io.BytesIO()
    np.savez(file, x=np.arange(40 * 30, dtype=np.uint8).reshape(40, 5, 6), y=np.arange(40) % 2)
    return file.getvalue()


CONTENTS = {TABLE: ROWS, IMAGES: pictures(), LABELS: pictures()}
TARGET: dict[str, dict[str, str]] = {TABLE: {"target": "b"}, IMAGES: {}, LABELS: {}}


class Trainer:
    """Runs jobs in this process; each loads its data set anew."""

    def __init__(self, settings: Settings) -> None:
        cache = DatasetCache(settings.datasets_dir, 0)
        cpu = torch.device("cpu")
        self._context = TrainerContext(settings, cpu, 1.0, cache, threading.Event())
        self._database = Database(settings.sqlalchemy_url)
        self._attempts = AttemptStore(self._database, settings)

    def run(self) -> None:
        Attempt(claimed(self._attempts), self._attempts, self._context).run()

    def retry(self, client: TestClient, job_id: str) -> None:
        """Retry a failed job, which now succeeds."""
        client.post(f"/jobs/{job_id}/retry").raise_for_status()
        self.run()
        assert client.get(f"/jobs/{job_id}").json()["status"] == "succeeded"

    def close(self) -> None:
        self._database.close()


@pytest.fixture
def trainer(client: TestClient, settings: Settings) -> Iterator[Trainer]:
    trainer = Trainer(settings)
    yield trainer
    trainer.close()


@pytest.fixture
def place(settings: Settings) -> Path:
    return settings.uploads_dir


def put(client: TestClient, place: Path, name: str) -> tuple[str, Path]:
    """Send the data set that has the file `name`; return its id and that file."""
    dataset = sent(client, CONTENTS[name], **TARGET[name])
    [file] = place.glob(f"*/{name}")
    return dataset["id"], file


def submit(client: TestClient, dataset_id: str) -> str:
    dataset = {"kind": "upload", "id": dataset_id}
    answer = client.post(
        "/jobs", json={"dataset": dataset, "model": "linear", "epochs": 1, "device": "cpu"}
    )
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    return job_id


def damage_of(client: TestClient, dataset_id: str) -> str | None:
    damage: str | None = client.get(f"/datasets/{dataset_id}").json()["damage"]
    return damage


def warnings(client: TestClient) -> list[str]:
    found: list[str] = client.get("/health/ready").raise_for_status().json()["warnings"]
    return found


@pytest.mark.parametrize("damage", USUAL)
@pytest.mark.parametrize("name", [TABLE, IMAGES, LABELS])
def test_damage_is_named_and_mended_by_sending_the_file_again(
    client: TestClient, trainer: Trainer, place: Path, name: str, damage: str
) -> None:
    dataset_id, file = put(client, place, name)
    before = client.get(f"/datasets/{dataset_id}/batches").json()
    assert damage_of(client, dataset_id) is None
    job_id = submit(client, dataset_id)
    DAMAGES[damage](file)

    told = damage_of(client, dataset_id) or ""
    assert told.startswith(f"the data set {dataset_id} is damaged: {name} ")
    assert told.endswith("; upload the same file again")
    for use in ("preview", "batches"):
        refused = client.get(f"/datasets/{dataset_id}/{use}")
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:epochd:damaged")
        assert refused.json()["detail"] == told
    assert warnings(client) == [told]

    trainer.run()
    job = client.get(f"/jobs/{job_id}").json()
    assert (job["status"], job["error"]["kind"]) == ("failed", "data_unavailable")
    assert (job["error"]["message"], job["error"]["traceback"]) == (told, None)
    assert len(client.get(f"/jobs/{job_id}/attempts").json()["data"]) == 1

    again = send(client, CONTENTS[name], **TARGET[name])
    assert (again.status_code, again.json()["id"]) == (200, dataset_id)
    assert damage_of(client, dataset_id) is None
    assert warnings(client) == []
    assert client.get(f"/datasets/{dataset_id}/batches").json() == before
    trainer.retry(client, job_id)


def test_job_that_finds_damage_reports_it(
    client: TestClient, trainer: Trainer, place: Path
) -> None:
    dataset_id, file = put(client, place, TABLE)
    job_id = submit(client, dataset_id)
    flip(file)
    trainer.run()
    assert warnings(client) == [client.get(f"/jobs/{job_id}").json()["error"]["message"]]
    assert warnings(client) == [damage_of(client, dataset_id)]
    client.delete(f"/datasets/{dataset_id}", params={"force": True}).raise_for_status()
    assert warnings(client) == []


def test_directory_that_is_gone_is_damage_too(
    client: TestClient, trainer: Trainer, place: Path
) -> None:
    dataset_id, file = put(client, place, TABLE)
    job_id = submit(client, dataset_id)
    shutil.rmtree(file.parent)
    told = f"the data set {dataset_id} is damaged: {TABLE} is missing; upload the same file again"
    assert damage_of(client, dataset_id) == told
    dataset = {"kind": "upload", "id": dataset_id}
    refused = client.post("/jobs", json={"dataset": dataset})
    assert (refused.status_code, refused.json()["detail"]) == (503, told)
    for use in ("preview", "batches"):
        refused = client.get(f"/datasets/{dataset_id}/{use}")
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:epochd:damaged")
    trainer.run()
    error = client.get(f"/jobs/{job_id}").json()["error"]
    assert error["kind"] == "data_unavailable"
    assert "was deleted, or its files are missing; upload the same file" in error["message"]
    assert send(client, ROWS, target="b").status_code == 200
    trainer.retry(client, job_id)


def test_job_for_a_deleted_data_set_is_told_so(
    client: TestClient, trainer: Trainer, place: Path
) -> None:
    dataset_id, _ = put(client, place, TABLE)
    job_id = submit(client, dataset_id)
    client.delete(f"/datasets/{dataset_id}", params={"force": True}).raise_for_status()
    trainer.run()
    error = client.get(f"/jobs/{job_id}").json()["error"]
    assert error["kind"] == "data_unavailable"
    assert "was deleted" in error["message"]
    assert client.get(f"/datasets/{dataset_id}/preview").status_code == 404


def test_file_of_another_name_mends_the_first_too(client: TestClient, place: Path) -> None:
    dataset_id, file = put(client, place, TABLE)
    flip(file)
    assert damage_of(client, dataset_id)
    other = send(client, ROWS, name="other")
    assert other.status_code == 201
    assert damage_of(client, dataset_id) is None
    assert damage_of(client, other.json()["id"]) is None
    assert [path.name for path in place.iterdir() if path.name != ".incoming"] == [file.parent.name]


def test_intact_files_are_not_replaced(client: TestClient, place: Path) -> None:
    _, file = put(client, place, TABLE)
    inode = file.stat().st_ino
    assert send(client, ROWS, target="b").status_code == 200
    assert send(client, ROWS, name="other").status_code == 201
    assert file.stat().st_ino == inode


def test_damaged_list_of_checksums_is_mended(client: TestClient, place: Path) -> None:
    dataset_id, file = put(client, place, TABLE)
    (file.parent / CHECKSUMS).write_bytes(b"{}")
    assert f"{CHECKSUMS} cannot be understood" in (damage_of(client, dataset_id) or "")
    send(client, ROWS, target="b")
    assert damage_of(client, dataset_id) is None


def test_rows_that_an_earlier_version_read_otherwise_are_described_anew(
    client: TestClient, place: Path, settings: Settings
) -> None:
    dataset_id, file = put(client, place, TABLE)
    contents = client.get(f"/datasets/{dataset_id}").json()["contents"]
    database = Database(settings.sqlalchemy_url)
    with database.write() as session:
        row = session.query(DatasetRow).one()
        row.schema = row.schema | {"rows": 39}
    file.unlink()
    send(client, ROWS, target="b")
    dataset = client.get(f"/datasets/{dataset_id}").json()
    assert (dataset["contents"], dataset["damage"]) == (contents, None)
    database.close()


def test_data_set_of_an_earlier_version_is_used_and_mended(
    client: TestClient, trainer: Trainer, place: Path
) -> None:
    dataset_id, file = put(client, place, TABLE)
    (file.parent / CHECKSUMS).unlink()
    assert damage_of(client, dataset_id) is None
    inode = file.stat().st_ino
    assert send(client, ROWS, target="b").status_code == 200
    assert file.stat().st_ino == inode
    job_id = submit(client, dataset_id)
    trainer.run()
    assert client.get(f"/jobs/{job_id}").json()["status"] == "succeeded"
    pq.write_table(pq.read_table(file).slice(0, 30), file)
    assert "has other rows and columns" in (damage_of(client, dataset_id) or "")
    send(client, ROWS, target="b")
    assert damage_of(client, dataset_id) is None
    assert integrity.is_sealed(file.parent)


def test_jobs_do_not_hash_a_data_set_again(
    client: TestClient, trainer: Trainer, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id, _ = put(client, place, IMAGES)
    hashed = []
    digest = integrity._digest

    def counted(file: BufferedReader) -> str:
        if place in Path(file.name).parents:
            hashed.append(file)
        return digest(file)

    monkeypatch.setattr(integrity, "_digest", counted)
    for _ in range(3):
        submit(client, dataset_id)
        trainer.run()
    assert len(hashed) == 2, "images and labels, once"


def test_model_is_not_evaluated_on_damaged_rows(
    client: TestClient, trainer: Trainer, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset_id, file = put(client, place, TABLE)
    job = submit(client, dataset_id)
    trainer.run()
    model = client.get(f"/jobs/{job}").json()["model"]
    flip(file)
    for _ in range(2):
        refused = client.post(f"/models/{model['name']}/versions/1/evaluate", json={})
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:epochd:damaged")
        assert f"the data set {dataset_id} is damaged" in refused.json()["detail"]
    assert len(warnings(client)) == 1
    assert client.get(f"/models/{model['name']}").json()["damage"] is None
    errors = [r.message for r in caplog.records if r.levelno >= logging.ERROR]
    assert [str(file) in message for message in errors] == [True]
