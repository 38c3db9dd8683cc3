"""Several web processes behave as one."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import LINE
from tests.system.server import PATIENCE, Server, figure, serving

QUEUED = "epochd_inference_queue_duration_seconds_count"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data_dir = tmp_path_factory.mktemp("web-processes")
    with serving(data_dir, trainers=1, web_workers=2, trainer_threads=1) as server:
        yield server


def test_web_processes_behave_as_one_server(server: Server) -> None:
    def responses_of_both(method: str, path: str, **content: Any) -> list[httpx.Response]:
        """Repeat a request until both processes have responded; return all responses."""
        answers: list[httpx.Response] = []
        processes: set[str] = set()
        while len(processes) < 2:
            # Either process may accept a new connection.
            with httpx.Client(base_url=server.client.base_url) as one:
                answers.append(one.request(method, path, **content))
            processes.add(answers[-1].headers["x-request-id"].partition("-")[0])
        return answers

    def statuses(method: str, path: str, **content: Any) -> set[int]:
        return {answer.status_code for answer in responses_of_both(method, path, **content)}

    def statistics_of_both() -> list[dict[str, Any]]:
        return [
            answer.json()["model_stats"][0] for answer in responses_of_both("GET", f"{model}/stats")
        ]

    model, repository = "/v2/models/line", "/v2/repository/models/line"
    infer: dict[str, Any] = {"json": {"inputs": [{"name": "inputs", "datatype": "FP32"}]}}
    infer["json"]["inputs"][0] |= {"shape": [2, 1], "data": [1, 2]}
    predict: dict[str, Any] = {"json": {"model": "line", "inputs": [[1]]}}
    server.run(LINE | {"epochs": 1})
    expected = {1: 0, 2: 0}
    for _ in range(2):
        expected[2] += len(responses_of_both("POST", f"{model}/infer", **infer))
        expected[1] += len(responses_of_both("POST", "/predict", **predict))
        server.client.post(f"{repository}/unload").raise_for_status()
        assert statuses("GET", f"{model}/ready") == {409}
        assert statuses("POST", f"{model}/infer", **infer) == {409}
        assert statuses("POST", "/predict", **predict) == {409}
        assert "epochd_models_loaded 0.0" in server.client.get("/metrics").text
        server.client.post(f"{repository}/load").raise_for_status()
        assert statuses("GET", f"{model}/ready") == {200}
    for statistics in statistics_of_both():
        counts = {s["batch_size"]: s["compute_infer"]["count"] for s in statistics["batch_stats"]}
        assert counts == expected
        assert statistics["execution_count"] == expected[1] + expected[2]
        assert statistics["inference_count"] == expected[1] + 2 * expected[2]


def test_aliases_are_shared_and_a_killed_process_is_replaced(
    server: Server,
) -> None:
    for _ in range(2):
        server.run(LINE | {"name": "aliased", "epochs": 1})
    before = figure(server.client.get("/metrics").text, QUEUED)
    expected = 0
    for flip in range(40):
        version = 1 + flip % 2
        # Either process may accept a new connection.
        with httpx.Client(base_url=server.client.base_url) as client:
            client.put("/models/aliased/aliases/default", json={"version": version})
        for _ in range(3):
            with httpx.Client(base_url=server.client.base_url) as client:
                answer = client.post("/predict", json={"model": "aliased", "inputs": [[1]]})
            assert answer.json()["version"] == version
            expected += 1
    assert figure(server.client.get("/metrics").text, QUEUED) - before == expected
    [first, _] = sorted(server.web_workers())
    os.kill(first, signal.SIGKILL)
    server.log.wait_for(rf"web process {first} ended unexpectedly")
    for _ in range(20):
        with httpx.Client(base_url=server.client.base_url) as client:
            assert client.get("/models").status_code == 200
    server.process.terminate()
    assert server.process.wait(PATIENCE) == 0
