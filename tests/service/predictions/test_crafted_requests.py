"""Crafted bodies of prediction requests, and large honest ones, over HTTP."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from ml.artifacts import Manifest
from service.app import create_app
from service.jobs.attempts import AttemptStore
from service.jobs.store import JobStore
from service.settings import Settings
from service.storage.database import Database
from tests.service.conftest import claimed, submitted

JSON = {"content-type": "application/json"}
NDJSON = {"content-type": "application/x-ndjson"}
INFER = "/v2/models/line/infer"


@pytest.fixture
def client(settings: Settings, manifest: Manifest, tmp_path: Path) -> Iterator[TestClient]:
    """A service with the model `line` of one feature."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        shutil.copytree(tmp_path / "model", settings.models_dir / "line")
        database = Database(settings.sqlalchemy_url)
        submitted(JobStore(database))
        attempts = AttemptStore(database, settings)
        attempts.succeed(claimed(attempts), manifest, "line")
        database.close()
        yield client


def deep(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def infer(data: bytes, shape: str = "[1,1]", datatype: str = "FP32") -> bytes:
    return b'{"inputs":[{"name":"inputs","shape":%b,"datatype":"%b","data":%b}]}' % (
        shape.encode(),
        datatype.encode(),
        data,
    )


@pytest.mark.parametrize(
    ("inputs", "status", "says"),
    [
        (deep(1_000), 422, "must be a row of 1 feature"),
        (b"[" + deep(100) + b"]" + b" " * 300_000, 422, "nested more than 64 deep"),
        (b"[[" + b"1," * 1_000_000 + b"1]]", 422, "values; a row of this model has 1"),
        (b"[[" + b"1," * 100_000 + b"1]]", 422, "has 100001 values"),
        (b"[" + b"[]," * 1_000_000 + b"[]]", 413, "more than 10,000 rows"),
        (b"[" + b"[]," * 80_000 + b"[]]", 413, "80,001 rows exceed the limit"),
        (b"[[" + b"[]," * 1_000_000 + b"[]]]", 422, "too many lists"),
        (b"[{%b}]" % b",".join(b'"k%d":0' % n for n in range(100_000)), 422, "values; a row"),
        (b"[{%b}]" % b",".join(b'"k%d":0' % n for n in range(10_000)), 422, "is missing 1 feature"),
        (b"[[1" + b"0" * 1_000_000 + b"]]", 400, "not valid JSON"),
        (b"[[1e999]]", 422, "must be a finite number"),
        (b'[["' + b"\\u0041" * 300_000 + b'"]]', 422, "inputs.0: has 1,800,004 bytes"),
        (b'[[1],{"' + b"a" * 2_000_000 + b'":1}]', 422, "inputs.1: has 2,000,006 bytes"),
        (b"[[1" + b" " * 2_000_000 + b"]]", 422, "at most 1,048,640"),
        (b'[{"' + b"a" * 500_000 + b'":1}]', 422, "is missing 1 feature"),
        (b"[[1]" + b" " * 2_000_000 + b"]", 200, '"value"'),
        (b"[[1 2]]" + b" " * 300_000, 400, "not valid JSON"),
        (b"[[1]" + b" " * 300_000, 400, "not valid JSON"),
    ],
)
def test_predict(client: TestClient, inputs: bytes, status: int, says: str) -> None:
    body = b'{"model":"line","inputs":%b}' % inputs
    response = client.post("/predict", content=body, headers=JSON)
    assert (response.status_code, says in response.text) == (status, True), response.text[:500]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (infer(b"[" + b"1," * 20_000 + b'"' + b"a" * 40_000 + b'"]', "[20001]"), 413, "rows per"),
        (infer(b"[" + b"1," * 9_998 + b'"' + b"a" * 40_000 + b'"]', "[9999]"), 400, "not numbers"),
        (infer(b"[" + b"1," * 9_998 + b'"%b"]' % (b"a" * 400_000), "[9999]"), 400, "not numbers"),
        (infer(b"[" + b"1," * 1_000_000 + b"1]"), 400, "more than 1 numbers"),
        (infer(deep(900)), 400, "has 0 numbers"),
        (infer(deep(1_100)), 400, "JSON"),
        (infer(b"[" + b"[]," * 1_000_000 + b"[]]"), 400, "too many lists"),
        (infer(b"[null]"), 400, "not finite"),
        (infer(b'["' + b"\\u0041" * 300_000 + b'"]'), 400, "has 1,800,002 bytes"),
        (infer(b"[1" + b" " * 400_000 + b"]"), 400, "not numbers"),
        (b" " * 400_000 + infer(b"[1]"), 200, '"outputs"'),
        (b'{"' + b"a" * 400_000 + b'":1,' + infer(b"[1]")[1:], 400, "a name of 400,002 bytes"),
        (
            b'{"inputs":[],' + b",".join(b'"k%d":0' % n for n in range(100_000)) + b"}",
            400,
            "beside",
        ),
        (b'{"inputs":[' + b"{}," * 80_000 + b"{}]}", 400, "inputs.0.name"),
    ],
)
def test_infer(client: TestClient, body: bytes, status: int, says: str) -> None:
    response = client.post(INFER, content=body, headers=JSON)
    assert (response.status_code, says in response.text) == (status, True), response.text[:500]
    assert ("error" in response.json()) == (status == 400 or status == 413)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"' + b"a" * 400_000 + b'":1}', "has a name of 400,002 bytes"),
        (b'{"' + b"a" * 60_000 + b'":1,"b":"' + b" " * 400_000 + b'"}', "unknown field"),
    ],
)
def test_long_names(client: TestClient, body: bytes, says: str) -> None:
    response = client.post("/predict", content=body, headers=JSON)
    assert (response.status_code, says in response.text) == (422, True), response.text[:500]
    assert len(response.content) < 4096


def test_millions_of_empty_strings_are_not_read(client: TestClient) -> None:
    parameters = {"binary_data_size": 4_000_000}
    about = {"name": "inputs", "shape": [1_000_000], "datatype": "BYTES", "parameters": parameters}
    head = json.dumps({"inputs": [about]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    response = client.post(INFER, content=head + bytes(4_000_000), headers=headers)
    assert response.status_code == 413


@pytest.mark.parametrize(
    "line",
    [
        deep(1_000),
        deep(100_000),
        b"[" + b"[]," * 700_000 + b"[]]",
        b"[" + b"1," * 1_000_000 + b"1]",
        b'"' + b"a" * 300_000 + b'"',
        b'{"x": "\xff"}',
        b"[1",
        b"[1e999]",
        b"\x0b",
        b'["' + b"\\u0041" * 300_000 + b'"]',
        b'{"' + b"a" * 2_000_000 + b'":1}',
    ],
)
def test_a_bad_line_never_loses_the_good_ones(client: TestClient, line: bytes) -> None:
    body = b"\n".join([b"[1]", line, b'{"x": 2}', line, b"[3]"])
    answers = client.post("/predict?model=line", content=body, headers=NDJSON).text.splitlines()
    lines = [json.loads(answer) for answer in answers]
    assert [list(answer) for answer in lines] == [["value"], ["error"]] * 2 + [["value"]]
    assert [answer["error"]["line"] for answer in lines if "error" in answer] == [2, 4]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n \t\r\n\r\n  "])
def test_blank_lines_are_no_rows_but_count_as_lines(client: TestClient, end: bytes) -> None:
    blank = b"\n \t \r\n\r\n" * 20_000
    body = b"\n\n[1]\r\n\r\n[" + blank + b"[2]\n" + b" " * 300_000 + b"\n[[3]" + end
    answers = client.post("/predict?model=line", content=body, headers=NDJSON).text.splitlines()
    lines = [json.loads(answer) for answer in answers]
    assert [list(answer) for answer in lines] == [["value"], ["error"], ["value"], ["error"]]
    assert [answer["error"]["line"] for answer in lines if "error" in answer] == [5, 60_007]


@pytest.mark.parametrize("body", [b"", b"\n", b" ", b"\r\n" * 100_000])
def test_a_body_of_blank_lines_has_no_rows(client: TestClient, body: bytes) -> None:
    response = client.post("/predict?model=line", content=body, headers=NDJSON)
    assert (response.status_code, response.text) == (200, "")


def test_a_blank_line_over_the_limit_is_none(client: TestClient, settings: Settings) -> None:
    body = b" " * (settings.max_body_bytes + 100) + b"\n[1"
    response = client.post("/predict?model=line", content=body, headers=NDJSON)
    assert response.json()["error"]["line"] == 2


def test_a_line_over_the_limit_is_one_line(client: TestClient, settings: Settings) -> None:
    line = b"[" + b"1," * settings.max_body_bytes + b"1]"
    body = b"\n".join([b"[1]", line, b"[3]"])
    answers = client.post("/predict?model=line", content=body, headers=NDJSON).text.splitlines()
    lines = [json.loads(answer) for answer in answers]
    assert [list(answer) for answer in lines] == [["value"], ["error"], ["value"]]
    assert lines[1]["error"]["msg"] == f"has more than {settings.max_body_bytes:,} bytes"


def test_large_honest_requests_are_answered_like_small_ones(client: TestClient) -> None:
    rows: list[Any] = [[n / 10_000] for n in range(10_000)]
    padded = json.dumps({"model": "line", "inputs": rows}, indent=8).encode()
    assert len(padded) > 256 * 1024
    large = client.post("/predict", content=padded, headers=JSON).json()["predictions"]
    small = client.post("/predict", json={"model": "line", "inputs": rows}).json()["predictions"]
    assert large == small
    tensor = {"name": "inputs", "shape": [10_000, 1], "datatype": "FP32", "data": rows}
    content = json.dumps({"inputs": [tensor]}, indent=8).encode()
    [output] = client.post(INFER, content=content, headers=JSON).json()["outputs"]
    assert output["data"] == [prediction["value"] for prediction in small]
