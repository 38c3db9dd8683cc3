"""Every route of the service has its method in both clients, and every answer its fields."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from inspect import signature
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel

import epochd
from epochd import AsyncClient, AsyncDataset, AsyncJob, AsyncModel, Client, Dataset, Job, Model
from epochd import schemas as answers
from epochd.schemas import DatasetInfo, JobInfo, ModelInfo
from service.app import create_app
from service.settings import Settings
from tests.epochd.samples import DATASET, JOB, MODEL
from tests.epochd.transports import KINDS, Service, problem

PAIRS: list[tuple[type, type]] = [
    (Client, AsyncClient),
    (Job, AsyncJob),
    (Dataset, AsyncDataset),
    (Model, AsyncModel),
]
NOT_CALLED = {
    "POST /session": "a browser signs in",
    "DELETE /session": "and out",
}
"""Routes without a method, and the reason. The Open Inference Protocol has clients of its own; its
models are loaded and unloaded with this one."""
OPEN_INFERENCE = re.compile(r"\w+ /v2(?!/repository/models/)")


def job(client: Any) -> Any:
    kind: type = Job if isinstance(client, Client) else AsyncJob
    return kind(client, JobInfo.model_validate(JOB))


def dataset(client: Any) -> Any:
    kind: type = Dataset if isinstance(client, Client) else AsyncDataset
    return kind(client, DatasetInfo.model_validate(DATASET))


def model(client: Any) -> Any:
    kind: type = Model if isinstance(client, Client) else AsyncModel
    return kind(client, ModelInfo.model_validate(MODEL))


CALLS: dict[str, Callable[[Any], Any]] = {
    "POST /jobs": lambda c: c.train(dataset="mnist"),
    "GET /jobs": lambda c: c.jobs(status="running"),
    "GET /jobs/{job_id}": lambda c: c.job("job_1"),
    "DELETE /jobs/{job_id}": lambda c: job(c).delete(),
    "PATCH /jobs/{job_id}": lambda c: job(c).change(priority=3),
    "GET /jobs/{job_id}/metrics": lambda c: job(c).metrics(),
    "GET /jobs/{job_id}/logs": lambda c: job(c).logs(),
    "GET /jobs/{job_id}/attempts": lambda c: job(c).attempts(),
    "GET /jobs/{job_id}/events": lambda c: job(c).events(),
    "GET /jobs/{job_id}/charts": lambda c: job(c).charts(),
    "GET /jobs/{job_id}/charts/{chart}.{form}": lambda c: job(c).chart("loss", "png"),
    "POST /jobs/{job_id}/cancel": lambda c: job(c).cancel(),
    "POST /jobs/{job_id}/pause": lambda c: job(c).pause(),
    "POST /jobs/{job_id}/resume": lambda c: job(c).resume(),
    "POST /jobs/{job_id}/retry": lambda c: job(c).retry(),
    "POST /datasets": lambda c: c.upload(b"a,b\n1,2\n", name="x"),
    "GET /datasets": lambda c: c.datasets(),
    "GET /datasets/{dataset_id}": lambda c: c.dataset("ds_1"),
    "DELETE /datasets/{dataset_id}": lambda c: dataset(c).delete(force=True),
    "GET /datasets/{dataset_id}/preview": lambda c: dataset(c).preview(3),
    "GET /datasets/{dataset_id}/batches": lambda c: dataset(c).batches(shuffle=True),
    "POST /predict": lambda c: c.predict("line", [[1.0]]),
    "GET /models": lambda c: c.models(),
    "POST /models/describe": lambda c: c.describe(dataset="mnist"),
    "GET /models/{name}": lambda c: c.model("line"),
    "DELETE /models/{name}": lambda c: c.delete_model("line"),
    "GET /models/{name}/versions": lambda c: c.versions("line"),
    "GET /models/{name}/versions/{version}": lambda c: c.model("line@3"),
    "DELETE /models/{name}/versions/{version}": lambda c: model(c).delete(),
    "GET /models/{name}/versions/{version}/evaluation": lambda c: model(c).evaluation(),
    "POST /models/{name}/versions/{version}/evaluate": lambda c: model(c).evaluate(split="test"),
    "GET /models/{name}/aliases": lambda c: model(c).aliases(),
    "GET /models/{name}/aliases/{alias}": lambda c: c.model("line@best"),
    "PUT /models/{name}/aliases/{alias}": lambda c: model(c).set_alias("best"),
    "DELETE /models/{name}/aliases/{alias}": lambda c: model(c).delete_alias("best"),
    "POST /v2/repository/models/{name}/load": lambda c: model(c).load(),
    "POST /v2/repository/models/{name}/unload": lambda c: model(c).unload(),
    "POST /expressions": lambda c: c.expressions("1 + 1"),
    "GET /me": lambda c: c.me(),
    "GET /sessions": lambda c: c.sessions(),
    "DELETE /sessions/{session_id}": lambda c: c.end_session("s_1"),
    "GET /keys": lambda c: c.keys(),
    "POST /keys": lambda c: c.add_key("anna"),
    "GET /keys/{key}": lambda c: c.key("anna"),
    "DELETE /keys/{key}": lambda c: c.revoke_key("anna"),
    "POST /keys/{key}/rotate": lambda c: c.rotate_key("anna"),
    "POST /classes": lambda c: c.add_class("7b", 25),
    "GET /queue": lambda c: c.queue(),
    "GET /devices": lambda c: c.devices(),
    "GET /usage": lambda c: c.usage(days=3),
    "GET /audit": lambda c: c.audit(action="POST /jobs"),
    "GET /health/live": lambda c: c.live(),
    "GET /health/ready": lambda c: c.ready(),
    "GET /metrics": lambda c: c.service_metrics(),
}

ANSWERS: dict[type[BaseModel], tuple[str, ...]] = {
    answers.JobInfo: ("Job",),
    answers.Progress: ("Progress",),
    answers.JobError: ("JobError",),
    answers.LogRecord: ("LogRecord",),
    answers.MetricRecord: ("MetricRecord",),
    answers.Attempt: ("Attempt",),
    answers.ChartSummary: ("ChartSummary",),
    answers.DataWarning: ("DataWarning",),
    answers.DatasetInfo: ("Dataset",),
    answers.DatasetSummary: ("DatasetSummary",),
    answers.Preview: ("Preview",),
    answers.Batches: ("Batches",),
    answers.Batch: ("Batch",),
    answers.TensorPeek: ("TensorPeek",),
    answers.ModelInfo: ("ModelVersion",),
    answers.Lineage: ("Lineage",),
    answers.Parameter: ("Parameter",),
    answers.LinearFormula: ("LinearFormula",),
    answers.ModelSummary: ("ModelSummary",),
    answers.VersionInfo: ("VersionSummary",),
    answers.ModelAlias: ("ModelAlias",),
    answers.ModelDescription: ("ModelDescription",),
    answers.DescribedLayer: ("DescribedLayer",),
    answers.Evaluation: ("Classification", "Regression", "JointRegression"),
    answers.Prediction: ("ValuePrediction", "ValuesPrediction", "ClassPrediction"),
    answers.PredictResponse: ("PredictResponse",),
    answers.ExpressionResponse: ("ExpressionResponse",),
    answers.ExpressionResult: ("Result",),
    answers.QueueEntry: ("QueueEntry",),
    answers.Held: ("Held",),
    answers.Device: ("Device",),
    answers.MemoryUse: ("MemoryUse",),
    answers.DailyUse: ("DailyUse",),
    answers.AuditEntry: ("AuditEntry",),
    answers.Me: ("Me",),
    answers.Key: ("Key",),
    answers.NewKey: ("NewKey",),
    answers.Session: ("Session",),
    answers.Health: ("Health",),
    answers.Readiness: ("Readiness",),
}


@pytest.fixture(scope="module")
def openapi(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("client") / "data", trainers=0)
    with TestClient(create_app(settings)) as client:
        document: dict[str, Any] = client.get("/openapi.json").json()
        return document


def routes(openapi: dict[str, Any]) -> Iterator[str]:
    for path, methods in openapi["paths"].items():
        yield from (f"{method.upper()} {path}" for method in methods)


def test_every_route_has_a_method(openapi: dict[str, Any]) -> None:
    known = {route for route in routes(openapi) if not OPEN_INFERENCE.match(route)}
    assert known == CALLS.keys() | NOT_CALLED.keys(), "add the route to `epochd/calls`, and here"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("route", CALLS)
def test_a_method_sends_its_request(route: str, kind: str) -> None:
    service = Service(lambda request: problem(404))
    with suppress(epochd.NotFound):
        service.run(kind, CALLS[route])
    (request,) = service.requests
    method, path = route.split(" ")
    pattern = re.sub(r"\\{\w+\\}", r"[^/]+", re.escape(path))
    assert request.method == method
    assert re.fullmatch(pattern, request.url.path)


@pytest.mark.parametrize(("blocking", "asynchronous"), PAIRS)
def test_both_clients_have_the_same_methods(blocking: type, asynchronous: type) -> None:
    names = [{name for name in vars(kind) if name[0] != "_"} for kind in (blocking, asynchronous)]
    assert names[0] == names[1]
    for name in names[0]:
        one, other = getattr(blocking, name), getattr(asynchronous, name)
        assert list(signature(one).parameters) == list(signature(other).parameters)
        assert one.__doc__ == other.__doc__
        assert one.__doc__


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda kind: kind.__name__)
def test_answers_have_the_fields_of_the_service(
    answer: type[BaseModel], openapi: dict[str, Any]
) -> None:
    documents = [openapi["components"]["schemas"][name] for name in ANSWERS[answer]]
    sent = {field for document in documents for field in document["properties"]}
    fields = {field.alias or name for name, field in answer.model_fields.items()}
    assert fields == sent, f"change {answer.__module__}"


def test_answers_may_have_fields_and_kinds_of_a_later_service() -> None:
    later = JobInfo.model_validate(JOB | {"status": "dreaming", "colour": "red"})
    assert later.status == "dreaming"
    assert not later.has_ended
