"""Dates over HTTP: query parameters of an upload, and tensors of the inference protocol."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from ml.errors import Invalid
from service.open_inference.model_io import describe, inputs_of
from service.open_inference.tensors import text_tensor
from service.open_inference.wire import InferRequest
from tests.ml.shelf import Shelf

TEXT = b"when,t,y\n03/04/2024,1735603200,1\n05/06/2024,1735603260,2\n"


def test_parameters_say_how_dates_are_written(client: TestClient) -> None:
    def sent(**params: Any) -> Any:
        return client.post("/datasets", content=TEXT, params=params).json()

    guessed = sent()
    assert [column["kind"] for column in guessed["contents"]["columns"]] == [
        "date",
        *["numeric"] * 2,
    ]
    assert "ambiguous_date" in {one["kind"] for one in guessed["warnings"]}
    named = sent(date="when", day_first="when", epoch_seconds="t")
    when, t, _ = named["contents"]["columns"]
    assert (when["min"], when["max"], when["format"]) == ("2024-04-03", "2024-06-05", "DD/MM/YYYY")
    assert (t["kind"], t["max"]) == ("date", "2024-12-31T00:01:00Z")
    assert named["options"]["dates"] == {"when": "day_first", "t": "epoch_seconds"}
    rows = client.get(f"/datasets/{named['id']}/preview").json()["rows"]
    assert rows[0] == ["2024-04-03", "2024-12-31", 1]
    refused = sent(numeric="when", day_first="when")
    assert "which numeric also names" in refused["errors"][0]["msg"]
    assert "no column 'then'" in sent(month_first="then")["detail"]
    job = {"dataset": {"kind": "upload", "id": named["id"], "target": "when"}}
    assert "'when' is a date" in client.post("/jobs", json=job).text


def test_tensors_of_dates_are_texts(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    text = "when,x,y\n" + "\n".join(f"{n}.12.2024,{n},{n}" for n in range(1, 20))
    model, _ = shelf.model(shelf.spec({"id": shelf.put(text), "target": "y"}, epochs=1))
    assert describe(model)[0] == [("when", "BYTES", [1]), ("x", "FP64", [1])]
    inputs: Any = [{"name": name, "shape": [2], "datatype": "FP64"} for name in ("when", "x")]
    request = InferRequest(inputs=inputs)
    numbers = np.array([1.0, 2.0])

    def rows(*values: object) -> Any:
        tensors = {"when": text_tensor([*values], [2]), "x": numbers}
        return inputs_of(model, tensors, request).tolist()

    assert rows("02.01.2025", "2025-01-02") == [[20090, 1], [20090, 2]]
    assert math.isnan(rows("02.01.2025", "")[1][0]), "the protocol has no null"
    with pytest.raises(Invalid, match=r"must be a date like 31.12.2024 \(DD.MM.YYYY\)") as error:
        rows("02.01.2025", "01/02/2025")
    assert error.value.loc == (1, 0)
    with pytest.raises(Invalid, match="takes dates"):
        inputs_of(model, {"inputs": np.zeros((1, 2))}, request)
