"""Raw requests get the JSON part they lack."""

import json
from typing import Any

import pytest

from ml.errors import Invalid
from service.open_inference import raw
from service.open_inference.raw import with_header

FEATURES = ("inputs", "FP32", [3])


def described(monkeypatch: pytest.MonkeyPatch, *inputs: tuple[str, str, list[int]]) -> Any:
    monkeypatch.setattr(raw, "describe", lambda model: (list(inputs), []))
    return None


@pytest.mark.parametrize("length", [None, 1, 5])
def test_other_requests_are_left_as_they_are(length: int | None) -> None:
    model: Any = None
    assert with_header(b"hello", length, model) == (b"hello", length)


def test_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    body, length = with_header(b"x" * 12, 0, described(monkeypatch, FEATURES))
    assert body[length:] == b"x" * 12
    assert json.loads(body[:length])["inputs"] == [
        {
            "name": "inputs",
            "datatype": "FP32",
            "shape": [1, 3],
            "parameters": {"binary_data_size": 12},
        }
    ]


def test_a_string(monkeypatch: pytest.MonkeyPatch) -> None:
    body, length = with_header(b"red", 0, described(monkeypatch, ("colour", "BYTES", [1])))
    assert body[length:] == b"\x03\0\0\0red"


def test_several_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    model = described(monkeypatch, ("a", "FP32", [1]), ("b", "BYTES", [1]))
    with pytest.raises(Invalid, match="the model has 2: a, b"):
        with_header(b"red", 0, model)
