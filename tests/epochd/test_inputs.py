"""What predictions can be made of, and how much of it a request takes."""

import json
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import epochd
from epochd import inputs as sent
from epochd.inputs import portions
from tests.epochd.transports import KINDS, Service, problem


def predictor(request: httpx.Request) -> httpx.Response:
    rows = len(body(request)["inputs"])
    values = [{"value": float(row)} for row in range(rows)]
    return httpx.Response(200, json={"model": "line", "version": 3, "predictions": values})


def body(request: httpx.Request) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.content)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_sent_with_the_model(kind: str) -> None:
    service = Service(predictor)
    made = service.run(kind, lambda client: client.predict("line", [[1, None], {"x": "red"}]))
    assert body(service.requests[0]) == {"model": "line", "inputs": [[1, None], {"x": "red"}]}
    assert [prediction.value for prediction in made] == [0.0, 1.0]
    assert str(made.model) == "line@3"


def test_one_row_may_be_a_dictionary() -> None:
    service = Service(predictor)
    service.client().predict("line", {"x": 1}, pixels="0-1")
    assert body(service.requests[0]) == {"model": "line", "inputs": [{"x": 1}], "pixels": "0-1"}


def test_many_rows_are_divided_and_stay_with_one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent, "MAX_ROWS", 4)
    service = Service(predictor)
    made = service.client().predict("line@best", [[row] for row in range(10)])
    assert len(made) == 10
    assert [body(request)["model"] for request in service.requests] == [
        "line@best",
        "line@3",
        "line@3",
    ]
    sent_rows = [row for request in service.requests for row in body(request)["inputs"]]
    assert sent_rows == [[row] for row in range(10)]


def test_large_rows_are_divided_by_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent, "MAX_BYTES", 100)
    rows = ["x" * 40, "x" * 40, "x" * 300, "x"]
    assert [portion.rows for portion in portions([[row] for row in rows])] == [2, 1, 1]


def test_a_fault_names_the_row_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent, "MAX_ROWS", 4)

    def handle(request: httpx.Request) -> httpx.Response:
        if body(request)["inputs"][0] == [0]:
            return predictor(request)
        faults = [{"loc": ["body", "inputs", 1, "x"], "msg": "must be a number"}]
        return problem(422, "body.inputs.1.x: must be a number", errors=faults)

    with pytest.raises(epochd.Invalid, match=r"body\.inputs\.5\.x: must be a number"):
        Service(handle).client().predict("line", [[row] for row in range(10)])


def test_an_array_keeps_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    for rows, count in ((100, 1), (3, 2)):
        monkeypatch.setattr(sent, "MAX_ROWS", rows)
        parts = list(portions(array))
        assert [part.content_type for part in parts] == ["application/x-npy"] * count
        read = [np.load(BytesIO(part.body["content"])) for part in parts]
        assert np.array_equal(np.concatenate(read), array)
        assert read[0].dtype == np.float32


@pytest.mark.parametrize("array", [np.float64(3), np.zeros((0, 3)), np.zeros(3)])
def test_an_odd_array_is_left_to_the_service(array: Any) -> None:
    (part,) = portions(np.asarray(array))
    assert np.array_equal(np.load(BytesIO(part.body["content"])), array)


def test_an_array_of_texts_is_sent_as_rows() -> None:
    (part,) = portions(np.array([["red", "blue"]], dtype=object))
    assert part.body["content"].startswith(b'{"inputs":[["red","blue"]]')


def test_a_query_names_the_model_of_an_array() -> None:
    answer = {"model": "m", "version": 1, "predictions": []}
    service = Service(lambda request: httpx.Response(200, json=answer))
    service.client().predict("m@2", np.zeros((1, 28, 28), np.uint8), pixels="0-255", explain=True)
    assert dict(service.requests[0].url.params) == {
        "model": "m@2",
        "pixels": "0-255",
        "explain": "true",
    }


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "1"])
def test_an_image_of_pillow_is_sent_as_a_file(mode: str) -> None:
    picture = Image.new("L", (9, 7), 200).convert(mode)
    (part,) = portions(picture)
    ((field, (name, content, kind)),) = part.body["files"]
    assert (field, name, kind) == ("file", "image-0.png", "image/png")
    assert Image.open(BytesIO(content)).size == (9, 7)


def test_images_are_paths_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "seven.png"
    Image.new("L", (28, 28)).save(path)
    (part,) = portions([str(path), path, path.read_bytes()])
    files = [file for _, file in part.body["files"]]
    assert [file[0] for file in files] == ["seven.png", "seven.png", "image-2"]
    assert {file[1] for file in files} == {path.read_bytes()}
    with pytest.raises(FileNotFoundError, match=r"no\.png"):
        list(portions("no.png"))


def test_many_images_are_divided() -> None:
    assert [part.rows for part in portions([b"x"] * 40)] == [16, 16, 8]


def test_no_rows_are_left_to_the_service() -> None:
    assert [part.rows for part in portions([])] == [0]


@pytest.mark.parametrize("value", [None, 3, object()])
def test_what_is_neither_rows_nor_images_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r"predict takes rows, .*, not "):
        portions(value)


def test_a_dataframe_is_rows_by_name() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "size": [1.5, float("nan")],
            "rooms": pandas.array([3, None], dtype="Int64"),
            "city": pandas.Categorical(["Bern", None]),
            "sold": pandas.to_datetime(["2024-12-31", None]),
            "price": [Decimal("1.25"), None],
            "new": [True, False],
        }
    )
    (part,) = portions(frame)
    (row,) = portions(frame.iloc[0])
    first = {
        "size": 1.5,
        "rooms": 3,
        "city": "Bern",
        "sold": "2024-12-31T00:00:00",
        "price": 1.25,
        "new": True,
    }
    gaps = dict.fromkeys(("size", "rooms", "city", "sold", "price")) | {"new": False}
    assert json.loads(part.body["content"] + b"}")["inputs"] == [first, gaps]
    assert json.loads(row.body["content"] + b"}")["inputs"] == [first]
