"""The client and a real service: what an engineer does with it in an afternoon."""

import asyncio
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import epochd
from epochd import AsyncClient, Client
from epochd.schemas import Event
from tests.conftest import LINE
from tests.system.server import EPOCHD, PATIENCE, Server, serving

SIDE = 12


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("client"), trainers=1) as server:
        yield server


@pytest.fixture(scope="module")
def url(service: Server) -> str:
    return str(service.client.base_url)


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


@pytest.fixture(scope="module")
def line(url: str) -> epochd.Job:
    """The tutorial's line, trained."""
    return Client(url).train(LINE, name="client-line").wait(PATIENCE)


def bars() -> bytes:
    """Images of upright and of level bars, as an NPZ file."""
    images = np.zeros((40, SIDE, SIDE), np.uint8)
    images[:20, 2:10, 5:7] = 255
    images[20:, 5:7, 2:10] = 255
    file = io.BytesIO()
    np.savez(file, images=images, labels=np.array(["upright"] * 20 + ["level"] * 20))
    return file.getvalue()


def test_a_job_is_trained_and_its_model_predicts(line: epochd.Job) -> None:
    model = line.model()
    assert (model.name, model.version) == ("client-line", 1)
    assert model.info.linear is not None
    assert model.info.linear.weights["x"] == pytest.approx(3, abs=0.3)
    made = model.predict([[4.0], {"x": 7.5}])
    assert [prediction.value for prediction in made] == pytest.approx([14, 24.5], abs=1.5)
    assert model.predict(np.array([[4.0], [7.5]])) == made
    assert str(made.model) == "client-line@1"


def test_many_rows_are_predicted_in_parts(line: epochd.Job) -> None:
    model = line.model()
    rows: list[Any] = [[float(row)] for row in range(5000)]
    made = model.predict(rows)
    assert [made[row] for row in (0, 4999)] == model.predict([rows[0], rows[4999]])
    with pytest.raises(epochd.Invalid, match=r"inputs\.4500"):
        model.predict([*rows[:4500], ["red"]])
    with pytest.raises(epochd.Invalid, match=r"body\.4500"):
        model.predict(np.array([*rows[:4500], [np.inf]]))


def test_its_history_is_complete(line: epochd.Job, client: Client) -> None:
    events = list(line.events())
    assert [event.epoch for event in events if event.kind == "epoch"] == list(range(1, 201))
    later = list(line.events(after=events[100].id))
    assert [event.id for event in later] == [event.id for event in events[101:]]
    metrics = line.metrics("epoch")
    assert len(metrics) == 200
    assert "info" in {log.level for log in line.logs()}
    assert [attempt.outcome for attempt in line.attempts()] == ["succeeded"]
    assert line.chart("loss").startswith(b"<svg")
    assert line.chart("loss", "png").startswith(b"\x89PNG")
    assert line.id in {job.id for job in client.jobs(name="client-line", limit=None)}


def test_versions_are_promoted_and_evaluated(line: epochd.Job, client: Client) -> None:
    model = line.model()
    alias = model.set_alias("best", if_none_match="*")
    assert client.model("client-line@best").version == alias.version == 1
    with pytest.raises(epochd.PreconditionFailed):
        model.set_alias("best", if_none_match="*")
    with pytest.raises(epochd.Conflict, match="best"):
        model.delete()
    model.delete_alias("best", if_match=alias.etag)
    assert model.evaluation().r2 == pytest.approx(0.9, abs=0.1)
    assert model.evaluate(split="train").kind == "value"
    model.unload()
    with pytest.raises(epochd.Conflict, match="unloaded"):
        model.predict([[1.0]])
    model.load()
    assert len(model.predict([[1.0]])) == 1


def test_a_table_is_uploaded_trained_on_and_predicted(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "homes.csv"
    rows = "".join(f"{size},{'old' if size % 3 else 'new'},{2 * size}\n" for size in range(60))
    path.write_text("size,age,price\n" + rows)
    dataset = client.upload(path, target="price", categorical=["age"])
    assert dataset.name == "homes"
    assert client.upload(path, target="price", categorical=["age"]).id == dataset.id
    assert len(dataset.preview(3)) == 3
    assert dataset.batches(batch_size=8, limit=2).rows == 60
    job = client.train(dataset=dataset, model="linear", epochs=20, name="client-homes")
    job.wait(PATIENCE, progress=False)
    made = client.predict("client-homes", [{"size": 30, "age": "new"}, {"size": 3, "age": "odd"}])
    assert made[1].unknown == {"age": "odd"}
    with pytest.raises(epochd.Conflict):
        dataset.delete()


def test_a_dataframe_goes_in_and_comes_out(client: Client) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": np.arange(50.0), "b": ["x", "y"] * 25})
    frame["target"] = 3 * frame["a"]
    dataset = client.upload(frame, name="frame", target="target")
    assert list(dataset.preview().columns) == ["a", "b", "target"]
    job = client.train(dataset=dataset, model="linear", epochs=5).wait(PATIENCE)
    assert len(job.model().predict(frame[["a", "b"]])) == 50
    assert list(job.metrics("epoch")["epoch"]) == [1, 2, 3, 4, 5]


def test_images_are_classified(client: Client, tmp_path: Path) -> None:
    dataset = client.upload(bars(), name="bars")
    model = {"kind": "mlp", "hidden": [8]}
    job = client.train(dataset=dataset, model=model, epochs=20, name="client-bars")
    bar = Image.new("L", (SIDE, SIDE))
    bar.paste(255, (5, 2, 7, 10))
    bar.save(tmp_path / "bar.png")
    trained = job.wait(PATIENCE).model()
    for image in (bar, tmp_path / "bar.png", [bar, str(tmp_path / "bar.png")], np.array([bar])):
        made = trained.predict(image)
        assert {prediction.label for prediction in made} == {"upright"}
        assert made[0].class_ is not None
    assert trained.predict(bar, explain=True)[0].seen is not None


def test_faults_say_what_would_be_right(client: Client, line: epochd.Job) -> None:
    with pytest.raises(epochd.Invalid, match=r"body\.lr: .* optimizer"):
        client.train(dataset="mnist", lr=0.1)
    with pytest.raises(epochd.NotFound, match="no-such-model"):
        client.predict("no-such-model", [[1]])
    with pytest.raises(epochd.Invalid, match="give at least one row"):
        line.model().predict([])
    with pytest.raises(epochd.ServiceNotReached):
        Client("http://127.0.0.1:9", retry_seconds=0).me()


def test_jobs_are_stopped_continued_and_compared(client: Client, line: epochd.Job) -> None:
    job = client.train(LINE, name="client-long", epochs=1_000_000, optimizer="sgd")
    with pytest.raises(epochd.TimedOut):
        job.wait(0.1)
    job.pause()
    assert next(event for event in job.events() if event.data.get("status") == "paused")
    assert job.resume().status == "queued"
    job.cancel()
    with pytest.raises(epochd.JobFailed, match="cancelled"):
        job.wait(PATIENCE)
    compared = client.compare([line, job.id])
    assert len(compared) == 2
    columns = compared[0] if isinstance(compared, list) else compared.columns
    assert {"status", "optimizer", "epochs"} <= set(columns)
    job.delete()
    with pytest.raises(epochd.NotFound):
        job.refresh()


def test_the_service_answers_about_itself(client: Client) -> None:
    assert client.live().status == "ok"
    assert client.ready().status in ("ok", "degraded")
    assert "epochd_jobs" in client.service_metrics()
    assert client.me().role == "admin"
    assert client.keys() == client.sessions() == []
    described = client.describe(dataset="mnist", model={"kind": "mlp", "hidden": [10]})
    assert described.parameter_count == 784 * 10 + 10 + 10 * 10 + 10
    (result,) = client.expressions("2 * sum(a * b)", variables={"a": [1, 2], "b": [3, 4]})
    assert result.value == 22
    results = client.expressions("x**2", variables={"x": 5.0}, gradients=True)
    assert results[0].gradients == {"x": 10.0}


def test_many_calls_at_once(url: str) -> None:
    async def go() -> list[Any]:
        async with AsyncClient(url) as client:
            specs = [LINE | {"name": f"client-{epochs}", "epochs": epochs} for epochs in (2, 3)]
            jobs = await asyncio.gather(*(client.train(spec) for spec in specs))
            await asyncio.gather(*(job.wait(PATIENCE) for job in jobs))
            epochs = [sum([event.kind == "epoch" async for event in job.events()]) for job in jobs]
            models = [await job.model() for job in jobs]
            made = await asyncio.gather(*(model.predict([[1.0]]) for model in models))
            dataset = await client.upload(b"a,b\n1,2\n2,4\n", name="async")
            await dataset.delete()
            return [epochs, [len(predictions) for predictions in made]]

    assert asyncio.run(go()) == [[2, 3], [1, 1]]


def test_a_stream_of_events_goes_on_after_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path, trainers=1) as server, ThreadPoolExecutor(1) as pool:
        port = server.client.base_url.port
        job = Client(str(server.client.base_url), retry_seconds=PATIENCE).train(
            LINE, epochs=1_000_000, report_every=1000
        )
        begun = threading.Event()

        def read() -> list[Event]:
            found = []
            for event in job.events(timeout=PATIENCE):
                found.append(event)
                if event.kind == "epoch":
                    begun.set()
            return found

        reading = pool.submit(read)
        assert begun.wait(PATIENCE)
        server.process.terminate()
        server.process.wait(PATIENCE)
        with serving(tmp_path, trainers=1, port=port):
            job.cancel()
            seen = [event.data["status"] for event in reading.result() if event.kind == "status"]
            assert job.refresh().status == "cancelled"
            stored = [e.data["status"] for e in job.events() if e.kind == "status"]
    assert seen == stored
    assert seen[-1] == "cancelled"


def test_keys_are_added_used_and_revoked(tmp_path: Path) -> None:
    environment = os.environ | {"EPOCHD_DATA_DIR": str(tmp_path)}
    command = [sys.executable, str(EPOCHD), "keys", "add", "root", "--role", "admin"]
    secret = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()
    with serving(tmp_path, trainers=0) as server:
        url = str(server.client.base_url)
        with pytest.raises(epochd.Unauthorized, match="needs a key"):
            Client(url).jobs()
        root = Client(url, secret)
        anna = root.add_key("anna", models=["line*"], expires_days=1)
        assert anna.secret not in repr(anna)
        with pytest.raises(epochd.Forbidden):
            Client(url, anna.secret).keys()
        assert Client(url, anna.secret).me().owner == "anna"
        again = root.rotate_key("anna")
        with pytest.raises(epochd.Unauthorized):
            Client(url, anna.secret).me()
        assert Client(url, again.secret).me().models == ["line*"]
        assert len(root.add_class("7b", 3)) == 3
        root.revoke_key("anna")
        listed = root.keys()
        assert "anna" not in {key.name for key in listed}
        assert root.key("7b-01").role == "member"
