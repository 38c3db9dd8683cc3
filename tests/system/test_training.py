"""Jobs through the whole service: real processes, real MNIST."""

import copy
from typing import Any

import pytest

from tests.conftest import LINE, PLANE
from tests.system.server import Server

# Long enough to watch and interrupt; a step takes a few milliseconds.
LONG: dict[str, Any] = copy.deepcopy(LINE) | {"name": "long", "epochs": 1_000_000}


def model(server: Server, job: dict[str, Any]) -> dict[str, Any]:
    path = "/models/{name}/versions/{version}".format(**job["model"])
    found: dict[str, Any] = server.client.get(path).raise_for_status().json()
    return found


def test_mnist_reaches_the_accuracy_of_the_tutorial(mnist_job: dict[str, Any]) -> None:
    assert mnist_job["metrics"]["test_accuracy"] >= 0.97
    assert mnist_job["progress"]["step"] == mnist_job["progress"]["steps"] == 2 * 938


def test_metrics_grow_while_the_job_runs(server: Server, mnist_job: dict[str, Any]) -> None:
    assert len(set(mnist_job["seen"])) >= 3, "too few sights of a growing history"
    page = server.client.get(f"/jobs/{mnist_job['id']}/metrics").json()
    reported = [first + batch for first in (1, 939) for batch in range(0, 938, 100)]
    assert [m["step"] for m in page["data"] if m["level"] == "step"] == reported
    first, second = (m["values"]["train_loss"] for m in page["data"] if m["level"] == "epoch")
    assert second < first


def test_mnist_model_describes_itself(server: Server, mnist_job: dict[str, Any]) -> None:
    found = model(server, mnist_job)
    assert "Linear(in_features=784, out_features=512, bias=True)" in found["structure"]
    assert {"name": "network.1.weight", "shape": [512, 784]} in found["parameters"]
    assert found["parameter_count"] == 784 * 512 + 512 + 512 * 256 + 256 + 256 * 10 + 10
    assert found["metrics"]["test_accuracy"] == mnist_job["metrics"]["test_accuracy"]
    lineage = found["lineage"]
    assert lineage["job_id"] == mnist_job["id"]
    assert lineage["spec"] == mnist_job["spec"]
    assert len(lineage["weights_sha256"]) == len(lineage["data_sha256"]) == 64
    assert found["linear"] is None


def test_line_is_learned(server: Server) -> None:
    linear = model(server, server.run(LINE))["linear"]
    assert linear["weights"]["x"] == pytest.approx(3, abs=0.15)
    assert linear["bias"] == pytest.approx(2, abs=0.8)


def test_plane_is_learned(server: Server) -> None:
    job = server.run(PLANE | {"epochs": 400})
    linear = model(server, job)["linear"]
    assert linear["weights"] == pytest.approx({"a": 2, "b": 3, "c": -1.5}, abs=0.05)
    assert linear["bias"] == pytest.approx(0, abs=0.05)
    assert job["metrics"]["test_r2"] > 0.99


def test_seed_determines_the_weights(server: Server) -> None:
    spec = PLANE | {
        "epochs": 3,
        "model": {"kind": "mlp", "hidden": [32, 32], "dropout": 0.1},
        "split": {"validation": 0.1},
    }
    jobs = [server.run(spec), server.run(spec), server.run(spec | {"seed": 1})]
    one, two, other = (model(server, job)["lineage"] for job in jobs)
    assert one["weights_sha256"] == two["weights_sha256"] != other["weights_sha256"]
    assert one["data_sha256"] == two["data_sha256"] == other["data_sha256"]


def test_two_trainers_run_two_jobs_and_queue_the_third(server: Server) -> None:
    first, second, third, fourth = (server.submit(LONG) for _ in range(4))
    server.wait(first, "running")
    server.wait(second, "running")
    assert server.job(third)["status"] == server.job(fourth)["status"] == "queued"
    server.client.post(f"/jobs/{first}/cancel")
    server.wait(third, "running")
    assert server.job(fourth)["status"] == "queued"
    for job_id in (fourth, third, second):
        server.client.post(f"/jobs/{job_id}/cancel")
    assert [server.wait(job_id)["status"] for job_id in (first, second, third, fourth)] == [
        "cancelled"
    ] * 4


def test_diverging_job_names_epoch_step_and_tensor(server: Server) -> None:
    spec = PLANE | {
        "name": "diverges",
        "model": {"kind": "mlp", "hidden": [32, 32]},
        "optimizer": {"kind": "sgd", "lr": 1e6},
    }
    job = server.wait(server.submit(spec))
    assert job["status"] == "failed"
    assert job["error"]["kind"] == "diverged"
    for part in ("epoch 1, step ", "first tensor that is not finite is the output of network."):
        assert part in job["error"]["message"]
    assert job["model"] is None


def test_anomaly_detection_is_reported_in_the_error(server: Server) -> None:
    spec = PLANE | {
        "name": "anomaly",
        "model": {"kind": "mlp", "hidden": [32, 32]},
        "optimizer": {"kind": "sgd", "lr": 1e6},
        "detect_anomaly": True,
    }
    job = server.wait(server.submit(spec))
    assert job["error"]["kind"] == "diverged"
    assert "the output of network." in job["error"]["message"]
    assert "F.linear(input" in job["error"]["traceback"]


def test_job_needing_too_much_memory_is_refused_with_the_reason(server: Server) -> None:
    spec = PLANE | {
        "name": "huge",
        "dataset": PLANE["dataset"] | {"size": 1_000_000},
        "model": {"kind": "mlp", "hidden": [1_000_000]},
        "batch_size": 1_000_000,
    }
    response = server.client.post("/jobs", json=spec)
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", "batch_size"]
    assert "smaller batch_size" in response.json()["detail"]


def test_undefined_formula_value_fails_the_job_with_the_row(server: Server) -> None:
    spec = LINE | {"dataset": LINE["dataset"] | {"target": "log(x)", "noise": 0.0}}
    job = server.wait(server.submit(spec))
    assert job["error"]["kind"] == "invalid"
    assert "x=0 (row 0" in job["error"]["message"]
