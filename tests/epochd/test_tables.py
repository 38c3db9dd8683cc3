"""Comparisons of jobs, and rows as DataFrames where pandas is installed."""

import importlib.util
import sys
from typing import Any

import httpx
import pytest

from epochd import Job
from epochd.schemas import JobInfo
from epochd.tables import comparison, table
from tests.epochd.samples import DONE, JOB
from tests.epochd.transports import KINDS, Service


def job(spec: dict[str, Any], job_id: str = "job_1", **metrics: float) -> JobInfo:
    return JobInfo.model_validate(DONE | {"id": job_id, "spec": spec, "metrics": metrics})


def test_a_comparison_has_the_differences_and_the_metrics() -> None:
    mlp = {"kind": "mlp", "hidden": [8]}
    one = {"name": "a", "model": mlp, "optimizer": {"kind": "adam", "lr": 0.1}, "seed": 0}
    other = {"name": "b", "model": mlp, "optimizer": {"kind": "adam", "lr": 0.2}, "seed": 0}
    rows = comparison([job(one, loss=1.0), job(other, "job_2", loss=2.0, accuracy=0.5)])
    known = {"name": "line", "status": "succeeded"}
    assert rows == [
        {"job": "job_1"} | known | {"optimizer.lr": 0.1, "loss": 1.0, "accuracy": None},
        {"job": "job_2"} | known | {"optimizer.lr": 0.2, "loss": 2.0, "accuracy": 0.5},
    ]


def test_parts_of_different_kinds_are_compared_by_their_kinds() -> None:
    specs = {"model": {"kind": "mlp", "hidden": [8]}}, {"model": {"kind": "linear"}}, {}
    assert [row.get("model") for row in comparison([job(spec) for spec in specs[:2]])] == [
        "mlp",
        "linear",
    ]
    assert [row["model"] for row in comparison([job(spec) for spec in specs])] == [
        {"kind": "mlp", "hidden": [8]},
        {"kind": "linear"},
        None,
    ]


def test_nothing_is_compared_of_one_job_or_none() -> None:
    assert comparison([]) == []
    assert set(comparison([job({"epochs": 3})])[0]) == {"job", "name", "status"}


@pytest.mark.parametrize("kind", KINDS)
def test_jobs_are_asked_for_unless_they_have_ended(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    service = Service(lambda request: httpx.Response(200, json=DONE | {"id": "job_x"}))
    ended, running = JobInfo.model_validate(DONE), JobInfo.model_validate(JOB)
    handle = Job(service.client(), running.model_copy(update={"id": "job_3"}))
    compared = service.run(kind, lambda client: client.compare([ended, running, "job_2", handle]))
    assert [row["job"] for row in compared] == ["job_1", "job_x", "job_x", "job_x"]
    paths = [request.url.path for request in service.requests]
    assert paths == ["/jobs/job_1", "/jobs/job_2", "/jobs/job_3"]


def test_rows_are_a_list_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert table(iter([{"a": 1}])) == [{"a": 1}]


@pytest.mark.skipif(not importlib.util.find_spec("pandas"), reason="pandas is not installed")
def test_rows_are_a_dataframe_with_pandas() -> None:
    assert table([{"a": 1}, {"b": 2}]).shape == (2, 2)
