"""Encoding of tensors in the Open Inference Protocol v2: JSON and the binary extension."""

import codecs
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from ml.errors import Invalid

Tensor = NDArray[Any]
RequestModel = TypeVar("RequestModel", bound=BaseModel)

DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BF16": np.dtype("<u2"),
    "BYTES": np.dtype("O"),
}
"""NumPy dtype of each datatype. BF16 is held as its bits, the upper half of an FP32, and BYTES as
Python strings."""

NAMES = {dtype: name for name, dtype in DATATYPES.items() if name not in ("BF16", "BYTES")}
Size = Annotated[int, Field(ge=0, le=2**40)]
Parameters = Annotated[
    dict[str, Any], BeforeValidator(lambda given: {} if given is None else given)
]


class InputTensor(BaseModel):
    """An input tensor; `data` is missing if it is sent in binary."""

    name: str
    shape: list[Size] = Field(max_length=16)
    datatype: str
    data: list[Any] | None = None
    parameters: Parameters = {}


class RequestedOutput(BaseModel):
    """A requested output."""

    name: str
    parameters: Parameters = {}


class IndexRequest(BaseModel):
    """Filter for the repository index."""

    ready: bool = False
    """List only models that are ready."""


class InferRequest(BaseModel):
    """The JSON part of a request. Unknown fields are ignored, as the protocol requires."""

    id: str | None = None
    parameters: Parameters = {}
    inputs: list[InputTensor] = Field(min_length=1, max_length=10_000)
    outputs: list[RequestedOutput] | None = None

    def wants_binary(self, output: RequestedOutput | None) -> bool:
        """Return whether to encode an output in binary; None is one the request does not name."""
        everything = bool(self.parameters.get("binary_data_output"))
        return bool(output.parameters.get("binary_data", everything)) if output else everything

    @property
    def timeout_seconds(self) -> float | None:
        """The client's timeout, or None if the request has none."""
        timeout = self.parameters.get("timeout")
        microseconds = timeout if isinstance(timeout, int) and timeout > 0 else None
        return microseconds / 1e6 if microseconds else None


@dataclass(frozen=True)
class Output:
    """An output tensor; BYTES values are a list of strings."""

    name: str
    values: Tensor | Sequence[str]
    shape: Sequence[int]
    binary: bool


@dataclass(frozen=True)
class EncodedResponse:
    """A response body, and the length of its JSON part if binary data follows."""

    body: bytes
    json_length: int | None = None


def read_json(model: type[RequestModel], content: bytes) -> RequestModel:
    """Parse and validate JSON.

    Raises:
        Invalid: the content is not JSON or does not fit `model`.
    """
    try:
        return model.model_validate(orjson.loads(content.removeprefix(codecs.BOM_UTF8)))
    except orjson.JSONDecodeError as error:
        raise Invalid(f"the request is not valid JSON: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise Invalid(f"{place}: {first['msg']}" if place else first["msg"]) from None


def read_request(body: bytes, json_length: int | None) -> tuple[InferRequest, dict[str, Tensor]]:
    """Return the JSON part of a request and its input tensors by name.

    Raises:
        Invalid: the request violates the protocol; the message names the input.
    """
    if json_length is not None and not 0 <= json_length <= len(body):
        raise Invalid(
            f"Inference-Header-Content-Length is {json_length}, but the body has {len(body)} bytes"
        )
    head = body if json_length is None else body[:json_length]
    request = read_json(InferRequest, head)
    rest = memoryview(body)[len(head) :]
    tensors: dict[str, Tensor] = {}
    for tensor in request.inputs:
        if tensor.name in tensors:
            raise Invalid(f"the input {tensor.name!r} is given twice")
        size = tensor.parameters.get("binary_data_size")
        try:
            if size is None:
                tensors[tensor.name] = _from_json(tensor)
            else:
                tensors[tensor.name] = _from_bytes(tensor, rest, size)
                rest = rest[size:]
        except Invalid as error:
            raise Invalid(f"the input {tensor.name!r} {error.msg}") from None
    if len(rest):
        raise Invalid(f"the body has {len(rest):,} bytes that no binary_data_size accounts for")
    return request, tensors


def encode(head: dict[str, Any], outputs: Sequence[Output]) -> EncodedResponse:
    """Encode a response with the fields of `head` and the `outputs`."""
    described, chunks = [], []
    for output in outputs:
        text = not isinstance(output.values, np.ndarray)
        datatype = "BYTES" if text else NAMES[output.values.dtype]  # type: ignore[union-attr]
        about: dict[str, Any] = {
            "name": output.name,
            "datatype": datatype,
            "shape": list(output.shape),
        }
        if output.binary:
            chunk = _texts(output.values) if text else _bytes(output.values)  # type: ignore[arg-type]
            about["parameters"] = {"binary_data_size": len(chunk)}
            chunks.append(chunk)
        else:
            about["data"] = list(output.values) if text else output.values.ravel().tolist()  # type: ignore[union-attr]
        described.append(about)
    document = orjson.dumps(head | {"outputs": described})
    if not chunks:
        return EncodedResponse(document)
    return EncodedResponse(b"".join((document, *chunks)), len(document))


def _bytes(values: Tensor) -> bytes:
    return np.ascontiguousarray(values).tobytes()


def _texts(values: Sequence[str]) -> bytes:
    encoded = [value.encode() for value in values]
    return b"".join(struct.pack("<I", len(text)) + text for text in encoded)


def _dtype(tensor: InputTensor) -> np.dtype[Any]:
    if tensor.datatype not in DATATYPES:
        raise Invalid(
            f"has the unknown datatype {tensor.datatype}; choose one of {', '.join(DATATYPES)}"
        )
    return DATATYPES[tensor.datatype]


def _from_json(tensor: InputTensor) -> Tensor:
    dtype, count = _dtype(tensor), math.prod(tensor.shape)
    if tensor.data is None:
        raise Invalid("has neither data nor binary_data_size; give one of them")
    if tensor.datatype == "BYTES":
        return _texts_of(tensor, _leaves(tensor.data))
    try:
        array = np.asarray(tensor.data)
    except ValueError:
        raise Invalid("has lists of different lengths; they must have the same length") from None
    if array.size and array.dtype.kind not in "buif":
        raise Invalid("contains values that are not numbers")
    if array.size != count:
        raise Invalid(f"has {array.size:,} numbers, but its shape {tensor.shape} needs {count:,}")
    if tensor.datatype == "BF16":
        return array.astype(np.float32).reshape(tensor.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype)
    if dtype.kind in "bui" and not np.array_equal(cast, array):
        raise Invalid(f"contains numbers that {tensor.datatype} cannot represent")
    return cast.reshape(tensor.shape)


def _from_bytes(tensor: InputTensor, rest: memoryview, size: object) -> Tensor:
    dtype, count = _dtype(tensor), math.prod(tensor.shape)
    if tensor.data is not None:
        raise Invalid("has both data and binary_data_size; give one of them")
    if tensor.datatype == "BYTES":
        if type(size) is not int or not 0 <= size <= len(rest):
            raise Invalid(
                f"has the binary_data_size {size}, but {len(rest):,} bytes are left in the body"
            )
        return _texts_of(tensor, _unpacked(rest[:size]))
    if type(size) is not int or size != count * dtype.itemsize:
        raise Invalid(
            f"has the binary_data_size {size}, but {tensor.datatype} of shape {tensor.shape} needs "
            f"{count * dtype.itemsize:,} bytes"
        )
    if len(rest) < count * dtype.itemsize:
        raise Invalid(f"is truncated: the body lacks {count * dtype.itemsize - len(rest):,} bytes")
    array = np.frombuffer(bytearray(rest[: count * dtype.itemsize]), dtype)
    if tensor.datatype == "BF16":
        array = (array.astype("<u4") << 16).view("<f4")
    return array.reshape(tensor.shape)


def _texts_of(tensor: InputTensor, texts: list[object]) -> Tensor:
    if len(texts) != math.prod(tensor.shape):
        raise Invalid(
            f"has {len(texts):,} strings, but its shape {tensor.shape} needs "
            f"{math.prod(tensor.shape):,}"
        )
    if not all(isinstance(text, str) for text in texts):
        raise Invalid("contains values that are not strings")
    return np.array(texts, dtype=object).reshape(tensor.shape)


def _leaves(data: list[Any]) -> list[object]:
    flat: list[object] = []
    for value in data:
        flat += _leaves(value) if isinstance(value, list) else [value]
    return flat


def _unpacked(data: memoryview) -> list[object]:
    """Return the strings in `data`, each of which follows its length in four bytes."""
    texts: list[object] = []
    while data:
        length = int.from_bytes(data[:4], "little")
        if len(data) < 4 + length:
            raise Invalid(f"is truncated in string number {len(texts) + 1}")
        try:
            texts.append(str(data[4 : 4 + length], "utf-8"))
        except UnicodeDecodeError as error:
            raise Invalid(f"has a string that is not UTF-8 ({error.reason})") from None
        data = data[4 + length :]
    return texts
