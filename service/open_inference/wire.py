"""Encoding of tensors in the Open Inference Protocol v2: JSON and the binary extension."""

import codecs
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
import orjson
from pydantic import BaseModel, BeforeValidator, FailFast, Field, ValidationError

from ml.errors import Invalid
from ml.inputs.json_slices import LIST, NotJson, Scanner, parsed
from service.errors import TooLarge
from service.open_inference.tensors import (
    DATATYPES,
    Data,
    LongData,
    Tensor,
    numbers,
    text_tensor,
    texts,
)
from service.predictions.payloads import LIGHT_BYTES
from service.work.attended import Check, unchecked

RequestModel = TypeVar("RequestModel", bound=BaseModel)

NAMES = {dtype: name for name, dtype in DATATYPES.items() if name not in ("BF16", "BYTES")}
Size = Annotated[int, Field(ge=0, le=2**40)]
MAX_TENSORS = 10_000
Parameters = Annotated[
    dict[str, Any], BeforeValidator(lambda given: {} if given is None else given)
]


class InputTensor(BaseModel):
    """An input tensor; `data` is missing if it is sent in binary."""

    name: str
    shape: Annotated[list[Size], Field(max_length=16), FailFast()]
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
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=MAX_TENSORS), FailFast()]
    outputs: list[RequestedOutput] | None = Field(default=None, max_length=MAX_TENSORS)

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


@dataclass(frozen=True)
class Limits:
    """Input limits of a request to one model."""

    rows: int
    row_size: int
    """Number of values in a row."""

    def check(self, tensor: InputTensor) -> None:
        """Check the number of values that a tensor announces.

        Raises:
            TooLarge: it exceeds the limits.
        """
        per_row = 1 if tensor.datatype == "BYTES" else self.row_size
        count = math.prod(tensor.shape)
        if count > self.rows * per_row:
            raise TooLarge(
                f"the input {tensor.name!r} has {count:,} values; the limit of {self.rows:,} rows "
                f"per request allows {self.rows * per_row:,}"
            )


def read_json(model: type[RequestModel], content: bytes) -> RequestModel:
    """Parse and validate JSON.

    Raises:
        Invalid: the content is not JSON or does not fit `model`.
    """
    try:
        return _validated(model, parsed(content.removeprefix(codecs.BOM_UTF8)))
    except NotJson as error:
        raise Invalid(f"the request {error.msg}") from None


def _validated(model: type[RequestModel], document: object) -> RequestModel:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise Invalid(f"{place}: {first['msg']}" if place else first["msg"]) from None


def read_request(
    body: bytes, json_length: int | None, limits: Limits, check: Check = unchecked
) -> tuple[InferRequest, dict[str, Tensor]]:
    """Return the JSON part of a request and its input tensors by name; call `check` between parts
    of long data.

    Raises:
        Invalid: the request violates the protocol; the message names the input.
        TooLarge: an input exceeds `limits`.
    """
    if json_length is not None and not 0 <= json_length <= len(body):
        raise Invalid(
            f"Inference-Header-Content-Length is {json_length}, but the body has {len(body)} bytes"
        )
    head = body if json_length is None else body[:json_length]
    if len(head) < LIGHT_BYTES:
        request = read_json(InferRequest, head)
        data = [Data(t.data) if t.data is not None else None for t in request.inputs]
    else:
        request, data = _read_long(head, limits, check)
    rest = memoryview(body)[len(head) :]
    tensors: dict[str, Tensor] = {}
    for tensor, values in zip(request.inputs, data, strict=True):
        if tensor.name in tensors:
            raise Invalid(f"the input {tensor.name!r} is given twice")
        limits.check(tensor)
        size = tensor.parameters.get("binary_data_size")
        try:
            _check_datatype(tensor)
            if size is None:
                tensors[tensor.name] = _from_json(tensor, values)
            elif values is not None:
                raise Invalid("has both data and binary_data_size; give one of them")
            else:
                tensors[tensor.name] = _from_bytes(tensor, rest, size)
                rest = rest[size:]
        except Invalid as error:
            raise Invalid(f"the input {tensor.name!r} {error.msg}") from None
    if len(rest):
        raise Invalid(f"the body has {len(rest):,} bytes that no binary_data_size accounts for")
    return request, tensors


def _read_long(text: bytes, limits: Limits, check: Check) -> tuple[InferRequest, list[Data | None]]:
    """Return a request without the data of its inputs, and the data, not yet parsed."""
    scanner, data = Scanner(text, check), list[Data | None]()
    beside = 0
    """Bytes of all but the data."""

    def value() -> object:
        nonlocal beside
        start, stop = scanner.value()
        beside += stop - start
        if beside > LIGHT_BYTES:
            raise Invalid(f"the request has more than {LIGHT_BYTES:,} bytes beside its data")
        return parsed(text[start:stop])

    def members(special: str, read: Callable[[], object]) -> dict[str, object]:
        nonlocal beside
        document: dict[str, object] = {}
        for name in scanner.members():
            beside += len(name)
            is_special = name == special and scanner.peek() == LIST
            document[name] = read() if is_special else value()
        return document

    def tensors() -> object:
        data.clear()
        documents: list[object] = []
        for _ in scanner.items():
            if len(documents) == MAX_TENSORS:
                raise Invalid(f"inputs: there are more than {MAX_TENSORS:,}")
            data.append(None)
            documents.append(members("data", long_data))
        return documents

    def long_data() -> object:
        data[-1] = LongData(text, scanner.value(), limits.row_size, check)
        return None

    try:
        document = members("inputs", tensors)
        scanner.end()
    except NotJson as error:
        raise Invalid(f"the request {error.msg}") from None
    return _validated(InferRequest, document), data


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


def _check_datatype(tensor: InputTensor) -> None:
    if tensor.datatype not in DATATYPES:
        raise Invalid(
            f"has the unknown datatype {tensor.datatype}; choose one of {', '.join(DATATYPES)}"
        )


def _from_json(tensor: InputTensor, data: Data | None) -> Tensor:
    if data is None:
        raise Invalid("has neither data nor binary_data_size; give one of them")
    if tensor.datatype == "BYTES":
        return texts(data, tensor.shape)
    return numbers(data, tensor.datatype, tensor.shape)


def _from_bytes(tensor: InputTensor, rest: memoryview, size: object) -> Tensor:
    dtype, count = DATATYPES[tensor.datatype], math.prod(tensor.shape)
    if tensor.datatype == "BYTES":
        if type(size) is not int or not 0 <= size <= len(rest):
            raise Invalid(
                f"has the binary_data_size {size}, but {len(rest):,} bytes are left in the body"
            )
        return text_tensor(_unpacked(rest[:size], count), tensor.shape)
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


def _unpacked(data: memoryview, most: int) -> list[object]:
    """Return the strings in `data`, each of which follows its length in four bytes."""
    strings: list[object] = []
    start = 0
    while start < len(data):
        if len(strings) == most:
            raise Invalid(f"has more than {most:,} strings")
        begin = start + 4
        stop = begin + int.from_bytes(data[start:begin], "little")
        if stop > len(data):
            raise Invalid(f"is truncated in string number {len(strings) + 1}")
        try:
            strings.append(str(data[begin:stop], "utf-8"))
        except UnicodeDecodeError as error:
            raise Invalid(f"has a string that is not UTF-8 ({error.reason})") from None
        start = stop
    return strings
