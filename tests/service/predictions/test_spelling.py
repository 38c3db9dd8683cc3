"""Values of requests are read as those of the file, at every door, and unknown ones are named."""

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from ml.inputs.table_rows import TableReader
from service.jobs.attempts import AttemptStore
from service.predictions.payloads import LIGHT_BYTES
from service.settings import Settings
from service.storage.database import Database
from tests.service.routes.test_charts import run

HOUSES = "zip,heated,size,price\n" + "".join(
    f"{zip_}, {heated} ,{size},{price}\n"
    for zip_, heated, size, price in [
        ("01234", "true", "1.5", 1),
        ("20095", "false", "-99", 2),
        ("v1.0", "true", "2.5", 3),
        ("-", "?", "3.5", 4),
    ]
    * 5
)
NAMES = ("zip", "heated", "size")
NUMBERS = "a;b;y\n" + "1.234,5;12%;1,5\n-99;13%;2,5\n0,5;14%;3,5\n" * 4


@pytest.fixture
def served(client: TestClient, settings: Settings) -> Iterator[TestClient]:
    database = Database(settings.sqlalchemy_url)
    for name, text in {"houses": HOUSES, "numbers": NUMBERS}.items():
        query = {"name": name, "missing": ["-99", "-", "?", "NA"]}
        uploaded = client.post("/datasets", params=query, content=text.encode())
        target = text.partition("\n")[0].replace(";", ",").split(",")[-1]
        dataset = {"kind": "upload", "id": uploaded.raise_for_status().json()["id"]}
        request = {"dataset": dataset | {"target": target}, "epochs": 3, "name": name}
        request |= {"model": "linear"}
        run(client, AttemptStore(database, settings), settings, request)
    yield client
    database.close()


def predictions(client: TestClient, rows: list[Any], model: str = "houses") -> list[Any]:
    response = client.post("/predict", json={"model": model, "inputs": rows})
    found: list[Any] = response.raise_for_status().json()["predictions"]
    return found


def lines(client: TestClient, rows: list[Any]) -> list[Any]:
    content = "\n".join(json.dumps(row) for row in rows).encode()
    headers = {"content-type": "application/x-ndjson"}
    response = client.post("/predict?model=houses", content=content, headers=headers)
    return [json.loads(line) for line in response.raise_for_status().text.splitlines()]


def inferred(client: TestClient, model: str, **columns: Any) -> list[float]:
    inputs = [
        {"name": name, "shape": [len(data), 1], "datatype": datatype, "data": data}
        for name, (datatype, data) in columns.items()
    ]
    response = client.post(f"/v2/models/{model}/infer", json={"inputs": inputs})
    [output] = response.raise_for_status().json()["outputs"]
    found: list[float] = output["data"]
    return found


def test_values_are_read_alike_at_every_door(served: TestClient) -> None:
    alike: list[list[Any]] = [
        [
            ["01234", True, 1.5],
            [1234, 1, "1.5"],
            ["1234", "yes", " 1.50 "],
            [" 01234", "Y", "15e-1"],
        ],
        [["20095", False, None], [20095, 0, -99], ["20095", "no", "-99.0"], [20095.0, "F", "NA"]],
        [["v1.0", True, 2.5], ["v1.0 ", "TRUE", "2.5"]],
        [[None, None, 3.5], ["", "", 3.5], ["-", "-", 3.5], ["NA", " ? ", "+3.5"]],
    ]
    for group in alike:
        named = [dict(zip(NAMES, row, strict=True)) for row in group]
        [first, *others] = (
            predictions(served, group) + predictions(served, named) + lines(served, group)
        )
        assert "unknown" not in first
        for other in others:
            assert other == {"value": pytest.approx(first["value"], rel=1e-6)}
    texts = inferred(
        served,
        "houses",
        zip=("BYTES", ["01234", " v1.0", "-"]),
        heated=("BYTES", ["yes", "T", ""]),
        size=("BYTES", ["1.50", "2.5", "3.5"]),
    )
    rows = [["01234", True, 1.5], ["v1.0", True, 2.5], [None, None, 3.5]]
    assert texts == pytest.approx([p["value"] for p in predictions(served, rows)], rel=1e-6)


def test_numbers_are_read_in_the_notation_of_their_file(served: TestClient) -> None:
    rows = [["1.234,5", "12%"], ["1234,50", " 12 "], [1234.5, 12], [-99, 13], ["-99,0", 13]]
    one, two, three, gap, other = (p["value"] for p in predictions(served, rows, "numbers"))
    assert one == pytest.approx(two) == pytest.approx(three)
    assert gap == pytest.approx(other) != pytest.approx(one)
    file = io.BytesIO()
    np.save(file, np.array([[1234.5, 12], [-99, 13]]))
    headers = {"content-type": "application/x-npy"}
    sent = served.post("/predict?model=numbers", content=file.getvalue(), headers=headers)
    assert [p["value"] for p in sent.json()["predictions"]] == pytest.approx([one, gap])
    texts = inferred(served, "numbers", a=("BYTES", ["1.234,5", ""]), b=("FP64", [12, 13]))
    assert texts == pytest.approx([one, gap])
    refused = served.post("/predict", json={"model": "numbers", "inputs": [["1.234.5", 12]]})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["body", "inputs", 0, 0]


def test_unknown_categories_are_looked_for_once(
    served: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched, search = [], TableReader.unknown

    def counted(reader: TableReader, array: Any) -> Any:
        searched.append(len(array))
        return search(reader, array)

    monkeypatch.setattr(TableReader, "unknown", counted)
    rows = [["v1", True, 1], ["01234", True, 1]]
    assert [p.get("unknown") for p in predictions(served, rows)] == [{"zip": "v1"}, None]
    assert searched == [2]
    assert [p.get("unknown") for p in lines(served, rows)] == [{"zip": "v1"}, None]
    assert searched == [2, 2]
    assert 'epochd_unknown_values_total{model="houses",version="1"} 2.0' in (
        served.get("/metrics").text
    )


def test_unknown_categories_are_named_in_every_response(served: TestClient) -> None:
    rows = [
        ["01234", True, 1],
        ["v1", True, 1],
        {"zip": 99, "heated": 0, "size": -1},
        [None, None, 1],
    ]
    unknown = [None, {"zip": "v1"}, {"zip": 99}, None]
    assert [p.get("unknown") for p in predictions(served, rows)] == unknown
    assert [p.get("unknown") for p in lines(served, [*rows, "no row"])] == [*unknown, None]
    long = [["x" * 1000, True, 1]] * (LIGHT_BYTES // 1000 + 1000)
    found = predictions(served, [*long, *rows])
    assert found[0]["unknown"] == {"zip": "x" * 200 + "…"}
    assert [p.get("unknown") for p in found[len(long) :]] == unknown
    assert (
        len(
            inferred(
                served,
                "houses",
                zip=("BYTES", ["v1"]),
                heated=("BOOL", [True]),
                size=("FP64", [1]),
            )
        )
        == 1
    )
    metrics = served.get("/metrics").text
    counted = 2 + 2 + len(long) + 2 + 1
    assert f'epochd_unknown_values_total{{model="houses",version="1"}} {counted}.0' in metrics
