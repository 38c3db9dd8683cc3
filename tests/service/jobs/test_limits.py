"""Jobs that cannot run on this machine are refused, with the field at fault."""

import os
from typing import Any

import pytest
from fastapi.testclient import TestClient

from ml import devices
from service import memory
from tests.conftest import PLANE

WIDE: dict[str, Any] = PLANE | {"model": {"kind": "mlp", "hidden": [10_000]}}
GIB = 1024**3


def refused(client: TestClient, job: dict[str, Any]) -> tuple[list[str], str]:
    response = client.post("/jobs", json=job)
    assert response.status_code == 422, response.text
    [error] = response.json()["errors"]
    return error["loc"], error["msg"]


def test_a_batch_that_cannot_fit_is_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "machine_bytes", lambda: 64 * 1024 * 1024)
    big = WIDE | {"dataset": PLANE["dataset"] | {"size": 10_000}, "batch_size": 8_000}
    loc, msg = refused(client, big)
    assert loc == ["body", "batch_size"]
    assert msg == (
        "training would take at least 0.3 GiB of memory, 0.0 GiB for weights and the optimizer and "
        "0.3 GiB for a batch; the device, auto, has 0.1 GiB; use a smaller batch_size or model"
    )
    assert client.post("/jobs", json=big | {"batch_size": 100}).status_code == 202


def test_weights_that_cannot_fit_are_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"kind": "mlp", "hidden": [5_000, 5_000]}
    monkeypatch.setattr(memory, "machine_bytes", lambda: 300 * 1024 * 1024)
    wide = WIDE | {"model": model}
    assert client.post("/jobs", json=wide | {"optimizer": {"kind": "sgd"}}).status_code == 202
    adam = wide | {"optimizer": {"kind": "adam"}}
    assert refused(client, adam)[0] == ["body", "model", "hidden"]


def test_a_machine_that_does_not_tell_its_memory_refuses_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "machine_bytes", lambda: None)
    assert client.post("/jobs", json=WIDE).status_code == 202


@pytest.mark.parametrize(
    ("device", "totals", "fits"),
    [
        ("cpu", {0: 1, 1: 1}, True),
        ("auto", {0: 1, 1: 1}, False),
        ("auto", {0: 1, 1: GIB}, True),
        ("cuda", {0: GIB, 1: 1}, True),
        ("cuda:0", {0: GIB, 1: 1}, True),
        ("cuda:1", {0: GIB, 1: 1}, False),
        # A GPU whose memory is not known may be large enough.
        ("auto", {0: 1}, True),
        ("cuda:1", {}, True),
    ],
)
def test_the_largest_device_that_may_run_the_job_counts(
    device: str,
    totals: dict[int, int],
    fits: bool,
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "gpu_count", lambda: 2)
    monkeypatch.setattr(devices, "total_bytes", lambda: totals)
    response = client.post("/jobs", json=WIDE | {"device": device})
    assert response.status_code == (202 if fits else 422), response.text
    if not fits:
        assert f"the device, {device}, has 0.0 GiB" in response.text


def test_every_torchvision_network_can_be_submitted(client: TestClient) -> None:
    job = {"dataset": {"kind": "mnist"}, "model": {"kind": "torchvision", "name": "regnet_y_400mf"}}
    assert client.post("/jobs", json=job).status_code == 202
    job["model"]["name"] = "densenet121"
    loc, msg = refused(client, job)
    assert loc == ["body", "model", "name"]
    assert "at least 29x29" in msg


def test_more_threads_than_cores_are_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    loc, msg = refused(client, PLANE | {"threads": 4})
    assert (loc, msg) == (["body", "threads"], "this machine has 3 cores; choose at most 3")
    job = client.post("/jobs", json=PLANE | {"threads": 3}).json()
    assert job["options"]["threads"] == 3


def test_specs_that_cannot_be_trained_are_refused(client: TestClient) -> None:
    schedule = {"kind": "cosine", "min_lr": 0.5}
    loc, msg = refused(client, PLANE | {"schedule": schedule})
    assert loc == ["body", "schedule", "min_lr"]
    assert msg.endswith("which is above it: 0.5; choose at most 0.01")
