"""Models are served from memory, and never the wrong one."""

import io
import json
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.http.access_log import ACCEPTED_ID
from tests.conftest import LINE
from tests.system.server import Server, figure, serving


def npy(array: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def post(server: Server, content: bytes, kind: str, **params: str) -> httpx.Response:
    headers = {"content-type": kind}
    return server.client.post("/predict", content=content, headers=headers, params=params)


def by_json(server: Server, model: str, rows: list[Any]) -> list[dict[str, Any]]:
    answer = server.client.post("/predict", json={"model": model, "inputs": rows})
    assert answer.status_code == 200, answer.text
    predictions: list[dict[str, Any]] = answer.json()["predictions"]
    return predictions


def test_arrays_give_the_same_predictions_as_rows(
    server: Server, small: str, pictures: np.ndarray
) -> None:
    expected = by_json(server, small, pictures.tolist())
    flat = pictures.reshape(len(pictures), -1)
    numbers = "application/octet-stream"
    answers = [
        post(server, npy(pictures), "application/x-npy", model=small),
        post(server, npy(np.asfortranarray(flat)), "application/x-npy", model=small),
        post(server, npy(pictures.astype(np.int64)), "application/x-npy", model=small),
        post(
            server,
            npy(pictures / 255),
            "application/x-npy",
            model=small,
            pixels="0-1",
        ),
        post(server, pictures.tobytes(), numbers, model=small),
        post(server, pictures.astype("<f4").tobytes(), numbers, model=small, dtype="float32"),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        for prediction, like in zip(answer.json()["predictions"], expected, strict=True):
            assert prediction["class"] == like["class"]
            assert prediction["probabilities"] == pytest.approx(like["probabilities"], abs=1e-4)


def test_raw_bytes_of_features_are_float32(server: Server, plane: str) -> None:
    rows = np.random.default_rng(0).random((9, 3)).astype("<f4")
    expected = by_json(server, plane, rows.tolist())
    answer = post(server, rows.tobytes(), "application/octet-stream", model=plane)
    values = [p["value"] for p in answer.json()["predictions"]]
    assert values == pytest.approx([p["value"] for p in expected])


BOMB = npy(np.zeros((3, 3))).replace(b"(3, 3)", b"(3, 3" + b"0" * 12 + b")")[:128]


@pytest.mark.parametrize(
    ("content", "kind", "params", "says"),
    [
        (b"", "application/x-npy", {}, "not a valid .npy file"),
        (b"\x93NUMPY", "application/x-npy", {}, "not a valid .npy file"),
        (npy(np.zeros((2, 3)))[:-1], "application/x-npy", {}, "header announces 48"),
        (BOMB, "application/x-npy", {}, "not a valid .npy file"),
        (npy(np.array([{}]), allow_pickle=True), "application/x-npy", {}, "Python objects"),
        (npy(np.array(["a", "b"])), "application/x-npy", {}, "must be numeric or boolean"),
        (npy(np.zeros((2, 4))), "application/x-npy", {}, "2x4"),
        (npy(np.zeros((0, 3))), "application/x-npy", {}, "at least one row"),
        (npy(np.float64(3)), "application/x-npy", {}, "a single number"),
        (npy(np.array([[1, np.nan, 2]])), "application/x-npy", {}, "not finite"),
        (npy(np.zeros((2, 3))), "application/x-npy", {"pixels": "0-9"}, "0-255 or 0-1"),
        (b"", "application/octet-stream", {}, "multiple of 12"),
        (b"x" * 13, "application/octet-stream", {}, "multiple of 12"),
        (b"x" * 12, "application/octet-stream", {"dtype": "int3"}, "uint8 or float32"),
    ],
)
def test_invalid_arrays_are_refused(
    server: Server, plane: str, content: bytes, kind: str, params: dict[str, str], says: str
) -> None:
    response = post(server, content, kind, model=plane, **params)
    assert response.status_code == 422, response.text
    assert says in response.json()["detail"]


def test_ndjson_of_ten_thousand_lines(server: Server, plane: str) -> None:
    rows = np.random.default_rng(0).random((10_000, 3)).round(6).tolist()
    lines = [json.dumps(row) for row in rows]
    lines[7] = json.dumps(dict(zip("abc", rows[7], strict=True)))
    wrong = {300: "{", 301: "[1, 2]", 302: '["x", 1, 2]', 9999: "[1e39, 0, 0]"}
    for number, line in (wrong | {5000: ""}).items():
        lines[number] = line
    answer = post(server, "\n".join(lines).encode(), "application/x-ndjson", model=plane)
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    answers = [json.loads(line) for line in answer.text.splitlines()]
    assert len(answers) == 9_999, "the blank line is skipped"
    errors = {a["error"]["line"] - 1: a["error"]["msg"] for a in answers if "error" in a}
    assert errors.keys() == wrong.keys()
    assert "not valid JSON" in errors[300]
    assert "2 values" in errors[301]
    assert "'x'" in errors[302]
    good = [number for number in range(5000) if number not in wrong]
    expected = by_json(server, plane, [rows[number] for number in good])
    assert [answers[n]["value"] for n in good] == pytest.approx([p["value"] for p in expected])


def test_model_is_served_as_soon_as_its_job_succeeds(server: Server) -> None:
    for version in (1, 2, 3):
        server.run(LINE | {"name": "fresh", "epochs": 1})
        answer = server.client.post("/predict", json={"model": "fresh", "inputs": [[1]]})
        assert answer.json()["version"] == version


def test_alias_changes_under_load_are_never_stale(server: Server) -> None:
    values = {}
    for version, slope in ((1, 1), (2, 5)):
        target = LINE["dataset"] | {"target": f"{slope}*x", "noise": 0.0}
        server.run(LINE | {"name": "flip", "dataset": target, "epochs": 300})
        [answer] = by_json(server, f"flip@{version}", [[10]])
        values[version] = answer["value"]
    alias = "/models/flip/aliases/live"
    server.client.put(alias, json={"version": 1}).raise_for_status()
    # Versions allowed now: the previous one, too, until a change is acknowledged.
    allowed = {1}
    stop = threading.Event()
    wrong: list[object] = []
    answered = 0

    def ask() -> None:
        nonlocal answered
        with httpx.Client(base_url=server.client.base_url) as client:
            while not stop.is_set():
                before = set(allowed)
                response = client.post("/predict", json={"model": "flip@live", "inputs": [[10]]})
                after = set(allowed)
                body = response.json()
                answered += 1
                if (
                    response.status_code != 200
                    or body["version"] not in before | after
                    or body["predictions"][0]["value"] != pytest.approx(values[body["version"]])
                ):
                    wrong.append((before, after, response.text))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for flip in range(60):
        version = 2 - flip % 2
        allowed = {1, 2}
        server.client.put(alias, json={"version": version}).raise_for_status()
        allowed = {version}
        for _ in range(3):
            answer = server.client.post("/predict", json={"model": "flip@live", "inputs": [[10]]})
            assert answer.json()["version"] == version
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert answered > 100


def test_models_are_evicted_and_requests_logged(tmp_path: Path) -> None:
    with serving(tmp_path, trainers=1, model_cache_mb=0, log_format="json") as server:
        for name in ("one", "two"):
            server.run(LINE | {"name": name, "epochs": 1})
        for _ in range(3):
            for name in ("one", "two"):
                by_json(server, name, [[1]])
        assert "epochd_models_loaded 1.0" in server.client.get("/metrics").text
        ids = [server.client.get("/health/live").headers["x-request-id"] for _ in range(20)]
        assert len(set(ids)) == 20
        assert all(ACCEPTED_ID.fullmatch(request_id.encode()) for request_id in ids)
        given = server.client.get("/jobs", headers={"X-Request-ID": "mine-7"})
        assert given.headers["x-request-id"] == "mine-7"
        forged = server.client.get("/jobs", headers={"X-Request-ID": 'a b"'})
        assert ACCEPTED_ID.fullmatch(forged.headers["x-request-id"].encode())
        line = json.loads(server.log.wait_for(r'\{.*GET /jobs 200.*"request_id":"mine-7".*\}')[0])
        assert line["logger"] == "epochd.access"


def test_prometheus_metrics(server: Server, plane: str) -> None:
    def read() -> str:
        response = server.client.get("/metrics")
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        return response.text

    before = read()
    for rows in (1, 3):
        by_json(server, plane, [[0, 0, 0]] * rows)
    after = read()

    def more(name: str) -> float:
        return figure(after, name) - figure(before, name)

    assert more("epochd_inference_batch_rows_sum") == 4
    assert more("epochd_inference_queue_duration_seconds_count") == 2
    assert more("epochd_http_request_duration_seconds_count") >= 2
    assert 'epochd_jobs{status="succeeded"}' in after
    assert figure(after, "epochd_models_loaded_bytes") > 0
