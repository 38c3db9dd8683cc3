"""Several web processes behave as one."""

from pathlib import Path
from typing import Any

import httpx

from tests.conftest import LINE
from tests.system.server import serving


def test_several_web_processes_are_one_server(tmp_path: Path) -> None:
    def of_each(method: str, path: str, **content: Any) -> list[httpx.Response]:
        """Ask until both have answered; return all answers."""
        answers: list[httpx.Response] = []
        processes: set[str] = set()
        while len(processes) < 2:
            # A connection of its own may come to either.
            with httpx.Client(base_url=server.client.base_url) as one:
                answers.append(one.request(method, path, **content))
            processes.add(answers[-1].headers["x-request-id"].partition("-")[0])
        return answers

    def statuses(method: str, path: str, **content: Any) -> set[int]:
        return {answer.status_code for answer in of_each(method, path, **content)}

    def told_by_each() -> list[dict[str, Any]]:
        return [answer.json()["model_stats"][0] for answer in of_each("GET", f"{model}/stats")]

    model, repository = "/v2/models/line", "/v2/repository/models/line"
    ask: dict[str, Any] = {"json": {"inputs": [{"name": "inputs", "datatype": "FP32"}]}}
    ask["json"]["inputs"][0] |= {"shape": [2, 1], "data": [1, 2]}
    predict: dict[str, Any] = {"json": {"model": "line", "inputs": [[1]]}}
    with serving(tmp_path, trainers=1, web_workers=2, trainer_threads=1) as server:
        server.run(LINE | {"epochs": 1})
        asked = {1: 0, 2: 0}
        for _ in range(2):
            asked[2] += len(of_each("POST", f"{model}/infer", **ask))
            asked[1] += len(of_each("POST", "/predict", **predict))
            server.client.post(f"{repository}/unload").raise_for_status()
            assert statuses("GET", f"{model}/ready") == {409}
            assert statuses("POST", f"{model}/infer", **ask) == {409}
            assert statuses("POST", "/predict", **predict) == {409}
            assert "epochd_models_loaded 0.0" in server.client.get("/metrics").text
            server.client.post(f"{repository}/load").raise_for_status()
            assert statuses("GET", f"{model}/ready") == {200}
        for told in told_by_each():
            counts = {s["batch_size"]: s["compute_infer"]["count"] for s in told["batch_stats"]}
            assert counts == asked
            assert told["execution_count"] == asked[1] + asked[2]
            assert told["inference_count"] == asked[1] + 2 * asked[2]
