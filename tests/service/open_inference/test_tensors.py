"""Tensors of JSON requests, short and long."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from ml.errors import Invalid
from service.errors import TooLarge
from service.open_inference.tensors import DATATYPES, Data, LongData, numbers, texts
from service.open_inference.wire import Limits, read_request
from service.predictions.payloads import LIGHT_BYTES

LIMITS = Limits(rows=200_000, row_size=3)


def never() -> None:
    pass


def short(values: list[Any]) -> Data:
    return Data(values)


def long(values: list[Any]) -> Data:
    text = json.dumps({"data": values}).encode()
    return LongData(text, (text.index(b"["), len(text) - 1), 3, never)


def tensor(data: object, **changes: object) -> dict[str, object]:
    return {"name": "inputs", "shape": [1, 3], "datatype": "FP32", "data": data} | changes


def body(*tensors: Mapping[str, object], spaces: int = 0, **more: object) -> bytes:
    return json.dumps({"inputs": tensors} | more).encode() + b" " * spaces


@pytest.mark.parametrize("kind", [short, long])
@pytest.mark.parametrize(
    ("values", "datatype", "shape", "expected"),
    [
        ([1, 2.5, True], "FP32", [1, 3], [[1, 2.5, 1]]),
        ([[1, 2, 3], [4, 5, 6]], "INT64", [2, 3], [[1, 2, 3], [4, 5, 6]]),
        ([[[1], [2]]], "UINT8", [1, 2, 1], [[[1], [2]]]),
        ([1.0, 0, True], "BOOL", [3], [True, False, True]),
        ([2**63 - 1, -(2**63)], "INT64", [2], [2**63 - 1, -(2**63)]),
        ([2**64 - 1], "UINT64", [1], [2**64 - 1]),
        ([], "FP32", [0, 3], np.empty((0, 3))),
        ([None, 1], "FP64", [2], [np.nan, 1]),
    ],
)
def test_numbers(
    kind: Any, values: list[Any], datatype: str, shape: list[int], expected: Any
) -> None:
    array = numbers(kind(values), datatype, shape)
    assert array.dtype == DATATYPES[datatype]
    assert array.shape == tuple(shape)
    assert np.array_equal(array, np.array(expected, array.dtype), equal_nan=array.dtype.kind == "f")


@pytest.mark.parametrize("kind", [short, long])
@pytest.mark.parametrize(
    ("values", "datatype", "says"),
    [
        ([1, "a" * 100_000, 3], "FP32", "not numbers"),
        (["a", 1, 2], "FP32", "not numbers|more than 1 lists or strings"),
        ([1, None, 3], "INT8", "not numbers"),
        ([1, {}, 3], "FP32", "not numbers"),
        ([1, 2], "FP32", "has 2 numbers"),
        ([1] * 100_000, "FP32", "has more than 3 numbers"),
        ([1, [2], 3], "FP32", "different lengths"),
        ([[1, 2], [3]], "FP32", "different lengths|more than 1 lists"),
        ([1, 2, 300], "UINT8", "UINT8 cannot represent"),
        ([1.5, 2, 3], "INT8", "INT8 cannot represent"),
        ([1, 2, 9.3e18], "INT64", "INT64 cannot represent"),
        ([1, 2, -1], "UINT64", "UINT64 cannot represent"),
        ([1, 2, 3.0e400], "INT64", "INT64 cannot represent"),
    ],
)
def test_values_that_are_no_such_numbers(
    kind: Any, values: list[Any], datatype: str, says: str
) -> None:
    with pytest.raises(Invalid, match=says):
        numbers(kind(values), datatype, [1, 3])


@pytest.mark.parametrize("kind", [short, long])
def test_texts(kind: Any) -> None:
    assert texts(kind(["a", "", "é\n]"]), [3, 1]).tolist() == [["a"], [""], ["é\n]"]]
    with pytest.raises(Invalid, match="not strings"):
        texts(kind(["a", 1, "c"]), [3])
    with pytest.raises(Invalid, match="has 2 strings"):
        texts(kind(["a", "b"]), [3])


@pytest.mark.parametrize(
    "data", [b"[1,2,]", b"[,1,2]", b"[1,,2]", b"[1 2]", b'["a","b",]', b"[[1],]"]
)
def test_long_data_that_is_not_json(data: bytes) -> None:
    with pytest.raises(Invalid):
        numbers(LongData(data, (0, len(data)), 3, never), "FP32", [2])


def test_long_requests_are_read_like_short_ones() -> None:
    rows = np.random.default_rng(0).normal(size=(30_000, 3)).astype(np.float32)
    for data in (rows.tolist(), rows.ravel().tolist()):
        content = body(tensor(data, shape=[30_000, 3]), id="seven", unknown={"a": [1]})
        assert len(content) > LIGHT_BYTES
        request, tensors = read_request(content, None, LIMITS)
        assert request.id == "seven"
        assert np.array_equal(tensors["inputs"], rows)


def test_a_long_request_may_have_binary_data_too() -> None:
    head = body(
        tensor([1, 2, 3]),
        {"name": "x", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
        spaces=LIGHT_BYTES,
    )
    raw = np.array([4, 5], np.float32).tobytes()
    _, tensors = read_request(head + raw, len(head), LIMITS)
    assert {name: t.tolist() for name, t in tensors.items()} == {"inputs": [[1, 2, 3]], "x": [4, 5]}


@pytest.mark.parametrize("spaces", [0, LIGHT_BYTES])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([tensor([1, 2])], "has 2 numbers"),
        ([tensor(None)], "has neither data nor binary_data_size"),
        ([tensor([1, 2, 3]), tensor([1, 2, 3])], "given twice"),
        ([tensor([1, 2, 3], parameters={"binary_data_size": 12})], "both data and"),
        ([tensor([1, 2, 3], shape="x")], "inputs.0.shape"),
        ([], "inputs"),
    ],
)
def test_faults_are_named_alike(content: list[Any], says: str, spaces: int) -> None:
    with pytest.raises(Invalid, match=says):
        read_request(body(*content, spaces=spaces), None, LIMITS)


@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
def test_the_shape_is_checked_before_any_value(datatype: str) -> None:
    about = {"name": "x", "shape": [2**40, 2**40], "datatype": datatype}
    with pytest.raises(TooLarge, match=r"the limit of 200,000 rows per request"):
        read_request(body(about | {"data": []}), None, LIMITS)
    with pytest.raises(TooLarge):
        read_request(body(about | {"parameters": {"binary_data_size": 4}}), None, LIMITS)


def test_what_stands_beside_the_data_is_limited() -> None:
    many = {f"k{n}": 0 for n in range(100_000)}
    with pytest.raises(Invalid, match="beside its data"):
        read_request(body(tensor([1, 2, 3]), **many), None, LIMITS)
    with pytest.raises(Invalid, match="more than 10,000"):
        read_request(b'{"inputs":[' + b"{}," * 100_000 + b"{}]}", None, LIMITS)
