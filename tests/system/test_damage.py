"""A bit flips in a model that two web processes serve."""

from pathlib import Path
from typing import Any

from ml.artifacts import WEIGHTS
from tests.conftest import LINE
from tests.damages import flip
from tests.system.server import serving

PREDICTION: dict[str, Any] = {"model": "line@1", "inputs": [[1.5]]}


def test_damaged_model_is_refused_until_it_is_repaired(tmp_path: Path) -> None:
    with serving(tmp_path, web_workers=2, trainers=1) as server:
        for seed in (1, 2):
            server.run(LINE | {"epochs": 2, "seed": seed})
        [first] = {
            path
            for path in (tmp_path / "models").iterdir()
            if path.name.startswith(
                server.client.get("/models/line/versions/1").json()["lineage"]["job_id"]
            )
        }
        flip(first / WEIGHTS)
        details = set()
        for _ in range(20):
            with server.another() as client:
                refused = client.post("/predict", json=PREDICTION)
                assert (refused.status_code, refused.json()["type"]) == (503, "urn:epochd:damaged")
                details.add(refused.json()["detail"])
                assert client.get("/health/ready").json()["warnings"] == [*details]
                assert client.get("/v2/models/line/versions/1/ready").status_code == 503
                other = client.post("/predict", json=PREDICTION | {"model": "line@2"})
                assert other.status_code == 200
        server.log.wait_for("version 1 of model 'line' is damaged: ")
        assert server.log.count("is damaged: ") == 1
        flip(first / WEIGHTS)
        for _ in range(20):
            with server.another() as client:
                assert client.post("/predict", json=PREDICTION).status_code == 200
                assert client.get("/health/ready").json()["warnings"] == []
