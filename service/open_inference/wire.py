"""Tensors as the Open Inference Protocol v2 writes them, in JSON and with its binary extension."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

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
"""How each is kept in memory; numpy has no BF16, whose bits are the upper half of an FP32's, and
texts are Python's."""

NAMES = {dtype: name for name, dtype in DATATYPES.items() if name not in ("BF16", "BYTES")}
Size = Annotated[int, Field(ge=0, le=2**40)]


class InputTensor(BaseModel):
    """An input, without its data where that is binary."""

    name: str
    shape: list[Size] = Field(max_length=16)
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] = {}


class RequestedOutput(BaseModel):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] = {}


class IndexRequest(BaseModel):
    """Which models the repository's index is to have."""

    ready: bool = False
    """Only those that can be asked."""


class InferRequest(BaseModel):
    """The JSON part of a request. What it has beside these is ignored, as the protocol says."""

    id: str | None = None
    parameters: dict[str, Any] = {}
    inputs: list[InputTensor] = Field(min_length=1, max_length=10_000)
    outputs: list[RequestedOutput] | None = None

    def wants_binary(self, output: RequestedOutput | None) -> bool:
        """Return whether an output is to be binary; None is one that was not named."""
        everything = bool(self.parameters.get("binary_data_output"))
        return bool(output.parameters.get("binary_data", everything)) if output else everything

    @property
    def timeout_seconds(self) -> float | None:
        """How long the client waits, if it says so."""
        timeout = self.parameters.get("timeout")
        microseconds = timeout if isinstance(timeout, int) and timeout > 0 else None
        return microseconds / 1e6 if microseconds else None


@dataclass(frozen=True)
class Output:
    """A tensor of the answer; texts are a list of them."""

    name: str
    values: Tensor | Sequence[str]
    shape: Sequence[int]
    binary: bool


@dataclass(frozen=True)
class EncodedResponse:
    """A body, and the length of its JSON part where something binary follows."""

    body: bytes
    json_length: int | None = None


def read_json(model: type[RequestModel], content: bytes) -> RequestModel:
    """Return what JSON says.

    Raises:
        Invalid: it is no JSON, or not what `model` has.
    """
    try:
        return model.model_validate(orjson.loads(content))
    except orjson.JSONDecodeError as error:
        raise Invalid(f"the request is not JSON: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise Invalid(f"{place}: {first['msg']}" if place else first["msg"]) from None


def read_request(body: bytes, json_length: int | None) -> tuple[InferRequest, dict[str, Tensor]]:
    """Return a request's JSON part, and its inputs by name.

    Raises:
        Invalid: it is not what the protocol says; the message names the input.
    """
    if json_length is not None and not 0 <= json_length <= len(body):
        raise Invalid(
            f"Inference-Header-Content-Length is {json_length}, and the body has {len(body)} bytes"
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
        raise Invalid(f"{len(rest):,} bytes follow the inputs, of which no binary_data_size tells")
    return request, tensors


def encode(head: dict[str, Any], outputs: Sequence[Output]) -> EncodedResponse:
    """Return the answer `head` with `outputs`."""
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
        raise Invalid(f"is {tensor.datatype}; known are {', '.join(DATATYPES)}")
    return DATATYPES[tensor.datatype]


def _from_json(tensor: InputTensor) -> Tensor:
    dtype, count = _dtype(tensor), math.prod(tensor.shape)
    if tensor.data is None:
        raise Invalid("has neither data nor a binary_data_size")
    if tensor.datatype == "BYTES":
        return _texts_of(tensor, _leaves(tensor.data))
    try:
        array = np.asarray(tensor.data)
    except ValueError:
        raise Invalid("has lists of different lengths") from None
    if array.size and array.dtype.kind not in "buif":
        raise Invalid("holds something else than numbers")
    if array.size != count:
        raise Invalid(f"has {array.size:,} numbers; its shape {tensor.shape} has {count:,}")
    if tensor.datatype == "BF16":
        return array.astype(np.float32).reshape(tensor.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype)
    if dtype.kind in "bui" and not np.array_equal(cast, array):
        raise Invalid(f"holds numbers that are no {tensor.datatype}")
    return cast.reshape(tensor.shape)


def _from_bytes(tensor: InputTensor, rest: memoryview, size: object) -> Tensor:
    dtype, count = _dtype(tensor), math.prod(tensor.shape)
    if tensor.data is not None:
        raise Invalid("has both data and a binary_data_size")
    if tensor.datatype == "BYTES":
        if type(size) is not int or not 0 <= size <= len(rest):
            raise Invalid(f"has the binary_data_size {size}, and {len(rest):,} bytes are left")
        return _texts_of(tensor, _unpacked(rest[:size]))
    if type(size) is not int or size != count * dtype.itemsize:
        raise Invalid(
            f"has the binary_data_size {size}; {tensor.datatype} of the shape {tensor.shape} have "
            f"{count * dtype.itemsize:,} bytes"
        )
    if len(rest) < count * dtype.itemsize:
        raise Invalid(f"lacks {count * dtype.itemsize - len(rest):,} bytes at the end of the body")
    array = np.frombuffer(bytearray(rest[: count * dtype.itemsize]), dtype)
    if tensor.datatype == "BF16":
        array = (array.astype("<u4") << 16).view("<f4")
    return array.reshape(tensor.shape)


def _texts_of(tensor: InputTensor, texts: list[object]) -> Tensor:
    if len(texts) != math.prod(tensor.shape):
        raise Invalid(
            f"has {len(texts):,} texts; its shape {tensor.shape} has {math.prod(tensor.shape):,}"
        )
    if not all(isinstance(text, str) for text in texts):
        raise Invalid("holds something else than texts")
    return np.array(texts, dtype=object).reshape(tensor.shape)


def _leaves(data: list[Any]) -> list[object]:
    flat: list[object] = []
    for value in data:
        flat += _leaves(value) if isinstance(value, list) else [value]
    return flat


def _unpacked(data: memoryview) -> list[object]:
    """Return the texts in `data`, each after its length in four bytes."""
    texts: list[object] = []
    while data:
        length = int.from_bytes(data[:4], "little")
        if len(data) < 4 + length:
            raise Invalid(f"breaks off in text number {len(texts) + 1}")
        try:
            texts.append(str(data[4 : 4 + length], "utf-8"))
        except UnicodeDecodeError as error:
            raise Invalid(f"has a text that is not UTF-8 ({error.reason})") from None
        data = data[4 + length :]
    return texts
