"""Large JSON bodies of predictions are read like small ones."""

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.exceptions import RequestValidationError

from ml.artifacts import Manifest
from ml.errors import Invalid
from ml.inference.model import Model
from ml.inputs.json_slices import NotJson
from service.errors import ClientGone, TooLarge, Unprocessable
from service.predictions.long_json import read_long_json
from service.predictions.payloads import READERS, ImageFiles, Payload
from service.settings import Settings


def never() -> None:
    pass


@pytest.fixture
def model(manifest: Manifest, tmp_path: Any) -> Model:
    """A model of one feature, `x`."""
    return Model.load(tmp_path / "model")


def long(settings: Settings, document: object, check: Callable[[], None] = never) -> Payload:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_long_json(content, settings, check)


@pytest.mark.parametrize("row", [[0.5], {"x": 0.5}], ids=["list", "object"])
def test_rows_are_those_of_a_small_body(settings: Settings, model: Model, row: Any) -> None:
    document = {"inputs": [row, [1], [-3.25]] * 3_000, "model": "line", "pixels": None}
    content = json.dumps(document).encode()
    payload = long(settings, content)
    assert payload.model == "line"
    small = READERS["application/json"]({}, content).inputs(model, settings)
    assert np.array_equal(payload.inputs(model, settings), small)


@pytest.mark.parametrize(
    ("rows", "loc", "says"),
    [
        ([[1]] * 9_000 + [["a"]], (9_000, 0), "must be a number"),
        ([[1]] * 9_000 + [{"x": 1, "y": 2}], (9_000, "y"), "unknown"),
        ([[1], [1] * 100_000], (1,), "more than 1,002 values; a row of this model has 1"),
        ([[1], [[]] * 1_000], (1,), "must be a row of"),
        ([], (), "is empty"),
        ([[1]] * 7_000 + [1], (7_000,), "must be a row of"),
    ],
)
def test_the_row_at_fault_is_named(
    settings: Settings, model: Model, rows: Any, loc: tuple[Any, ...], says: str
) -> None:
    payload = long(settings, {"model": "line", "inputs": rows})
    with pytest.raises(Invalid, match=says) as caught:
        payload.inputs(model, settings)
    assert caught.value.loc == loc
    assert payload.place(loc) == ("body", "inputs", *loc)


def test_rows_are_counted_while_they_are_read(settings: Settings) -> None:
    with pytest.raises(TooLarge, match="more than 10,000 rows"):
        long(settings, b'{"model":"line","inputs":[' + b"[]," * 20_000 + b"]}")


def test_the_first_unknown_key_ends_it(settings: Settings) -> None:
    rest = b",".join(b'"k%d":0' % n for n in range(100_000))
    with pytest.raises(RequestValidationError) as caught:
        long(settings, b'{"model":"line","inputs":[[1]],' + rest + b"}")
    assert [error["loc"] for error in caught.value.errors()] == [("body", "k0")]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"model":"line","inputs":[[1]', b'{"model":"line","inputs":[[1]]} 1']
)
def test_what_is_not_json(settings: Settings, content: bytes) -> None:
    with pytest.raises(NotJson):
        long(settings, content)


def test_rows_that_are_not_json(settings: Settings, model: Model) -> None:
    payload = long(settings, b'{"model":"line","inputs":[[1],[1 2]]}')
    with pytest.raises(NotJson):
        payload.inputs(model, settings)


@pytest.mark.parametrize(
    "document",
    [
        {"inputs": [[1]]},
        {"model": "line"},
        {"model": "line", "inputs": [[1]], "images": []},
        {"model": "line", "inputs": {"x": 1}},
        {"model": 1, "inputs": [[1]]},
        {"model": "line", "inputs": [[1]], "pixels": "0-2"},
    ],
)
def test_faults_are_those_of_a_small_body(settings: Settings, document: Any) -> None:
    with pytest.raises(RequestValidationError) as large:
        long(settings, document)
    with pytest.raises(RequestValidationError) as small:
        READERS["application/json"]({}, json.dumps(document).encode())
    assert [e["loc"] for e in large.value.errors()] == [e["loc"] for e in small.value.errors()]


def test_images(settings: Settings) -> None:
    files = [b"one", b"two" * 100_000]
    texts = [base64.b64encode(file).decode() for file in files]
    payload = long(
        settings, {"model": "digits", "images": ["data:image/png;base64," + texts[0], texts[1]]}
    )
    assert isinstance(payload, ImageFiles)
    assert payload.files == files
    for wrong in (1, "not base64!"):
        with pytest.raises(Unprocessable, match=r"body\.images\.1"):
            long(settings, {"model": "digits", "images": ["", wrong]})


def test_slashes_of_base64_may_be_escaped(settings: Settings) -> None:
    files = [b"\xff" * 200_000, b"\xfe\xff" * 200_000]
    texts = [base64.b64encode(file).decode() for file in files]
    body = json.dumps({"model": "digits", "images": texts}).encode().replace(b"/", b"\\/")
    payload = read_long_json(body, settings, lambda: None)
    assert isinstance(payload, ImageFiles)
    assert payload.files == files


def test_a_client_that_left_ends_the_reading(settings: Settings, model: Model) -> None:
    def left() -> None:
        raise ClientGone

    document = {"model": "line", "inputs": [[1]] * 1_000}
    with pytest.raises(ClientGone):
        long(settings, document, left)
    with pytest.raises(ClientGone):
        long(settings, document).inputs(model, settings, left)
