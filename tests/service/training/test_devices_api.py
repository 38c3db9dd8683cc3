"""GPUs in the API, on machines with and without GPUs."""

import re

import pytest
import torch
from fastapi.testclient import TestClient

from ml import devices
from service.settings import Settings
from service.training.device_warnings import DeviceWarnings
from tests.conftest import LINE
from tests.ml.test_devices import FakeNvml, install_nvml


def samples(client: TestClient) -> list[str]:
    response = client.get("/metrics")
    assert response.status_code == 200
    return re.findall("^epochd_device_memory_used_bytes{(.*)$", response.text, re.M)


def test_metrics_report_memory_without_initializing_cuda(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_nvml(monkeypatch, FakeNvml())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    assert samples(client) == ['device="cuda:0"} 300.0', 'device="cuda:1"} 100.0']
    assert not torch.cuda._initialized


def test_metrics_work_without_nvml(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    install_nvml(monkeypatch, None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert samples(client) == []


def test_unknown_device_is_refused_with_the_available_ones(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "gpu_count", lambda: 1)
    assert client.post("/jobs", json=LINE | {"device": "cuda:0"}).status_code == 202
    response = client.post("/jobs", json=LINE | {"device": "cuda:1"})
    assert response.status_code == 422
    assert response.json()["errors"] == [
        {
            "loc": ["body", "device"],
            "msg": "cuda:1 is not a usable CUDA device of this machine; "
            "choose one of auto, cpu, cuda:0",
        }
    ]


def test_readiness_shows_device_warnings(client: TestClient, settings: Settings) -> None:
    assert client.get("/health/ready").json() == {"status": "ok", "warnings": []}
    DeviceWarnings(settings.warnings_file).add("cuda:0 cannot be used")
    assert client.get("/health/ready").json() == {
        "status": "degraded",
        "warnings": ["cuda:0 cannot be used"],
    }
