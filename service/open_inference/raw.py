"""Triton's raw binary requests: a body that is one row of the model's only input."""

import struct

import orjson

from ml.errors import Invalid
from ml.inference.model import Model
from service.open_inference.model_io import describe


def with_header(body: bytes, json_length: int | None, model: Model) -> tuple[bytes, int | None]:
    """Return a request with its JSON part and the length of that; a raw request, whose
    `json_length` is 0, gets the JSON part that says the same.

    Raises:
        Invalid: the request is raw, but the model has several inputs.
    """
    if json_length != 0:
        return body, json_length
    inputs, _ = describe(model)
    if len(inputs) != 1:
        names = ", ".join(name for name, _, _ in inputs)
        raise Invalid(
            f"a raw request (Inference-Header-Content-Length: 0) has one input; the model has "
            f"{len(inputs)}: {names}"
        )
    [(name, datatype, shape)] = inputs
    if datatype == "BYTES":
        body = struct.pack("<I", len(body)) + body
    tensor = {
        "name": name,
        "datatype": datatype,
        "shape": [1, *shape],
        "parameters": {"binary_data_size": len(body)},
    }
    head = orjson.dumps({"parameters": {"binary_data_output": True}, "inputs": [tensor]})
    return head + body, len(head)
