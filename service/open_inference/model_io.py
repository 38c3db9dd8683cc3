"""Conversion between a model's inputs and outputs and tensors of the Open Inference Protocol v2."""

import numpy as np

from ml.errors import Invalid
from ml.inference.model import Inputs, Model, Predictions
from ml.inputs.rows import PIXEL_MAXIMA
from ml.signature import Classes, Encoding, Features, Value, Values
from service.open_inference.tensors import Tensor
from service.open_inference.wire import InferRequest, Output

INPUT = "inputs"

Described = list[tuple[str, str, list[int]]]
"""Name, datatype and shape without the batch dimension of each tensor."""


def describe(model: Model) -> tuple[Described, Described]:
    """Return the inputs and outputs of a model."""
    signature = model.manifest.signature
    datatype = "UINT8" if signature.inputs.kind == "images" else _number(signature.inputs)
    inputs: Described = [(INPUT, datatype, list(signature.inputs.shape))]
    if (features := model.texts) is not None:
        inputs = [(name, _datatype(features, name), [1]) for name in features.names]
    if not isinstance(signature.output, Classes):
        datatype = "FP64" if signature.output.is_scaled else "FP32"
        return inputs, [(name, datatype, [1]) for name in _value_names(signature.output)]
    return inputs, [
        ("probabilities", "FP32", [signature.output.size]),
        ("class", "INT64", []),
        ("label", "BYTES", []),
    ]


def _value_names(output: Value | Values) -> list[str]:
    """Return the names of the output tensors of a regression: that of each of several targets."""
    return ["value"] if output.kind == "value" else [target.name for target in output.targets]


def inputs_of(model: Model, tensors: dict[str, Tensor], request: InferRequest) -> Inputs:
    """Return the input tensors as one array. They are either `inputs` or one column per feature; a
    model with features that are texts takes only columns."""
    signature = model.manifest.signature
    pixels = request.parameters.get("pixels")
    if pixels is not None and pixels not in list(PIXEL_MAXIMA):  # a parameter may have any type
        raise Invalid(f"the parameter pixels must be {' or '.join(PIXEL_MAXIMA)}, not {pixels!r}")
    texts = [name for name, tensor in tensors.items() if tensor.dtype == object]
    if texts and not model.takes_texts:
        raise Invalid(f"the input {texts[0]!r} has datatype BYTES; the model takes numbers")
    if tensors.keys() == {INPUT}:
        return model.array(tensors[INPUT], pixels)
    names = signature.inputs.names if signature.inputs.kind == "features" else []
    if tensors.keys() != set(names):
        columns = f", or one input for each of {', '.join(names)}" if names else ""
        given = ", ".join(map(repr, tensors))
        raise Invalid(f"the model takes the input {INPUT!r}{columns}; the request has {given}")
    flat = {tensors[name].size for name in names}
    if len(flat) != 1:
        raise Invalid("the inputs have different numbers of rows; all must have the same")
    columns_of = [tensors[name].ravel() for name in names]
    if texts or model.texts is not None:
        values = [[_value(value) for value in column.tolist()] for column in columns_of]
        return model.rows([list(row) for row in zip(*values, strict=True)])
    return model.array(np.stack(columns_of, axis=1))


def _value(value: object) -> object:
    """Return a value for JSON. The protocol has no null, so NaN and the empty string become
    None."""
    return None if value != value or value == "" else value


def _datatype(features: Features, name: str) -> str:
    encoding = features.encoding or Encoding(width=0)
    kinds = {"BOOL": encoding.booleans, "BYTES": features.texts}
    return next((kind for kind, names in kinds.items() if name in names), _number(features))


def _number(features: Features) -> str:
    return "FP64" if features.is_double else "FP32"


def outputs_of(model: Model, predictions: Predictions, request: InferRequest) -> list[Output]:
    """Return the requested outputs; by default all."""
    rows, output = len(predictions), model.manifest.signature.output
    values: dict[str, Tensor | list[str]] = {}
    if isinstance(output, Classes):
        values["probabilities"] = predictions.values
        values["class"] = np.array(predictions.argmax, np.int64)
        values["label"] = [output.names[index] for index in predictions.argmax]
    else:
        for index, name in enumerate(_value_names(output)):
            values[name] = predictions.values[:, index : index + 1]
    if not request.outputs:
        binary = request.wants_binary(None)
        return [Output(name, v, _shape(v), binary) for name, v in values.items()]
    outputs = []
    for wanted in request.outputs:
        if wanted.name not in values:
            raise Invalid(f"there is no output {wanted.name!r}; choose from {', '.join(values)}")
        binary, value = request.wants_binary(wanted), values[wanted.name]
        count = wanted.parameters.get("classification")
        if count is None:
            outputs.append(Output(wanted.name, value, _shape(value), binary))
            continue
        if not isinstance(output, Classes) or wanted.name != "probabilities":
            raise Invalid(
                f"the output {wanted.name!r} has no classes; classification needs probabilities"
            )
        if not isinstance(count, int) or not count >= 1:
            raise Invalid("the parameter classification must be a positive integer")
        count = min(count, output.size)
        order = np.argsort(-predictions.values, axis=1, kind="stable")[:, :count]
        texts = [
            f"{predictions.lists[row][index]:f}:{index}:{output.names[index]}"
            for row, indices in enumerate(order.tolist())
            for index in indices
        ]
        outputs.append(Output(wanted.name, texts, (rows, count), binary))
    return outputs


def _shape(values: Tensor | list[str]) -> list[int]:
    return [len(values)] if isinstance(values, list) else list(values.shape)
