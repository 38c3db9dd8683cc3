"""Uploads of NPZ and Parquet files over HTTP: options, splits, columns that are left out."""

import io
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fastapi.testclient import TestClient

from ml.ingest.options import Options
from service.datasets.store import content_hash


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_splits_of_images_are_told_and_used(client: TestClient) -> None:
    images = np.arange(8 * 3 * 6 * 3, dtype=np.uint8).reshape(8, 3, 6, 3)
    labels = np.array([0, 1] * 4)
    content = npz(x_train=images[:6], y_train=labels[:6], x_test=images[6:], y_test=labels[6:])
    refused = client.post("/datasets", content=content)
    assert refused.status_code == 422
    assert "layout=nhwc" in refused.json()["detail"]
    dataset = client.post("/datasets", content=content, params={"layout": "nhwc"}).json()
    contents = dataset["contents"]
    assert (contents["height"], contents["width"], contents["channels"]) == (3, 6, 3)
    assert contents["splits"] == {"train": 6, "test": 2}
    assert [warning["kind"] for warning in dataset["warnings"]] == ["split"]
    assert dataset["options"]["layout"] == "nhwc"
    batches = client.get(f"/datasets/{dataset['id']}/batches").json()
    assert batches["rows"] == 6, "rows to train on"
    job = {"dataset": {"kind": "upload", "id": dataset["id"]}, "model": {"kind": "linear"}}
    assert client.post("/jobs", json=job).status_code == 202
    refused = client.post("/jobs", json=job | {"split": {"test": 0.5}})
    assert "has its own test split; leave test out" in refused.json()["detail"]
    wrong = client.post("/datasets", content=content, params={"layout": "hwc"})
    assert (wrong.status_code, "layout" in wrong.json()["detail"]) == (422, True)


def test_columns_are_left_out_and_ignored(client: TestClient) -> None:
    file = io.BytesIO()
    table = {"a": [1, 2, 3], "b": [0.5, 1, 2], "tags": [["x"], [], []], "note": ["p", "q", "r"]}
    pq.write_table(pa.table(table), file)
    content = file.getvalue()
    dataset = client.post("/datasets", content=content, params={"ignore": ["note"]}).json()
    assert [column["name"] for column in dataset["contents"]["columns"]] == ["a", "b"]
    assert "'tags' is list<" in dataset["contents"]["left_out"]["tags"]
    assert ("tags", "left_out") in [(w["column"], w["kind"]) for w in dataset["warnings"]]
    for params, where in (({"target": "tags"}, "target"), ({"text": "tags"}, "is list<")):
        refused = client.post("/datasets", content=content, params=params)
        assert (refused.status_code, "is list<" in refused.json()["detail"]) == (422, True), where
    spec = {"kind": "upload", "id": dataset["id"], "target": "tags"}
    refused = client.post("/jobs", json={"dataset": spec})
    assert (refused.status_code, "left out" in refused.json()["detail"]) == (422, True)
    unknown = client.post("/datasets", content=content, params={"ignore": "z"})
    assert "there is no column 'z' to ignore" in unknown.json()["detail"]


def test_files_of_earlier_versions_are_found_again() -> None:
    # As a version without further options wrote it.
    document = '{"encoding":null,"delimiter":null,"missing":[],"types":{},"image_size":null}'
    expected = sha256(f"abc {document}".encode()).hexdigest()
    assert content_hash("abc", Options()) == expected
    assert content_hash("abc", Options(ignore=["x"])) != expected
